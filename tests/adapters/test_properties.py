"""Whatever an adapter is like: a fresh process computes the same with what was saved, or nothing is written.

Labels, ranks, scalings, heads, dtypes and biases are made up; one process reads all cases of an example.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import TINY, run_python, shake

import transformers
from transformers import PreTrainedModel
from transformers.methods.bitfit import accept_fp32_biases

BASES: dict[str, dict[str, Any]] = {"roberta": TINY, "deberta-v2": DEBERTA}
AUTOS = ("AutoModelForSequenceClassification", "AutoModelForMaskedLM", "AutoModel")
FRESH = """
import json, sys, torch, transformers
from safetensors.torch import load_file, save_file
inputs, outputs = load_file(sys.argv[1]), {}
for number, (folder, auto, dtype) in enumerate(json.loads(sys.argv[3])):
    model = getattr(transformers, auto).from_pretrained(folder, dtype=dtype)
    with torch.no_grad():
        outputs[str(number)] = model(**inputs)[0].float().contiguous()
save_file(outputs, sys.argv[2])
"""

names = st.one_of(
    st.text(max_size=6), st.sampled_from(["0", "1", "", "Pos", "pos", '"', "中"]), st.none(), st.integers()
)
plain_maps = st.integers(1, 30).flatmap(
    lambda number: st.lists(st.text(max_size=4), min_size=number, max_size=number).map(lambda n: dict(enumerate(n)))
)
any_maps = st.dictionaries(st.integers(0, 12), names, min_size=1, max_size=12)


@dataclass(frozen=True)
class Case:
    """One adapter; ``changed`` are fields that are set after the model was made."""

    family: str
    auto: str
    id2label: dict[int, Any]
    r: int
    alpha: float
    dropout: float
    dtype: str
    biases: str
    changed: dict[str, Any]


cases = st.builds(
    Case,
    family=st.sampled_from(sorted(BASES)),
    auto=st.sampled_from(AUTOS),
    id2label=st.one_of(plain_maps, any_maps),
    r=st.integers(1, 9),
    alpha=st.one_of(st.integers(1, 40), st.floats(0.01, 40)),
    dropout=st.floats(0, 0.9),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    biases=st.sampled_from(["none", "all", "lora_only"]),
    changed=st.one_of(
        st.just({}),
        st.fixed_dictionaries({"lora_r": st.integers(1, 9)}),
        st.fixed_dictionaries({"lora_alpha": st.integers(1, 9)}),
        st.fixed_dictionaries({"num_labels": st.integers(1, 12)}),
    ),
)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for model_type, fields in BASES.items():
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(model_type, **fields)
        transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder / model_type)
    return folder


def make(case: Case, bases: Path) -> PreTrainedModel:
    fields = {"apply_lora": True, "lora_r": case.r, "lora_alpha": case.alpha, "lora_dropout": case.dropout}
    dtype = getattr(torch, case.dtype)
    model: PreTrainedModel = getattr(transformers, case.auto).from_pretrained(
        bases / case.family, dtype=dtype, id2label=case.id2label, **fields
    )
    layers = ("query.bias", "value.bias", "query_proj.bias", "value_proj.bias")
    for name, parameter in model.named_parameters():
        if name.endswith(".bias" if case.biases == "all" else layers) and case.biases != "none":
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()
    accept_fp32_biases(model.base_model)
    shake(model)
    for name, value in case.changed.items():
        setattr(model.config, name, value)
    return model.eval()


@given(drawn=st.lists(cases, min_size=24, max_size=24))
@settings(max_examples=1, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_what_is_saved_computes_the_same_or_is_not_saved(bases: Path, drawn: list[Case]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inputs = {"input_ids": torch.randint(5, 60, (3, 7)), "attention_mask": torch.ones(3, 7, dtype=torch.long)}
        save_file(inputs, folder / "inputs")
        saved: list[tuple[str, str, str]] = []
        expected = []
        for number, case in enumerate(drawn):
            model = make(case, bases)
            try:
                model.save_adapter(folder / str(number))
            except ValueError:
                assert not (folder / str(number)).exists(), case
                assert refusable(case), f"{case} is a good adapter"
                continue
            saved.append((str(folder / str(number)), case.auto, case.dtype))
            with torch.no_grad():
                expected.append(model(**inputs)[0].float())
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["inputs", *(Path(each).name for each, _, _ in saved)]
        )
        run_python(FRESH, folder / "inputs", folder / "outputs", json.dumps(saved))
        outputs = load_file(folder / "outputs")
        assert len(outputs) == len(expected) > len(drawn) // 4
        for number, value in enumerate(expected):
            assert torch.equal(outputs[str(number)], value), saved[number]


def refusable(case: Case) -> bool:
    """Say whether an adapter has a reason not to be saved."""
    labels = case.id2label
    named = set(labels) == set(range(len(labels))) and all(isinstance(name, str) for name in labels.values())
    return not named or bool(case.changed)
