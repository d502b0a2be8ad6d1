"""Products in bf16 and fp16 on a CPU.

A CPU without instructions for half precision (AVX2 alone, say) multiplies halves one by one, up to a hundred times as
slowly as in fp32. There the factors are widened for each product and the result is rounded once, as instructions for
half precision do it, which sum in fp32 too. What is kept for the backward pass, and the weights, stay half.

Where there are such instructions, PyTorch fills a linear layer's output with the bias before it multiplies, which
takes up to a quarter of the product's time. oneDNN can add a bias as it writes the product, to the same bits; that is
asked for where weight and bias are frozen, as those of a base are.

Letters in shapes: ``I`` input features, ``O`` output features, ``M``, ``K``, ``P`` sides of matrices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .capture import is_captured
from .hooks import is_hooked

__all__ = ["apply_linear", "fast_half_products", "linear", "matmul", "multiplies_slowly", "plans_by_shape"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def multiplies_slowly(dtype: torch.dtype) -> bool:
    """Say whether this machine's CPU has no instructions to multiply in a dtype, so that fp32 is faster."""
    return dtype in _SLOW


def plans_by_shape(device: torch.device, dtype: torch.dtype) -> bool:
    """Say whether products in a dtype, or in autocast's, are planned anew for each new shape: oneDNN's on a CPU are.

    A plan takes one to eight milliseconds, a product of 400 tokens half of one.
    """
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    return device.type == "cpu" and dtype in (torch.bfloat16, torch.float16) and not multiplies_slowly(dtype)


def _has_instructions(name: str) -> bool:
    """Ask oneDNN, which a build may lack."""
    supported = getattr(torch.ops.mkldnn, name, None)
    return supported is not None and bool(supported())


_SLOW = frozenset(
    dtype
    for dtype, name in (
        (torch.bfloat16, "_is_mkldnn_bf16_supported"),
        (torch.float16, "_is_mkldnn_fp16_supported"),
    )
    if not _has_instructions(name)
)
# What PyTorch's own compiler calls; None where a build or this machine has nothing of it.
_ONE_DNN: Callable[..., Tensor] | None = (
    None if torch.bfloat16 in _SLOW else getattr(torch.ops.mkldnn, "_linear_pointwise", None)
)


