"""A model computes on a GPU what it computes on the CPU: outputs, gradients, mixed rows, merging, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, labels_for, loss_of, make_head, padded_batch
from method_models import CHOICES, make_model
from tiny import LORA, shake
from torch import Tensor

from transformers import AutoModelForSequenceClassification, PreTrainedModel

OPTIONS: dict[str, dict[str, Any]] = {
    "query and value": {},
    "all linear": {"lora_target_modules": "all-linear"},
    "dora": {"lora_use_dora": True},
}


def _tensors(output: Any) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in output.items() if isinstance(value, Tensor)}


def _assert_near(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Compare tensors by their largest entry: sums of many terms are made in another order."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        limit = 3e-5 * max(1.0, float(value.abs().max()))
        torch.testing.assert_close(
            found[name], value, atol=limit, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def _gradients(model: PreTrainedModel, inputs: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Compute outputs and the gradients of all that is trained, on a device."""
    model.to(device).zero_grad()
    output = model(**{name: value.to(device) for name, value in inputs.items()})
    loss_of({name: value.cpu() for name, value in output.items() if isinstance(value, Tensor)}).backward()
    gradients = {name: p.grad.cpu().clone() for name, p in model.named_parameters() if p.grad is not None}
    return {**_tensors(output), **gradients}


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_outputs_and_gradients(family: str, task: str, option: str, side: str, gpu: torch.device) -> None:
    model = make_head(family, task, **LORA, **OPTIONS[option])
    shake(model, 3, scale=0.3)
    inputs = padded_batch(side, task)
    inputs = {**inputs, **labels_for(task, inputs)}
    wanted = _gradients(model, inputs, torch.device("cpu"))
    _assert_near(_gradients(model, inputs, gpu), wanted)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_every_method(family: str, choice: str, gpu: torch.device) -> None:
    torch.manual_seed(0)
    model = make_model(family, **CHOICES[choice])
    shake(model, 3, scale=0.3)
    inputs = padded_batch("holes")
    inputs = {**inputs, **labels_for("sequence-classification", inputs)}
    wanted = _gradients(model, inputs, torch.device("cpu"))
    _assert_near(_gradients(model, inputs, gpu), wanted)


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_rows_of_several_adapters(family: str, task: str, gpu: torch.device) -> None:
    model, inputs = make_head(family, task, **LORA), padded_batch("holes", task)
    for seed, (name, rank) in enumerate((("first", 2), ("second", 5))):
        model.add_adapter(name, lora_r=rank, lora_alpha=4)
        model.set_adapter(name)
        shake(model, seed + 2, scale=0.3)
    names = ["second", "first", "second", "second", "first", "first"][: len(inputs["input_ids"])]
    with torch.no_grad():
        wanted = _tensors(model.eval()(**inputs, adapter_names=names))
        moved = {key: value.to(gpu) for key, value in inputs.items()}
        _assert_near(_tensors(model.to(gpu)(**moved, adapter_names=names)), wanted)


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_merging_and_files(family: str, tmp_path: Path, gpu: torch.device) -> None:
    inputs = padded_batch("holes")
    moved = {key: value.to(gpu) for key, value in inputs.items()}
    model = make_head(family, "sequence-classification", **LORA)
    shake(model, 3, scale=0.3)
    with torch.no_grad():
        wanted = _tensors(model(**inputs))
        model.to(gpu)
        model.save_pretrained(tmp_path / "saved")
        model.merge_adapter()
        _assert_near(_tensors(model(**moved)), wanted)
        model.unmerge_adapter()
        _assert_near(_tensors(model(**moved)), wanted)
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
        _assert_near(_tensors(loaded(**inputs)), wanted)


@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(family: str, dtype: torch.dtype, gpu: torch.device) -> None:
    model = make_head(family, "sequence-classification", **LORA, hidden_dropout_prob=0.0)
    shake(model, 3, scale=0.1)
    inputs = padded_batch("holes")
    with torch.no_grad():
        wanted = model(**inputs).logits
        model.to(gpu)
        moved = {key: value.to(gpu) for key, value in inputs.items()}
        with torch.autocast("cuda", dtype=dtype):
            cast = model(**moved).logits.float().cpu()
        model.cast_frozen_parameters(dtype)
        stored = model(**moved).logits.float().cpu()
    for found in (cast, stored):
        torch.testing.assert_close(found, wanted, atol=0.08, rtol=0.08)


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_training_with_dropout(family: str, gpu: torch.device) -> None:
    """The same seed gives the same gradients, another one others, and padding none."""
    fields = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "lora_dropout": 0.1}
    model = make_head(family, "sequence-classification", **{**LORA, **fields}).train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch("right")
    inputs = {**inputs, **labels_for("sequence-classification", inputs)}

    def gradients(seed: int) -> Tensor:
        torch.manual_seed(seed)
        found = _gradients(model, inputs, gpu)
        return torch.cat([value.flatten() for name, value in found.items() if "." in name])

    first = gradients(1)
    assert torch.isfinite(first).all()
    torch.testing.assert_close(gradients(1), first, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(gradients(2), first, atol=1e-4)
