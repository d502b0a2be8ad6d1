"""Adapters that real PEFT made over checkpoints with heads, without them, and of bare encoders; its combinations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA, KINDS, batch
from parity import Upstream
from safetensors.torch import load_file, save_file
from tiny import TINY
from torch import Tensor

import transformers
from transformers import PreTrainedModel

pytestmark = pytest.mark.reference

# Auto class, PEFT's task type, what it trains in full, and the class of the base checkpoint with its configuration.
CASES: dict[str, dict[str, Any]] = {
    "classifier-checkpoint": {
        "auto": "AutoModelForSequenceClassification",
        "task_type": "SEQ_CLS",
        "base": "DebertaV2ForSequenceClassification",
    },
    "masked-lm": {"auto": "AutoModelForMaskedLM", "task_type": None, "base": "RobertaForMaskedLM"},
    "bare": {"auto": "AutoModel", "task_type": "FEATURE_EXTRACTION", "base": "RobertaModel", "weights": [0.3, 0.7]},
    "negative": {"auto": "AutoModel", "task_type": None, "base": "RobertaModel", "weights": [1.0, -0.5]},
    "no-pooler": {
        "auto": "AutoModelForSequenceClassification",
        "task_type": "SEQ_CLS",
        "base": "DebertaV2Model",
    },
    "other-targets": {
        "auto": "AutoModel",
        "task_type": "FEATURE_EXTRACTION",
        "base": "RobertaModel",
        "targets": ["query", "key"],
    },
}


@pytest.fixture(scope="module")
def cases(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peft-heads")
    for name, case in CASES.items():
        base = getattr(transformers, case["base"])
        deberta = case["base"].startswith("Deberta")
        config = base.config_class(**(DEBERTA if deberta else TINY), num_labels=3)
        torch.manual_seed(1)
        base(config).save_pretrained(folder / name / "base")
        targets = ["query_proj", "value_proj"] if deberta else ["query", "value"]
        content = {"modules_to_save": None, "targets": targets, **case}
        (folder / name / "case.json").write_text(json.dumps(content))
        inputs = batch()
        inputs["attention_mask"][2] = 1
        save_file(inputs, folder / name / "inputs.safetensors")
    upstream("upstream_peft_heads.py", folder)
    return folder


def _output(model: PreTrainedModel, case: Path) -> Tensor:
    inputs = load_file(case / "inputs.safetensors")
    with torch.no_grad():
        output: Tensor = model.eval()(**inputs)[0]
    return output


def _compare(found: Tensor, expected: Tensor, case: Path) -> None:
    mask = load_file(case / "inputs.safetensors")["attention_mask"].bool()
    if found.dim() == 3:  # this package computes nothing for padding
        found, expected = found[mask], expected[mask]
    assert (found - expected).abs().max() <= 2e-5


def _auto(name: str) -> Any:
    return getattr(transformers, CASES[name]["auto"])


def _from_pretrained(name: str, case: Path) -> PreTrainedModel:
    model: PreTrainedModel = _auto(name).from_pretrained(case / "peft")
    return model


def _load_adapter(name: str, case: Path) -> PreTrainedModel:
    model: PreTrainedModel = _auto(name).from_pretrained(case / "base", **KINDS["roberta"].fields)
    model.load_adapter(case / "peft", "theirs")
    return model


WAYS: dict[str, Callable[[str, Path], PreTrainedModel]] = {
    "from_pretrained": _from_pretrained,
    "load_adapter": _load_adapter,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["classifier-checkpoint", "masked-lm", "bare", "other-targets"])
def test_what_the_base_provides_need_not_be_in_the_adapter(cases: Path, name: str, way: str, tmp_path: Path) -> None:
    case = cases / name
    model = WAYS[way](name, case)
    expected = load_file(case / "outputs.safetensors")["default"]
    _compare(_output(model, case), expected, case)
    model.save_adapter(tmp_path / "again")
    _compare(_output(_auto(name).from_pretrained(tmp_path / "again"), case), expected, case)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no-pooler",
            r"pooler\.dense\.bias, which the base does not provide.*modules_to_save=\['classifier', 'pooler'\]",
        ),
    ],
)
def test_a_refusal_names_the_remedy_in_pefts_words(cases: Path, name: str, message: str, way: str) -> None:
    with pytest.raises(ValueError, match=message):
        WAYS[way](name, cases / name)


@pytest.mark.parametrize("kind", ["linear", "cat", "svd"])
@pytest.mark.parametrize("name", ["bare", "negative"])
def test_combinations_are_pefts(cases: Path, name: str, kind: str) -> None:
    case = cases / name
    model = _load_adapter(name, case)
    model.load_adapter(case / "peft" / "other", "other")
    model.add_weighted_adapter(["theirs", "other"], CASES[name]["weights"], "both", kind)
    model.set_adapter("both")
    _compare(_output(model, case), load_file(case / "outputs.safetensors")[kind], case)
