"""Invariants of adapters, whatever LoRA's options are: saved, read, switched, mixed, merged, resumed, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import KINDS, batch, load_base, logits, write_base
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import run_python, shake
from torch import Tensor

from transformers import AutoModelForSequenceClassification, LoraConfig, PreTrainedModel
from transformers.adapters.folder import load_adapter_weights

NAMES = {
    "roberta": ("query", "key", "value"),
    "deberta-base-positions": ("query_proj", "key_proj", "value_proj"),
    "deberta-adapted-positions": ("query_proj", "key_proj", "value_proj"),
    "deberta-untied": ("query_proj", "pos_key_proj", "pos_query_proj"),
}
FRESH = """
import json, sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification
inputs = load_file(sys.argv[1])
outputs = {}
for name in json.loads(sys.argv[3]):
    model = AutoModelForSequenceClassification.from_pretrained(f"{sys.argv[4]}/{name}")
    with torch.no_grad():
        outputs[name] = model(**inputs).logits
save_file(outputs, sys.argv[2])
"""


def options_of(names: tuple[str, ...]) -> st.SearchStrategy[LoraConfig]:
    """Draw an adapter's options for a model whose layers have these names."""
    first, second, _ = names
    whole = {
        "r": st.sampled_from([2, 4]),
        "lora_alpha": st.sampled_from([3, 8]),
        "target_modules": st.sampled_from(
            [None, "all-linear", list(names), [first, "output.dense"], rf".*\.0\..*{second}"]
        ),
        "use_rslora": st.booleans(),
        "bias": st.sampled_from(["none", "all", "lora_only"]),
        "modules_to_save": st.sampled_from([None, ["LayerNorm"], ["layer.1.output.LayerNorm"]]),
    }
    kinds = [
        {"use_dora": st.just(True), "rank_pattern": st.sampled_from([{}, {"layer.0.*": 1}])},
        {"init_lora_weights": st.sampled_from(["pissa", "olora", "orthogonal", "gaussian"])},
        {"target_modules": st.just([first, "word_embeddings"])},
        {"exclude_modules": st.just(["layer.1.output.dense", "embed_proj"]), "lora_dropout": st.just(0.1)},
    ]
    return st.one_of([st.builds(LoraConfig, **{**whole, **kind}) for kind in kinds])


def make(kind: str, base: Path, configs: list[LoraConfig]) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """Give a model with an adapter for each configuration, each with values as after training, and their logits."""
    torch.manual_seed(0)
    model = load_base(KINDS[kind], base, num_labels=3)
    alone = {}
    for number, config in enumerate(configs):
        name = f"a{number}"
        model.add_adapter(config, name)
        model.set_adapter(name)
        shake(model, number, scale=0.05)
        alone[name] = logits(model)
    return model, alone


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {kind: write_base(KINDS[kind], folder / kind) for kind in NAMES}


