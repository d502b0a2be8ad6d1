"""Layers that share an input are computed together, and give what each of them gives."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_models import make_config
from tiny import LORA, random_ids, shake
from torch import Tensor, nn

from transformers import PreTrainedModel
from transformers.methods.lora import shared_input
from transformers.methods.lora.layers import LoraLinear
from transformers.methods.lora.shared_input import apply_layers
from transformers.models.auto.configuration_auto import model_class

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no LoRA": {"r": 0},
    "rank 3": {"r": 3, "lora_alpha": 5},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "start": {"keeps_start": True},
    "dropout": {"lora_dropout": 0.5},
    "no bias": {"bias": False},
}


def _layer(kind: str, seed: int) -> nn.Module:
    """Make a layer of 6 inputs and 5 outputs."""
    torch.manual_seed(seed)
    fields = {"r": 2, "lora_alpha": 4, **KINDS[kind]}
    if not fields["r"]:
        return nn.Linear(6, 5)
    layer = LoraLinear(6, 5, **fields)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def _gradients(outputs: list[Tensor], layers: list[nn.Module], x: Tensor) -> list[Tensor]:
    tensors = [x, *(p for layer in layers for p in layer.parameters() if p.requires_grad)]
    loss = sum((output * torch.arange(output.numel()).sin().view_as(output)).sum() for output in outputs)
    found = torch.autograd.grad(loss, tensors, allow_unused=True)  # type: ignore[arg-type]  # merged: unused
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4), st.booleans(), st.integers(0, 5))
def test_each_layer_gives_its_own(kinds: list[str], training: bool, merged: int) -> None:
    layers = [_layer(kind, seed).train(training) for seed, kind in enumerate(kinds)]
    chosen = layers[merged] if merged < len(layers) else None
    if isinstance(chosen, LoraLinear) and not training:
        chosen.merge(chosen.merged_weight())
    x = torch.randn(7, 6, requires_grad=True)
    torch.manual_seed(3)  # of dropout
    wanted = [layer(x) for layer in layers]
    torch.manual_seed(3)
    found = apply_layers(x, layers)
    for value, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, expected)
    for value, expected in zip(_gradients(found, layers, x), _gradients(wanted, layers, x), strict=True):
        torch.testing.assert_close(value, expected)


def test_the_input_is_read_once_for_all_down_projections() -> None:
    layers, x = [_layer("plain", seed) for seed in range(3)], torch.randn(7, 6)
    with torch.profiler.profile(record_shapes=True) as profile:
        apply_layers(x, layers)
    thin = [each for each in profile.events() if each.name == "aten::linear" and each.input_shapes[1] == [6, 6]]
    assert len(thin) == 1  # three ranks of 2, six inputs
    assert not [each for each in profile.events() if each.name == "aten::linear" and each.input_shapes[1] == [2, 6]]


def test_hooks_run() -> None:
    layers, x, seen = [_layer("plain", seed) for seed in range(3)], torch.randn(7, 6), []
    layers[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    found = apply_layers(x, layers)
    assert torch.equal(seen[0], found[1])
    layers[2].forward = lambda x: torch.zeros(7, 5)  # type: ignore[method-assign]  # as accelerate's offloading does
    assert not apply_layers(x, layers)[2].any()


@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("targets", ["all-linear", None])
def test_models(family: str, targets: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare whole models with the same model whose layers are called one by one."""
    names = {"roberta": "roberta", "deberta": "deberta-v2"}
    config = make_config(family, **LORA, lora_target_modules=targets)
    model: PreTrainedModel = model_class(names[family], "token-classification")(config)
    shake(model)
    alone, ids = copy.deepcopy(model), random_ids(4, 9)
    loss = model(ids, labels=ids % 3).loss
    loss.backward()
    with monkeypatch.context() as patched:
        patched.setattr(shared_input, "apply_layers", lambda x, layers: [layer(x) for layer in layers])
        wanted = alone(ids, labels=ids % 3).loss
    wanted.backward()
    torch.testing.assert_close(loss, wanted)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, alone.get_parameter(name).grad)
