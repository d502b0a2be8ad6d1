"""Every head with adapters of drawn LoRA options: saved, read in a fresh process, switched, mixed, merged, damaged."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from head_models import HEADS, TYPES, make_head, padded_batch
from safetensors.torch import load_file, save_file
from tiny import run_python, same_tensors, shake, values
from torch import Tensor

from transformers import LoraConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import model_class
from transformers.models.table import TASKS as TASK_TABLE

FRESH = """
import sys, torch, transformers
from safetensors.torch import load_file, save_file
where, inputs, auto = sys.argv[1], load_file(sys.argv[1] + "/inputs.safetensors"), sys.argv[2]
found = {}
for name in ("first", "second"):
    model = getattr(transformers, auto).from_pretrained(f"{where}/{name}")
    with torch.no_grad():
        found[name] = model(**inputs)[0].contiguous()
save_file(found, where + "/found.safetensors")
"""
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def options_for(family: str, random: Random) -> LoraConfig:
    """Draw an adapter's options."""
    first, second = ("query", "value") if family == "roberta" else ("query_proj", "value_proj")
    layers: list[Any] = ["all-linear", [first, "output.dense"], rf".*\.0\..*{second}", [second, "intermediate.dense"]]
    kinds: list[dict[str, Any]] = [
        {"use_dora": True},
        {"init_lora_weights": random.choice(["pissa", "olora", "orthogonal", "gaussian"])},
        {"target_modules": [second, "word_embeddings"]},
    ]
    whole = {
        "r": random.choice([2, 4]),
        "lora_alpha": random.choice([3, 8]),
        "target_modules": random.choice(layers),
        "use_rslora": random.random() < 0.5,
        "bias": random.choice(["none", "all", "lora_only"]),
        "modules_to_save": random.choice([None, ["LayerNorm"]]),
        "lora_dropout": random.choice([0.0, 0.2]),
    }
    return LoraConfig(**{**whole, **random.choice(kinds)})


def _outputs(model: PreTrainedModel, inputs: dict[str, Tensor], **more: Any) -> Tensor:
    with torch.no_grad():
        first: Tensor = model(**inputs, **more)[0]
    return first


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_every_invariant(family: str, task: str, tmp_path: Path) -> None:
    random = Random(f"{family}.{task}")
    make_head(family, task).save_pretrained(tmp_path / "base")
    found_class, inputs = model_class(TYPES[family], task), padded_batch("left", task)
    model: PreTrainedModel = found_class.from_pretrained(tmp_path / "base").eval()
    configs = {name: options_for(family, random) for name in ("first", "second")}
    alone = {}
    for number, (name, config) in enumerate(configs.items()):
        model.add_adapter(config, name)
        model.set_adapter(name)
        shake(model.train(), number, scale=0.05)
        alone[name] = _outputs(model.eval(), inputs)
        assert not torch.allclose(alone[name], next(iter(alone.values()))) or number == 0
    for name, expected in alone.items():
        model.set_adapter(name)
        assert torch.equal(_outputs(model, inputs), expected), "switched to and fro it is the same, bit by bit"
        model.merge_adapter()
        torch.testing.assert_close(_outputs(model, inputs), expected, **CLOSE)
        model.unmerge_adapter()
        assert torch.equal(_outputs(model, inputs), expected)
        model.save_adapter(tmp_path / name)
    rows = ["second", "first"] * 3 if task != "multiple-choice" else ["second", "first"]
    mixed = _outputs(model, inputs, adapter_names=rows)
    for row, name in enumerate(rows):
        torch.testing.assert_close(mixed[row], alone[name][row], **CLOSE)
    save_file(inputs, tmp_path / "inputs.safetensors")
    run_python(FRESH, str(tmp_path), TASK_TABLE[task].auto_class)
    fresh = load_file(tmp_path / "found.safetensors")
    for name, config in configs.items():
        if config.init_lora_weights in ("pissa", "olora"):  # what was taken from the base is added up anew
            torch.testing.assert_close(fresh[name], alone[name], **CLOSE)
        else:
            assert torch.equal(fresh[name], alone[name]), "a fresh process gives the same bits"
    _check_refusal(model, tmp_path / "second")


def _check_refusal(model: PreTrainedModel, folder: Path) -> None:
    """Damage an adapter's file; it is refused, and the model stays what it was."""
    weights = folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 64
    weights.write_bytes(content)
    before, active = values(model), model.active_adapter
    with pytest.raises(ValueError, match="damaged or replaced"):
        model.load_adapter(folder, "third")
    assert same_tensors(values(model), before)
    assert model.active_adapter == active
    assert "third" not in model.loaded_adapters


@pytest.mark.parametrize(
    ("family", "fields"), [("roberta", {}), ("deberta", {"legacy": True}), ("deberta", {"legacy": False})]
)
def test_words_that_are_scored_with_their_embeddings(family: str, fields: dict[str, Any], tmp_path: Path) -> None:
    make_head(family, "masked-lm", **fields).save_pretrained(tmp_path / "base")
    found_class, inputs = model_class(TYPES[family], "masked-lm"), padded_batch("right")
    model = found_class.from_pretrained(
        tmp_path / "base", apply_lora=True, lora_r=2, lora_alpha=4, lora_target_modules=["word_embeddings"]
    ).eval()
    shake(model, scale=0.3)
    expected, before = _outputs(model, inputs), values(model)
    model.merge_adapter()
    torch.testing.assert_close(_outputs(model, inputs), expected, **CLOSE)
    model.unmerge_adapter()
    assert torch.equal(_outputs(model, inputs), expected)
    if family == "deberta" and not fields["legacy"]:
        with pytest.raises(ValueError, match="scores words with the word embeddings themselves"):
            model.merge_and_unload()
        assert same_tensors(values(model), before)
        assert torch.equal(_outputs(model, inputs), expected)
        return
    plain = model.merge_and_unload()
    torch.testing.assert_close(_outputs(plain, inputs), expected, **CLOSE)
    plain.save_pretrained(tmp_path / "merged")
    again = found_class.from_pretrained(tmp_path / "merged").eval()
    assert torch.equal(_outputs(again, inputs), _outputs(plain, inputs))
    assert again.get_output_embeddings().weight is not again.get_input_embeddings().weight


def test_unloading_leaves_words_tied(tmp_path: Path) -> None:
    make_head("roberta", "masked-lm").save_pretrained(tmp_path / "base")
    model = model_class("roberta", "masked-lm").from_pretrained(
        tmp_path / "base", apply_lora=True, lora_r=2, lora_alpha=4, lora_target_modules=["word_embeddings"]
    )
    plain = model.unload()
    assert plain.get_output_embeddings().weight is plain.get_input_embeddings().weight
