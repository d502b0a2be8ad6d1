"""A base of few bits computes on a GPU what it computes on the CPU: the same bits, outputs and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from head_models import labels_for, padded_batch
from tiny import LORA, TINY, shake, write_base
from torch import Tensor

from transformers import (
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    DebertaV2Config,
    DebertaV2Model,
    PreTrainedModel,
)
from transformers.layers.quantized import quantized_layers

pytest.importorskip("bitsandbytes")

# How the bits are made, and how near the results are. 8 bits round each token's inputs too, to either side: on the CPU
# alone, inputs of the layers that are moved by 1e-5 of themselves move the results by up to 3.7 % of the largest.
BITS: dict[str, tuple[dict[str, Any], float]] = {
    "nf4": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, 1e-4),
    "fp4-double": ({"load_in_4bit": True, "bnb_4bit_use_double_quant": True}, 1e-4),
    "nf4-bf16": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16"}, 3e-2),
    "int8": ({"load_in_8bit": True}, 5e-2),
}


def _load(family: str, bits: str, folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    if family == "roberta":
        write_base(folder)
    else:
        DebertaV2Model(DebertaV2Config(**{**TINY, **DEBERTA})).save_pretrained(folder)
    torch.manual_seed(1)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=3,
        **LORA,
        lora_target_modules="all-linear",
        quantization_config=BitsAndBytesConfig(**BITS[bits][0]),
    )
    shake(model, 3, scale=0.1)
    return model.eval()


def _computed(model: PreTrainedModel, inputs: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    model.to(device).zero_grad()
    output = model(**{name: value.to(device) for name, value in inputs.items()})
    output.loss.backward()
    gradients = {name: p.grad.cpu().clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": output.logits.detach().cpu(), **gradients}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_outputs_and_gradients(family: str, bits: str, gpu: torch.device, tmp_path: Path) -> None:
    model, inputs = _load(family, bits, tmp_path / "base"), padded_batch("holes")
    inputs = {**inputs, **labels_for("sequence-classification", inputs)}
    kept = {path: layer.weight.clone() for path, layer in quantized_layers(model)}
    assert kept
    wanted = _computed(model, inputs, torch.device("cpu"))
    found = _computed(model, inputs, gpu)
    assert found.keys() == wanted.keys()
    largest = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        assert float((found[name] - value).abs().max()) <= BITS[bits][1] * largest, name
    model.to("cpu")
    assert all(torch.equal(layer.weight, kept[path]) for path, layer in quantized_layers(model))


@pytest.mark.parametrize("bits", BITS)
def test_bits_that_a_gpu_makes_are_those_of_the_cpu(bits: str, gpu: torch.device, tmp_path: Path) -> None:
    model = _load("roberta", bits, tmp_path / "base")
    for path, layer in quantized_layers(model):
        weight = layer.dequantized(torch.float32)
        again = torch.nn.Linear(weight.shape[1], weight.shape[0]).to(gpu)
        again.__class__ = type(layer)
        again.quantize(weight.to(gpu), layer.quantization)  # type: ignore[operator]
        restored = again.dequantized(torch.float32).cpu()  # type: ignore[operator]
        assert float((restored - weight).abs().max()) <= 1e-2 * float(weight.abs().max()), path