def fast_half_products(forward: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a module's forward pass multiply halves in fp32 where that is faster, its backward pass included.

    Args:
        forward: The method. Its first argument after ``self`` is a tensor in the dtype that it computes in.
    """

    @functools.wraps(forward)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        inputs = args[1] if len(args) > 1 else next(iter(kwargs.values()), None)
        if isinstance(inputs, Tensor) and inputs.device.type == "cpu" and multiplies_slowly(_dtype_of(inputs)):
            with _WideProducts():
                return forward(*args, **kwargs)
        return forward(*args, **kwargs)

    return wrapped


def apply_linear(layer: nn.Module, x: Tensor) -> Tensor:
    """Call a linear layer, or compute what calling it would give, bit for bit. Shape: (…, I) to (…, O)."""
    if type(layer) is nn.Linear and not is_hooked(layer) and _adds_bias(x, layer.weight, layer.bias):
        return _with_bias(x, layer.weight, layer.bias)
    result: Tensor = layer(x)
    return result


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply with a weight, and add a bias. Shape: (…, I), (O, I) and (O,) to (…, O)."""
    if bias is not None and _adds_bias(x, weight, bias):
        return _with_bias(x, weight, bias)
    if x.device.type == "cpu" and multiplies_slowly(x.dtype):
        return _linear(x, weight, bias)
    return functional.linear(x, weight, bias)


def matmul(first: Tensor, second: Tensor) -> Tensor:
    """Multiply batches of matrices, where no gradient is asked for. Shape: (…, M, K) and (…, K, P) to (…, M, P)."""
    if first.device.type == "cpu" and multiplies_slowly(first.dtype):
        return (first.float() @ second.float()).to(first.dtype)
    return first @ second


def _dtype_of(tensor: Tensor) -> torch.dtype:
    """Give the dtype in which products of a tensor on the CPU are computed."""
    if tensor.is_floating_point() and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return tensor.dtype


def _adds_bias(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Say whether oneDNN may add a bias: to a matrix of bf16 in this machine's memory, where both are frozen."""
    if bias is None or weight.requires_grad or bias.requires_grad or x.dim() != 2 or _ONE_DNN is None:
        return False
    plain = all(
        type(each) in (Tensor, nn.Parameter) and each.device.type == "cpu" and each.dtype == torch.bfloat16
        for each in (x, weight, bias)
    )
    return plain and not (multiplies_slowly(x.dtype) or torch.is_autocast_enabled("cpu") or is_captured())


def _with_bias(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Let oneDNN multiply and add."""
    if torch.is_grad_enabled() and x.requires_grad:
        result: Tensor = _FrozenLinear.apply(x, weight, bias)
        return result
    assert _ONE_DNN is not None
    product: Tensor = _ONE_DNN(x, weight, bias, "none", [], "")
    return product


class _FrozenLinear(torch.autograd.Function):
    """``x·Wᵀ + b`` in bf16. Inputs: x of shape (M, I), the frozen weight, (O, I), and the frozen bias, (O,)."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _with_bias(x, weight, bias)  # where no gradient is recorded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return grad @ weight, None, None


class _WideProducts(TorchFunctionMode):
    """Computes PyTorch's products of halves in fp32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        wide = _WIDE.get(func)
        if wide is None:
            return func(*args, **(kwargs or {}))
        tensors = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        dtype = _dtype_of(tensors[0])
        if not multiplies_slowly(dtype):
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            args = [_round(value, dtype) for value in args]
            return wide(*args, **{name: _round(value, dtype) for name, value in (kwargs or {}).items()})


def _round(value: Any, dtype: torch.dtype) -> Any:
    """Give a tensor as autocast would hand it to a product; anything else as it is."""
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


class _Linear(torch.autograd.Function):
    """``x·Wᵀ + b``. Inputs: x of shape (…, I), weight of shape (O, I), bias of shape (O,) or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return functional.linear(x.float(), weight.float(), None if bias is None else bias.float()).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        dtype, grad = grad.dtype, grad.float()
        rows = grad.flatten(0, -2)
        return (
            (grad @ weight.float()).to(dtype) if needs_x else None,
            (rows.t() @ x.flatten(0, -2).float()).to(dtype) if needs_weight else None,
            rows.sum(0).to(dtype) if needs_bias else None,
        )


class _Matmul(torch.autograd.Function):
    """The product of batches of matrices. Shape: (…, M, K) and (…, K, P) to (…, M, P)."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        return (first.float() @ second.float()).to(first.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        first, second = ctx.saved_tensors
        dtype, grad = grad.dtype, grad.float()
        needs_first, needs_second = ctx.needs_input_grad
        return (
            (grad @ second.float().mT).sum_to_size(first.shape).to(dtype) if needs_first else None,
            (first.float().mT @ grad).sum_to_size(second.shape).to(dtype) if needs_second else None,
        )


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # PyTorch's names
    result: Tensor = _Linear.apply(input, weight, bias)
    return result


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    if min(input.dim(), other.dim()) < 2:
        return (input.float() @ other.float()).to(input.dtype)
    result: Tensor = _Matmul.apply(input, other)
    return result


def _widened(func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give a function of halves that is computed in fp32, what is kept for the backward pass included."""

    def wide(*args: Any, **kwargs: Any) -> Tensor:
        dtype = args[0].dtype
        return func(
            *(_round(value, torch.float32) for value in args),
            **{name: _round(value, torch.float32) for name, value in kwargs.items()},
        ).to(dtype)

    return wide


_attention = functional.scaled_dot_product_attention
_WIDE: dict[Any, Callable[..., Tensor]] = {
    functional.linear: _linear,
    torch.matmul: _matmul,
    Tensor.matmul: _matmul,
    Tensor.__matmul__: _matmul,
    torch.addmm: _widened(torch.addmm),  # LoRA's: its factors are thin
    torch.conv1d: _widened(torch.conv1d),
    functional.conv1d: _widened(torch.conv1d),
    _attention: _widened(_attention),
}
