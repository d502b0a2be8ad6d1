"""Bottleneck adapters and BitFit: formulas, what is trained, gradients, packed rows, half precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_models import BITFIT, CHOICES, FAMILIES, HOULSBY, PFEIFFER, batch, make_config, make_model
from tiny import LORA, shake
from torch import Tensor, nn
from torch.nn import functional

from transformers import PretrainedConfig, PreTrainedModel
from transformers.methods.bottleneck import HoulsbyAdapter, PfeifferAdapter, bottleneck_parameter_names

D, INNER, LAYERS = 32, 48, 2  # sizes of the tiny models


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=CHOICES)
def choice(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CHOICES[request.param]


def sub_layers(model: PreTrainedModel) -> list[tuple[nn.Module, nn.Module]]:
    """Give the output modules of both sub-layers of every layer."""
    layers = model.base_model.encoder.layer
    return [(layer.attention.output, layer.output) for layer in layers]


def affine(layer: nn.Module, x: Tensor) -> Tensor:
    return x @ layer.weight.t() + layer.bias


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


# Formulas -------------------------------------------------------------------------------------------------------


def test_houlsby_formula_in_both_sub_layers(family: str) -> None:
    model = make_model(family, **HOULSBY).double()
    shake(model)
    for outputs in sub_layers(model):
        for output, width in zip(outputs, (D, INNER), strict=True):
            x, residual = torch.randn(5, width).double(), torch.randn(5, D).double()
            h = affine(output.dense, x)
            a = affine(output.adapter.adapter_A, h)
            h = affine(output.adapter.adapter_B, a * torch.sigmoid(a)) + h
            torch.testing.assert_close(output(x, residual), layer_norm(output.LayerNorm, h + residual))


def test_pfeiffer_formula_after_the_feed_forward_alone(family: str) -> None:
    model = make_model(family, **PFEIFFER).double()
    shake(model)
    for attention, output in sub_layers(model):
        assert attention.adapter is None
        x, residual = torch.randn(5, INNER).double(), torch.randn(5, D).double()
        r = affine(output.dense, x)
        h = layer_norm(output.LayerNorm, r + residual)
        b = affine(output.adapter.adapter_B, affine(output.adapter.adapter_A, h).clamp_min(0))
        torch.testing.assert_close(output(x, residual), layer_norm(output.LayerNorm, b + r + residual))


@pytest.mark.parametrize("adapter", [HOULSBY, PFEIFFER], ids=["houlsby", "pfeiffer"])
def test_training_starts_near_the_frozen_model(family: str, adapter: dict[str, Any]) -> None:
    changes = {"initializer_range": 0.02, "hidden_size": 64}
    plain, adapted = make_model(family, **changes), make_model(family, **changes, **adapter)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    inputs = batch()
    states = [model.base_model(**inputs).last_hidden_state for model in (plain, adapted)]
    difference = (states[0] - states[1]).abs().max()
    assert 0 < difference < 0.1, "hidden states are of order 1"


def test_a_model_without_adapters_has_none(family: str) -> None:
    model = make_model(family)
    assert not bottleneck_parameter_names(model)
    assert not [m for m in model.modules() if isinstance(m, HoulsbyAdapter | PfeifferAdapter)]
    assert not [name for name in model.state_dict() if "adapter" in name]


# What is trained ------------------------------------------------------------------------------------------------


def expected_count(family: str, fields: dict[str, Any]) -> int:
    """Count the trained values by arithmetic."""
    head = (D * D + D) + (D * 3 + 3)  # dense (or pooler) and classifier
    count = head
    if fields.get("apply_lora"):
        count += LAYERS * 2 * (4 * D + D * 4)
    if fields.get("apply_adapter"):
        m = fields["adapter_size"]
        count += LAYERS * (2 if fields["adapter_type"] == "houlsby" else 1) * ((D * m + m) + (m * D + D))
    if fields.get("apply_bitfit"):
        layer = 3 * D + D + D + INNER + D + D  # query, key, value; dense, norm; intermediate; dense, norm
        count += LAYERS * layer + D  # the embeddings' norm
        count += (D + D + D) if family == "deberta" else 0  # the relative embeddings' norm; convolution, its norm
    return count


def test_counts(family: str, choice: dict[str, Any]) -> None:
    assert make_model(family, **choice).num_parameters(only_trainable=True) == expected_count(family, choice)


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({**HOULSBY, "adapter_size": 8}, 24 * 2 * (2 * 1024 * 8 + 8 + 1024)),
        ({**PFEIFFER, "adapter_size": 16}, 24 * (2 * 1024 * 16 + 16 + 1024)),
        ({**PFEIFFER, "adapter_size": 64}, 24 * (2 * 1024 * 64 + 64 + 1024)),
        (BITFIT, 24 * (4 * 1024 + 4096 + 1024 + 2 * 1024) + 1024),
    ],
    ids=["houlsby-8", "pfeiffer-16", "pfeiffer-64", "bitfit"],
)
def test_counts_of_roberta_large(fields: dict[str, Any], values: int) -> None:
    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    head = 1024 * 1024 + 1024 + 1024 * 3 + 3
    with torch.device("meta"):
        model = make_model("roberta", **sizes, **fields)
    assert model.num_parameters(only_trainable=True) == values + head


def test_choices_add_up(family: str, choice: dict[str, Any]) -> None:
    model = make_model(family, **choice)
    encoder = f"{model.base_model_prefix}."
    for name, parameter in model.named_parameters():
        wanted = not name.startswith(encoder)
        wanted |= "lora_" in name and bool(choice.get("apply_lora"))
        wanted |= ".adapter." in name and bool(choice.get("apply_adapter"))
        wanted |= name.endswith("bias") and bool(choice.get("apply_bitfit"))
        assert parameter.requires_grad is wanted, name


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_flow_in_training(family: str, choice: dict[str, Any], dropout: float) -> None:
    model = make_model(family, **choice, hidden_dropout_prob=dropout).train()
    shake(model)
    model(**batch(), labels=torch.arange(6) % 3).loss.backward()
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().max() > 0)
    }
    assert silent <= {name for name in silent if "key" in name}, "a key's bias alone shifts no attention"
    assert all(parameter.grad is None for parameter in model.parameters() if not parameter.requires_grad)


def test_gradients_are_those_of_the_formula(family: str, choice: dict[str, Any]) -> None:
    """Finite differences along a random direction agree with the gradient."""
    model = make_model(family, **choice).double().train()
    shake(model)
    labels = torch.arange(6) % 3
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    directions = [torch.randn_like(parameter) for parameter in trained]
    model(**batch(), labels=labels).loss.backward()
    slope = sum(float((p.grad * d).sum()) for p, d in zip(trained, directions, strict=True) if p.grad is not None)

    def loss_at(step: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(trained, directions, strict=True):
                parameter.add_(direction, alpha=step)
            loss = float(functional.cross_entropy(model(**batch()).logits, labels))
            for parameter, direction in zip(trained, directions, strict=True):
                parameter.add_(direction, alpha=-step)
        return loss

    step = 1e-4  # parts of DeBERTa's attention are fp32 always
    assert (loss_at(step) - loss_at(-step)) / (2 * step) == pytest.approx(slope, rel=5e-3)


def test_recomputed_activations_give_the_same_gradients(family: str, choice: dict[str, Any]) -> None:
    model = make_model(family, **choice, hidden_dropout_prob=0.2).train()
    shake(model)
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        if recompute:
            model.gradient_checkpointing_enable()
        torch.manual_seed(11)
        model(**batch(), labels=torch.arange(6) % 3).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-6, msg=name)


# Packed rows ----------------------------------------------------------------------------------------------------


def test_padding_changes_nothing(family: str, choice: dict[str, Any]) -> None:
    model = make_model(family, **choice)
    shake(model)
    inputs = batch()
    together = model(**inputs).logits
    for row, length in enumerate(inputs["attention_mask"].sum(1)):
        alone = model(inputs["input_ids"][row : row + 1, :length]).logits
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_the_first_token_alone_is_what_the_whole_layer_gives(family: str, choice: dict[str, Any]) -> None:
    """The last layer computes one token a row, unless hidden states are asked for."""
    model = make_model(family, **choice)
    shake(model)
    short, whole = model(**batch()), model(**batch(), output_hidden_states=True)
    torch.testing.assert_close(short.logits, whole.logits, rtol=1e-4, atol=1e-5)


# Precision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_trained_values_stay_fp32_beside_a_half_precision_base(
    family: str, choice: dict[str, Any], dtype: torch.dtype
) -> None:
    model = make_model(family, **choice, initializer_range=0.05).train()
    shake(model)
    labels = torch.arange(6) % 3
    exact = model(**batch(), labels=labels).loss
    model.cast_frozen_parameters(dtype)
    dtypes = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
    assert dtypes == {(True, torch.float32), (False, dtype)}
    loss = model(**batch(), labels=labels).loss
    loss.backward()
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", ["linear", "lora", "norm"])
def test_a_bias_is_cast_and_gets_a_gradient(kind: str) -> None:
    model = make_model("roberta", **BITFIT, **LORA)
    model.cast_frozen_parameters(torch.bfloat16)
    attention = model.roberta.encoder.layer[0].attention
    layer = {"linear": attention.self.key, "lora": attention.self.query, "norm": attention.output.LayerNorm}[kind]
    x = torch.randn(4, D, dtype=torch.bfloat16)
    layer(x).sum().backward()
    assert layer.bias.dtype == torch.float32
    assert torch.equal(layer.bias.grad, torch.full((D,), 4.0))
    with torch.no_grad():
        layer.bias.add_(0.25)
        before = layer(x)
        layer.bias.add_(0.5)
    torch.testing.assert_close(layer(x) - before, torch.full((4, D), 0.5, dtype=torch.bfloat16), rtol=0.1, atol=0.02)


def test_bitfit_computes_what_the_plain_model_does(family: str) -> None:
    plain = make_model(family)
    tuned = make_model(family, **BITFIT)
    tuned.load_state_dict(plain.state_dict())
    assert torch.equal(plain(**batch()).logits, tuned(**batch()).logits)


# Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapter_type": "compacter"}, "houlsby or pfeiffer"),
        ({"adapter_type": None}, "houlsby or pfeiffer"),
        ({"adapter_size": 0}, "positive whole number"),
        ({"adapter_size": None}, "positive whole number"),
        ({"adapter_size": True}, "positive whole number"),
        ({"adapter_size": 8.0}, "positive whole number"),
    ],
)
def test_fields_out_of_range(family: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(family, **{**HOULSBY, **fields})
    config = make_config(family, **HOULSBY)
    for name, value in fields.items():
        setattr(config, name, value)  # after the configuration was made
    with pytest.raises(ValueError, match=message):
        FAMILIES[family][1](config)


def test_a_model_type_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="no places for bottleneck adapters"):
        PretrainedConfig(**HOULSBY)


def test_a_configuration_keeps_the_choices(family: str, choice: dict[str, Any], tmp_path: Any) -> None:
    config = make_config(family, **choice, adapter_path="somewhere")
    config.save_pretrained(tmp_path)
    again = FAMILIES[family][0].from_pretrained(tmp_path)
    assert isinstance(again, PretrainedConfig)
    assert all(getattr(again, name) == value for name, value in choice.items())
    assert again.adapter_path is None, "a path holds on one machine only"


def test_relu_and_swish_are_what_they_are_called() -> None:
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(PfeifferAdapter(4, 2).act(x), x.clamp_min(0))
    torch.testing.assert_close(HoulsbyAdapter(4, 2).act(x), x * torch.sigmoid(x))