@pytest.mark.parametrize("kind", NAMES)
@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # an example takes seconds, so none is made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_invariant_of_adapters(kind: str, bases: dict[str, Path], tmp_path: Path, data: st.DataObject) -> None:
    configs = [data.draw(options_of(NAMES[kind]), f"a{number}") for number in range(3)]
    model, alone = make(kind, bases[kind], configs)
    with torch.no_grad():
        for name, expected in alone.items():
            model.set_adapter(name)
            assert torch.equal(logits(model), expected), "switched to and fro it is the same, bit by bit"
            model.merge_adapter()
            assert (logits(model) - expected).abs().max() <= 1e-5
            model.unmerge_adapter()
            assert torch.equal(logits(model), expected)
            model.save_adapter(tmp_path / name)
    names = [name for name in alone for _ in range(2)]
    mixed = logits(model, adapter_names=names)
    for row, name in enumerate(names):
        assert (mixed[row] - alone[name][row]).abs().max() <= 1e-5, f"row {row} of {name}"
    model.set_adapter("a0")
    assert torch.equal(logits(model), alone["a0"])
    save_file(batch(), tmp_path / "inputs.safetensors")
    where = str(tmp_path / "inputs.safetensors"), str(tmp_path / "outputs.safetensors")
    run_python(FRESH, *where, json.dumps(list(alone)), str(tmp_path))
    fresh = load_file(tmp_path / "outputs.safetensors")
    for (name, expected), config in zip(alone.items(), configs, strict=True):
        if config.init_lora_weights in ("pissa", "olora"):  # what was taken from the base is added up anew
            assert (fresh[name] - expected).abs().max() <= 1e-5
        else:
            assert torch.equal(fresh[name], expected), "a fresh process gives the same bits"
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / name)
        assert (logits(again.merge_and_unload()) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_3", "olora"])
def test_a_run_goes_on_from_what_it_took_from_the_base(start: str, bases: dict[str, Path], tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "apply_lora": True,
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_init": start,
        "lora_use_rslora": True,
    }
    first = load_base(KINDS["roberta"], bases["roberta"], **fields)
    shake(first, 3, scale=0.05)
    first.save_adapter(tmp_path / "checkpoint")
    torch.manual_seed(17)  # another random start of the iterations
    second = load_base(KINDS["roberta"], bases["roberta"], **fields)
    load_adapter_weights(second, tmp_path / "checkpoint")
    assert torch.equal(logits(second), logits(first))
    trained = {name for name, p in first.named_parameters() if p.requires_grad}
    assert {name for name, p in second.named_parameters() if p.requires_grad} == trained
    assert second.config.lora_r == 4
    finished = AutoModelForSequenceClassification.from_pretrained(tmp_path / "checkpoint")
    assert (finished.config.lora_r, finished.config.lora_init) == (8, "default")
    first.save_pretrained(tmp_path / "whole")
    assert torch.equal(logits(AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole")), logits(first))


@pytest.mark.parametrize(
    ("field", "value"),
    [("use_dora", False), ("use_rslora", False), ("rank_pattern", {}), ("alpha_pattern", {"query": 3})],
)
def test_an_option_that_was_changed_by_hand_is_noticed(
    field: str, value: Any, bases: dict[str, Path], tmp_path: Path
) -> None:
    config = LoraConfig(use_dora=True, use_rslora=True, rank_pattern={"layer.0.attention.self.query": 2})
    model, _ = make("roberta", bases["roberta"], [config])
    model.save_adapter(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ValueError, match=f"{field} is .* but .* changed by hand"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_an_adapter_of_other_options_is_none_to_go_on_from(bases: dict[str, Path], tmp_path: Path) -> None:
    model, _ = make("roberta", bases["roberta"], [LoraConfig(r=4, lora_alpha=8, use_dora=True)])
    model.save_adapter(tmp_path)
    plain = load_base(KINDS["roberta"], bases["roberta"], apply_lora=True, lora_r=4, lora_alpha=8, num_labels=3)
    before = logits(plain)
    with pytest.raises(ValueError, match="lora_use_dora True, but this run asks for False"):
        load_adapter_weights(plain, tmp_path)
    assert torch.equal(logits(plain), before)


def test_adapters_of_different_layers_are_combined_exactly(bases: dict[str, Path]) -> None:
    configs = [
        LoraConfig(r=4, target_modules=["query", "output.dense"], use_rslora=True),
        LoraConfig(r=2, target_modules=["key", "query"], init_lora_weights="pissa"),
        LoraConfig(r=2, use_dora=True),
    ]
    model, _ = make("roberta", bases["roberta"], configs)
    weights = {"a0": 0.5, "a1": 2.0}
    deltas: dict[str, Tensor] = {}
    for path, layer in ((p, m) for p, m in model.named_modules() if hasattr(m, "update_of")):
        parts = [
            weight * layer.update_of(n).delta() for n, weight in weights.items() if layer.update_of(n) is not None
        ]
        if parts:
            deltas[path] = torch.stack(parts).sum(0)
    model.add_weighted_adapter(list(weights), list(weights.values()), "sum", "cat", head_of="a0")
    for path, wanted in deltas.items():
        torch.testing.assert_close(model.get_submodule(path).update_of("sum").delta(), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="lora_use_dora"):
        model.add_weighted_adapter(["a0", "a2"], [1, 1], "other", "cat", head_of="a0")


def test_positions_keep_their_meaning_under_every_option(bases: dict[str, Path]) -> None:
    """With lora_position_query false an update of the query alone leaves the positions' scores the base's."""
    for options in (
        {"use_dora": True},
        {"use_rslora": True},
        {"init_lora_weights": "olora"},
        {"target_modules": "all-linear"},
    ):
        found = {}
        for kind in ("deberta-base-positions", "deberta-adapted-positions"):
            model, _ = make(kind, bases[kind], [LoraConfig(r=4, **options)])  # type: ignore[arg-type]
            attention = model.deberta.encoder.layer[0].attention.self
            rows = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                found[kind] = attention._position_query(rows)
                base = torch.nn.functional.linear(rows, attention.query_proj.weight, attention.query_proj.bias)
            assert torch.equal(found[kind], base) is (kind == "deberta-base-positions")
