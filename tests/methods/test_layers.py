"""The LoRA layer and the factory that builds it."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import loralib
import pytest
import torch
from tiny import LORA, random_ids, same_tensors, shake, tiny_config, values
from torch import nn

from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaModel
from transformers.methods.lora.layers import LoraLinear, lora_layers, lora_parameter_names
from transformers.methods.lora.places import lora_linear

BASE: dict[str, Any] = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
LARGE = {**BASE, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


@pytest.mark.parametrize(("sizes", "count", "trained"), [(BASE, 294_912, 887_042), (LARGE, 786_432, 1_838_082)])
def test_published_parameter_counts(sizes: dict[str, Any], count: int, trained: int) -> None:
    with torch.device("meta"):
        model = RobertaForSequenceClassification(RobertaConfig(**sizes, apply_lora=True, lora_r=8, lora_alpha=16))
    assert sum(model.get_parameter(name).numel() for name in lora_parameter_names(model)) == count
    assert model.num_parameters(only_trainable=True) == trained  # with the head of two classes


def test_query_and_value_are_loralibs() -> None:
    attention = RobertaModel(tiny_config(**LORA)).encoder.layer[0].attention.self
    for layer in (attention.query, attention.value):
        assert isinstance(layer, LoraLinear)
        assert isinstance(layer, loralib.Linear)
        assert isinstance(layer, nn.Linear)
        assert (tuple(layer.lora_A.shape), tuple(layer.lora_B.shape)) == ((4, 32), (32, 4))
        assert layer.scaling == 2.0
    assert type(attention.key) is nn.Linear


def test_without_the_flag_layers_and_keys_are_plain() -> None:
    plain, lora = RobertaModel(tiny_config()), RobertaModel(tiny_config(**LORA))
    assert not list(lora_layers(plain))
    assert all(parameter.requires_grad for parameter in plain.parameters())
    assert set(plain.state_dict()) == set(lora.state_dict()) - lora_parameter_names(lora)


def test_what_is_trained() -> None:
    model = RobertaForSequenceClassification(tiny_config(**LORA))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {f"classifier.{layer}.{name}" for layer in ("dense", "out_proj") for name in ("weight", "bias")}
    assert trained == lora_parameter_names(model) | head


def test_starting_values_change_nothing() -> None:
    plain = RobertaModel(tiny_config()).eval()
    lora = RobertaModel(tiny_config(**LORA)).eval()
    lora.load_state_dict(plain.state_dict(), strict=False)
    ids = random_ids()
    assert torch.equal(plain(ids).last_hidden_state, lora(ids).last_hidden_state)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7), (0, 7), (2, 0, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_formula(shape: tuple[int, ...], bias: bool) -> None:
    layer = LoraLinear(7, 5, r=2, lora_alpha=3, bias=bias).double()
    nn.init.normal_(layer.lora_B)
    x = torch.randn(shape, dtype=torch.float64)
    wanted = x @ layer.weight.T + (3 / 2) * (x @ layer.lora_A.T) @ layer.lora_B.T
    wanted = wanted + layer.bias if layer.bias is not None else wanted
    torch.testing.assert_close(layer(x), wanted)
    torch.testing.assert_close(layer.base_forward(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_gradients_reach_the_update_alone() -> None:
    layer = LoraLinear(7, 5, r=2, lora_alpha=4)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(6, 7, requires_grad=True)
    weights = torch.randn(6, 5)
    (layer(x) * weights).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.lora_B.grad, 2 * weights.T @ (x @ layer.lora_A.T))
    torch.testing.assert_close(layer.lora_A.grad, 2 * (weights @ layer.lora_B).T @ x)
    torch.testing.assert_close(x.grad, weights @ (layer.weight + 2 * layer.lora_B @ layer.lora_A))


def test_dropout_acts_on_the_update_alone() -> None:
    layer = LoraLinear(8, 8, r=4, lora_alpha=4, lora_dropout=0.5)
    x = torch.randn(50, 8)
    assert torch.equal(layer(x), layer.base_forward(x)), "lora_B is zero, so dropout must not show"
    nn.init.normal_(layer.lora_B)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_modes_never_change_the_state() -> None:
    model = RobertaModel(tiny_config(**LORA))
    shake(model)
    before = values(model)
    for mode in (False, True, False, False, True, True):
        model.train(mode)
        model(random_ids())
        assert same_tensors(values(model), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_frozen_half_precision_with_an_fp32_update(dtype: torch.dtype) -> None:
    layer = LoraLinear(64, 64, r=4, lora_alpha=8)
    nn.init.normal_(layer.lora_B, std=0.02)
    x = torch.randn(10, 64)
    wanted = layer(x)
    for parameter in (layer.weight, layer.bias):
        assert parameter is not None
        parameter.data = parameter.data.to(dtype)
    result = layer(x.to(dtype))
    assert result.dtype == dtype
    assert layer.lora_A.dtype == layer.lora_B.dtype == torch.float32
    torch.testing.assert_close(result.float(), wanted, atol=0.05, rtol=0.05)


def test_initialisation_is_loralibs() -> None:
    """Kaiming-uniform with a = sqrt(5): uniform between ±1/sqrt(I)."""
    torch.manual_seed(0)
    model = RobertaModel(tiny_config(hidden_size=256, lora_r=64, lora_alpha=1, apply_lora=True))
    bound = 1 / math.sqrt(256)
    for _, layer in lora_layers(model):
        matrix = layer.lora_A.detach()
        assert float(matrix.abs().max()) <= bound
        assert float(matrix.std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert abs(float(matrix.mean())) < 5 * bound / math.sqrt(3 * matrix.numel())
        assert not layer.lora_B.any()
        assert float(layer.weight.detach().std()) == pytest.approx(0.2, rel=0.03), "the base has its own start"


def test_factory() -> None:
    config = tiny_config(**LORA)
    assert isinstance(lora_linear(config, "query", 8, 6), LoraLinear)
    assert type(lora_linear(config, "key", 8, 6)) is nn.Linear
    assert type(lora_linear(tiny_config(), "query", 8, 6)) is nn.Linear
    assert lora_linear(config, "value", 8, 6, bias=False).bias is None


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_models_can_be_copied_and_pickled(again: Any) -> None:
    model = RobertaForSequenceClassification(tiny_config(**LORA)).eval()
    shake(model)
    ids = random_ids()
    assert torch.equal(again(model)(ids).logits, model(ids).logits)


def test_loralibs_own_helpers_work() -> None:
    model = RobertaForSequenceClassification(tiny_config(**LORA))
    assert set(loralib.lora_state_dict(model)) == lora_parameter_names(model)
    loralib.mark_only_lora_as_trainable(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == lora_parameter_names(model)


def test_printed_layers_show_rank_and_alpha() -> None:
    assert "r=2, lora_alpha=3" in repr(LoraLinear(7, 5, r=2, lora_alpha=3))
