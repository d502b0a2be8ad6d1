"""Products of halves: on a processor that cannot multiply them in fp32, rounded once, forwards and backwards.

What other processors compute is what is compared with; every machine can be told that it is such a one. Where there
are instructions for bf16, a bias that oneDNN adds gives the bits that PyTorch's own product gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, make_head, padded_batch
from tiny import LORA, shake, write_base
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig, PreTrainedModel
from transformers.layers import half_products

HALVES = [torch.bfloat16, torch.float16]
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "scaled_dot_product", "linear", "matmul")


class _Products(TorchDispatchMode):
    """Notes the dtypes of all products that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").lstrip("_")
        tensors = [each for each in args if isinstance(each, Tensor)]
        if name.startswith(PRODUCTS) and min(tensors[0].shape, default=0) > 1:  # a head's one row is no matter
            self.dtypes.append(tensors[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that this processor multiplies halves slowly."""
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda dtype: dtype in HALVES)


def _half(family: str, task: str, dtype: torch.dtype, **changes: Any) -> PreTrainedModel:
    model = make_head(family, task, **LORA, **changes)
    shake(model)
    model.cast_frozen_parameters(dtype)
    return model.train()


def _step(model: PreTrainedModel, task: str) -> dict[str, Tensor]:
    """Compute outputs and gradients."""
    model.zero_grad()
    output = model(**padded_batch("holes", task), output_attentions=False)[0]
    wanted = torch.sin(torch.arange(output.numel()).view_as(output))  # a normalised output's own square is constant
    (output.float() * wanted).mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"output": output.detach().float(), **gradients}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("family", "task"), [pair for pair in HEADS if pair[1] != "causal-lm"])
def test_a_step_multiplies_no_halves_and_is_the_same(
    family: str, task: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _half(family, task, dtype)
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda dtype: False)
    expected = _step(model, task)
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda dtype: dtype in HALVES)
    with _Products() as products:
        found = _step(model, task)
    assert len(products.dtypes) > 20
    assert set(products.dtypes) == {torch.float32}
    assert found.keys() == expected.keys()
    assert len(found) > 4
    rounding = torch.finfo(dtype).eps
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 8 * rounding * value.norm() + 1e-6, name


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("kind", ["autocast", "checkpointing", "evaluation", "merged", "attentions", "convolution"])
def test_no_way_through_a_model_multiplies_halves(family: str, kind: str) -> None:
    if kind == "convolution" and family == "roberta":
        pytest.skip("RoBERTa has none")
    changes = {"conv_kernel_size": 3} if kind == "convolution" else {}
    model = make_head(family, "sequence-classification", **LORA, **changes).train()
    autocast = kind == "autocast"
    if not autocast:
        model.cast_frozen_parameters(torch.bfloat16)
    if kind == "checkpointing":
        model.gradient_checkpointing_enable()
    if kind in ("evaluation", "merged"):
        model.eval()
    if kind == "merged":
        model.merge_adapter()
    encoder = model.base_model.encoder
    with _Products() as products:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            hidden = model.base_model(**padded_batch("holes"), output_attentions=kind == "attentions")[0]
        if model.training:
            hidden.float().square().mean().backward()
    assert len(products.dtypes) > 10
    assert len(encoder.layer) > 1
    assert set(products.dtypes) == {torch.float32}


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("bits", [{"load_in_4bit": True}, {"load_in_8bit": True}])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])  # four bits may be computed in halves over fp32
def test_a_base_of_few_bits_multiplies_no_halves(bits: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    computed = BitsAndBytesConfig(**bits, bnb_4bit_compute_dtype=torch.bfloat16)
    model = AutoModelForSequenceClassification.from_pretrained(
        write_base(tmp_path / "base"), quantization_config=computed, torch_dtype=dtype, **LORA
    )
    with _Products() as products:
        model.train()(**padded_batch()).logits.float().sum().backward()
        model.eval()(**padded_batch())
    assert len(products.dtypes) > 20
    assert set(products.dtypes) == {torch.float32}


@pytest.mark.parametrize("dtype", HALVES)
def test_a_product_is_that_of_fp32_rounded_once(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda dtype: dtype in HALVES)
    x, weight, bias = torch.randn(5, 33).to(dtype), torch.randn(7, 33).to(dtype), torch.randn(7).to(dtype)
    for each in (x, weight, bias):
        each.requires_grad_()
    with half_products._WideProducts():
        result = functional.linear(x, weight, bias)
    assert torch.equal(result, functional.linear(x.float(), weight.float(), bias.float()).to(dtype))
    grad = torch.randn(5, 7).to(dtype)
    result.backward(grad)
    assert x.grad is not None
    assert weight.grad is not None
    assert bias.grad is not None
    assert torch.equal(x.grad, (grad.float() @ weight.float()).to(dtype))
    assert torch.equal(weight.grad, (grad.float().t() @ x.float()).to(dtype))
    assert torch.equal(bias.grad, grad.float().sum(0).to(dtype))


@pytest.mark.parametrize(("first", "second"), [((2, 3, 4, 5), (3, 5, 6)), ((4, 5), (2, 5, 6)), ((3, 5), (5,))])
def test_factors_of_unlike_batches(
    first: tuple[int, ...], second: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (torch.randn(shape).bfloat16().requires_grad_() for shape in (first, second))
    (a @ b).float().square().sum().backward()
    expected = [(a @ b).detach(), a.grad, b.grad]
    a.grad = b.grad = None
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda dtype: dtype in HALVES)
    with half_products._WideProducts():
        result = a @ b
    result.float().square().sum().backward()
    for found, value in zip([result.detach(), a.grad, b.grad], expected, strict=True):
        assert found is not None
        assert value is not None
        torch.testing.assert_close(found, value, rtol=2e-2, atol=2e-2)


@pytest.mark.usefixtures("slow")
def test_a_model_in_fp32_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise AssertionError("PyTorch's functions are replaced.")

    monkeypatch.setattr(half_products._WideProducts, "__enter__", refuse)
    make_head("roberta", "sequence-classification", **LORA)(**padded_batch())
    with pytest.raises(AssertionError, match="replaced"):
        _half("roberta", "sequence-classification", torch.bfloat16)(**padded_batch())


@pytest.mark.usefixtures("slow")
def test_a_module_may_be_called_by_keywords() -> None:
    pooler = _half("roberta", "base", torch.bfloat16).pooler
    features = torch.randn(3, 32).bfloat16()
    with _Products() as products:
        assert torch.equal(pooler(hidden_states=features), pooler(features))
    assert set(products.dtypes) == {torch.float32}


@pytest.mark.usefixtures("slow")
def test_weights_are_not_kept_in_fp32_for_the_backward_pass() -> None:
    model = _half("roberta", "sequence-classification", torch.bfloat16)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        model(**padded_batch())
    widths = {model.config.hidden_size, model.config.intermediate_size}
    matrices = [tensor for tensor in kept if set(tensor.shape) == widths]
    assert matrices
    assert all(tensor.dtype == torch.bfloat16 for tensor in matrices)


# A bias that oneDNN adds -------------------------------------------------------------------------------------------

needs_bf16 = pytest.mark.skipif(half_products._ONE_DNN is None, reason="this CPU has no instructions for bf16")
SHAPES = [((1, 768), 768), ((3, 10), 7), ((0, 8), 8), ((2000, 61), 33), ((600, 384), 384), ((1100, 768), 3072)]


class _Calls:
    """Counts how often oneDNN is asked to add a bias."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number, self._compute = 0, half_products._ONE_DNN
        monkeypatch.setattr(half_products, "_ONE_DNN", self)

    def __call__(self, *arguments: Any) -> Tensor:
        self.number += 1
        assert self._compute is not None
        return self._compute(*arguments)


def _frozen_layer(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs).bfloat16().requires_grad_(False)


@needs_bf16
@pytest.mark.parametrize(("shape", "outputs"), SHAPES, ids=str)
def test_a_bias_is_added_to_the_same_bits(
    shape: tuple[int, ...], outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, layer = _Calls(monkeypatch), _frozen_layer(shape[-1], outputs)
    x = torch.randn(shape).bfloat16()
    assert torch.equal(half_products.apply_linear(layer, x), layer(x))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    grad = torch.randn(*shape[:-1], outputs).bfloat16()
    half_products.apply_linear(layer, ours).backward(grad)
    layer(theirs).backward(grad)
    assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]
    assert calls.number == 2


@needs_bf16
@pytest.mark.parametrize("view", [lambda x: x.t(), lambda x: x[:, ::2], lambda x: x[3:, :32]])
def test_a_view_of_memory_is_read_as_it_is(view: Any) -> None:
    x = view(torch.randn(64, 64).bfloat16())
    layer = _frozen_layer(x.shape[-1], 48)
    assert torch.equal(half_products.apply_linear(layer, x), layer(x))


@needs_bf16
@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_model_computes_the_same_bits(
    family: str, merged: bool, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if merged and training:
        pytest.skip("a merged adapter is not trained")
    model = _half(family, "sequence-classification", torch.bfloat16).train(training)
    if merged:
        model.merge_adapter()
    compute = (lambda: _step(model, "")) if training else (lambda: {"output": model(**padded_batch("holes"))[0]})
    calls = _Calls(monkeypatch)
    found = compute()
    layers = model.config.num_hidden_layers
    assert calls.number >= 4 * layers  # query, key, value and the widening
    monkeypatch.setattr(half_products, "_ONE_DNN", None)
    expected = compute()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@needs_bf16
@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.float(),
        lambda layer: layer.half(),
        lambda layer: layer.bias.requires_grad_(),
        lambda layer: layer.weight.requires_grad_(),
        lambda layer: layer.register_parameter("bias", None),
        lambda layer: layer.register_forward_hook(lambda *given: None),
        lambda layer: layer.to("meta"),
    ],
)
def test_anything_but_a_frozen_layer_in_bf16_is_called(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, layer = _Calls(monkeypatch), _frozen_layer(8, 4)
    change(layer)
    x = torch.ones(3, 8, dtype=layer.weight.dtype, device=layer.weight.device)
    half_products.apply_linear(layer, x)
    half_products.apply_linear(_frozen_layer(8, 4), torch.ones(3, 2, 8).bfloat16())
    half_products.apply_linear(nn.Sequential(_frozen_layer(8, 4)), torch.ones(3, 8).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        half_products.apply_linear(_frozen_layer(8, 4), torch.ones(3, 8).bfloat16())
    assert calls.number == 0


@needs_bf16
def test_what_is_computed_by_torch_func_has_the_same_gradients() -> None:
    layer, x = _frozen_layer(8, 4), torch.randn(5, 8).bfloat16()

    def loss(row: Tensor, ours: bool) -> Tensor:
        return (half_products.apply_linear(layer, row) if ours else layer(row)).float().square().sum()

    ours, theirs = (torch.func.grad(loss)(x, ours) for ours in (True, False))
    assert torch.equal(ours, theirs)
