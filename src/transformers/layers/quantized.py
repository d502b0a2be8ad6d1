"""A linear layer whose frozen weight is kept in 4 or 8 bits; bitsandbytes makes the bits and multiplies with them.

The bits are the layer's ``weight``, their scales are buffers: plain tensors, so that copying, moving and viewing a
model need to know nothing of them. Nothing of a product is kept for the backward pass; the weight is made full again.

- 4 bits (QLoRA: Dettmers et al., 2023): blocks of 64 values, each value one of 16, times the block's largest. With
  double quantisation these largest values are themselves kept in 8 bits.
- 8 bits (LLM.int8(): Dettmers et al., 2022): one scale for each output. In evaluation inputs are quantised too, but
  for columns with outliers; in training on a CPU, as bitsandbytes does it there, they are not.

Letters in shapes: ``O`` output features, ``I`` input features, ``T`` tokens.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..configuration.quantization import BitsAndBytesConfig
from .half_products import fast_half_products, matmul

if TYPE_CHECKING:
    from bitsandbytes.functional import QuantState

__all__ = [
    "QuantizationError",
    "QuantizedLinear",
    "number_of_values",
    "packed_bytes",
    "quantized_layers",
    "refuse_cast",
    "require_bitsandbytes",
]

_BLOCK = 64  # weights with one scale; bitsandbytes' own choice, and upstream's
_BLOCK_OF_SCALES = 256  # scales with one scale, with double quantisation; likewise
_LARGEST = 127  # of 8 bits


@dataclass(frozen=True)
class QuantizationError:
    """By how much dequantised weights differ from those that were quantised.

    Attributes:
        largest: The largest absolute difference of any value.
        mean: The mean absolute difference.
        values: How many values there are.
    """

    largest: float = 0.0
    mean: float = 0.0
    values: int = 0

    def with_other(self, other: QuantizationError) -> QuantizationError:
        """Give the error of both sets of weights together."""
        values = self.values + other.values
        total = self.mean * self.values + other.mean * other.values
        return QuantizationError(max(self.largest, other.largest), total / max(values, 1), values)

    def __str__(self) -> str:
        """Say it in words."""
        return f"by {self.mean:.2g} on average and by {self.largest:.2g} at most"


class QuantizedLinear(nn.Linear):
    """A linear layer with a frozen weight of few bits, and a bias in full precision.

    A plain layer becomes one by `quantize`. Its ``weight`` then holds the bits: with 4, two values to a byte in one
    column; with 8, int8 of shape (O, I).

    Attributes:
        quantization: How the bits are made.
        full_dtype: The dtype of the layer's outputs, and of its weight where it is made full.
        error: By how much the weight differs from the one that was quantised.
    """

    quantization: BitsAndBytesConfig
    full_dtype: torch.dtype
    error: QuantizationError

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer. Shape: (…, I) to (…, O)."""
        product = self.product(x)
        return product if self.bias is None else product + self.bias.to(product.dtype)

    def product(self, x: Tensor) -> Tensor:
        """Multiply with the weight, without the bias. Shape: (…, I) to (…, O)."""
        x = x.to(self.full_dtype)
        wanted = self.quantization.bnb_4bit_compute_dtype if self.quantization.load_in_4bit else x.dtype
        flat = x.reshape(-1, x.shape[-1]).to(wanted)
        result: Tensor = _Product.apply(flat, self)
        return result.to(x.dtype).view(*x.shape[:-1], self.out_features)

    @fast_half_products
    def multiply(self, x: Tensor) -> Tensor:
        """Compute `product` of rows, without a gradient. Shape: (T, I) to (T, O)."""
        if self.quantization.load_in_4bit:
            import bitsandbytes

            state = self._state()
            result: Tensor = bitsandbytes.matmul_4bit(x, self.weight, quant_state=state)  # type: ignore[attr-defined]
            return result
        if self.training and x.device.type == "cpu":
            return functional.linear(x, self.dequantized(x.dtype))
        return self._multiply_as_int8(x)

    def _multiply_as_int8(self, x: Tensor) -> Tensor:
        """Quantise each token's input too, but for columns with a value beyond the threshold."""
        from bitsandbytes.functional import int8_vectorwise_quant

        operations, threshold = torch.ops.bitsandbytes, float(self.quantization.llm_int8_threshold)
        bits, scales, outliers = int8_vectorwise_quant(x.to(torch.float16), threshold=threshold)
        own = self.get_buffer("absmax")
        if threshold > 0:
            mixed: Tensor = operations.int8_mixed_scaled_mm(x, bits, self.weight, scales, own, outliers)[0]
            return mixed
        result: Tensor = operations.int8_scaled_mm(bits, self.weight, scales, own, dtype=x.dtype)
        return result

    # The bits -------------------------------------------------------------------------------------------------

    def quantize(self, weight: Tensor, quantization: BitsAndBytesConfig) -> None:
        """Keep a weight in few bits.

        Args:
            weight: In the dtype that the layer's outputs are to have. Shape: (O, I).
            quantization: How.

        Raises:
            ValueError: If bitsandbytes is not installed, or the weight holds values that are not finite.
        """
        require_bitsandbytes()
        if not bool(torch.isfinite(weight).all()):
            raise ValueError("A weight holds values that are not finite, so it cannot be quantised.")
        self.quantization, self.full_dtype = quantization, weight.dtype
        bits, scales = _four_bits(weight, quantization) if quantization.load_in_4bit else _eight_bits(weight)
        self.weight = nn.Parameter(bits, requires_grad=False)
        for name, scale in scales.items():
            self.register_buffer(name, scale)
        difference = (self.dequantized(torch.float32) - weight).abs_()
        self.error = QuantizationError(float(difference.max()), float(difference.mean()), weight.numel())

    def dequantized(self, dtype: torch.dtype | None = None) -> Tensor:
        """Give the weight that the bits stand for. Shape: (O, I).

        Args:
            dtype: Its dtype; the layer's ``full_dtype`` where None.
        """
        dtype = self.full_dtype if dtype is None else dtype
        if self.quantization.load_in_4bit:
            from bitsandbytes.functional import dequantize_4bit

            full: Tensor = dequantize_4bit(self.weight.detach(), self._state())
            return full.to(dtype)
        return self.weight.detach().to(dtype) * (self.get_buffer("absmax")[:, None] / _LARGEST).to(dtype)

    def _state(self) -> QuantState:
        """Give what bitsandbytes wants beside the bits."""
        from bitsandbytes.functional import QuantState

        scales = self._buffers
        nested = None
        if self.quantization.bnb_4bit_use_double_quant:
            nested = QuantState(
                scales["nested_absmax"], code=scales["nested_code"], blocksize=_BLOCK_OF_SCALES, dtype=torch.float32
            )
        return QuantState(
            scales["absmax"],
            shape=torch.Size((self.out_features, self.in_features)),
            code=scales["code"],
            blocksize=_BLOCK,
            quant_type=self.quantization.bnb_4bit_quant_type,
            dtype=self.full_dtype,
            offset=scales.get("offset"),
            state2=nested,
        )

    def lend_weight_to(self, other: QuantizedLinear) -> None:
        """Let another layer of the same sizes have the very bits and bias."""
        other._parameters.update({name: self._parameters[name] for name in ("weight", "bias")})
        other._buffers.update(self._buffers)
        other.quantization, other.full_dtype, other.error = self.quantization, self.full_dtype, self.error

    def with_full_weight(self, plain: nn.Linear) -> None:
        """Give a plain layer on no device the dequantised weight and the very bias."""
        plain.weight = nn.Parameter(self.dequantized(), requires_grad=False)
        plain.register_parameter("bias", self.bias)

    # What PyTorch does with a module --------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the layer; a cast would spoil the scales.

        Raises:
            ValueError: If it is a cast.
        """
        refuse_cast([self], fn)
        super()._apply(fn, recurse)
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, *lists: list[str]
    ) -> None:
        """Take bits of the same kind, and nothing else: PyTorch would cast a full weight to whole numbers."""
        given = state_dict.get(f"{prefix}weight")
        if given is not None and (given.dtype != self.weight.dtype or given.shape != self.weight.shape):
            lists[-1].append(
                f"{prefix}weight is kept in {self.quantization}, but a {str(given.dtype).removeprefix('torch.')} of "
                f"shape {tuple(given.shape)} is given. Load the weights with from_pretrained(…, load_in_4bit=True)."
            )
            return
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)

    def extra_repr(self) -> str:
        """Show the bits when the model is printed."""
        return f"{super().extra_repr()}, {self.quantization}"


class _Product(torch.autograd.Function):
    """``x·Wᵀ`` with a weight that gets no gradient and is made full where it is needed.

    Inputs: x of shape (T, I), and the layer. Result: shape (T, O).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer = layer
        return layer.multiply(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return matmul(grad, ctx.layer.dequantized(grad.dtype)), None


def _four_bits(weight: Tensor, quantization: BitsAndBytesConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Give the bits of a weight, two values to a byte in one column, and their scales."""
    from bitsandbytes.functional import quantize_4bit

    bits, state = quantize_4bit(
        weight.contiguous(),
        blocksize=_BLOCK,
        compress_statistics=quantization.bnb_4bit_use_double_quant,
        quant_type=quantization.bnb_4bit_quant_type,
    )
    scales = {"absmax": state.absmax, "code": state.code.clone()}  # bitsandbytes has one table for all
    if state.state2 is not None:
        scales |= {
            "nested_absmax": state.state2.absmax,
            "nested_code": state.state2.code.clone(),
            "offset": state.offset,
        }
    return bits, scales


def _eight_bits(weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Give the bits of a weight, of its own shape, and the largest value of each output."""
    from bitsandbytes.functional import int8_vectorwise_quant

    bits, largest, _ = int8_vectorwise_quant(weight.to(torch.float16).contiguous())
    return bits, {"absmax": largest}


def packed_bytes(in_features: int, out_features: int, quantization: BitsAndBytesConfig) -> int:
    """Reckon the bytes of a weight's bits and their scales.

    Args:
        in_features: ``I``.
        out_features: ``O``.
        quantization: How the bits are made.
    """
    values = in_features * out_features
    if quantization.load_in_8bit:
        return values + 4 * out_features
    blocks = -(-values // _BLOCK)
    scales = 4 * blocks
    if quantization.bnb_4bit_use_double_quant:
        scales = blocks + 4 * -(-blocks // _BLOCK_OF_SCALES) + 4 * 2**8 + 4  # a table of 256, and what is added to all
    return -(-values // 2) + scales + 4 * 2**4


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, QuantizedLinear]]:
    """Go through a model's layers of few bits, each with its path."""
    for path, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            yield path, module


def number_of_values(
    model: nn.Module,
    counts: Callable[[nn.Parameter], bool] = lambda each: True,
    size: Callable[[nn.Parameter], int] = torch.numel,
) -> int:
    """Count a model's values; what is kept in few bits counts as the values that it stands for.

    Args:
        model: Any module.
        counts: Which parameters count; all of them by default.
        size: How many values a parameter has that is not of few bits.
    """
    packed = {id(layer.weight): layer.in_features * layer.out_features for _, layer in quantized_layers(model)}
    return sum(packed.get(id(each), size(each)) for each in model.parameters() if counts(each))


def refuse_cast(layers: list[QuantizedLinear], fn: Callable[[Tensor], Tensor]) -> None:
    """Refuse to cast a model with layers of few bits, before anything is changed.

    Args:
        layers: Its layers.
        fn: What is done to each tensor, such as the function behind ``half()``.

    Raises:
        ValueError: If that is a cast.
    """
    if layers and any(fn(torch.empty(0, dtype=dtype)).dtype != dtype for dtype in (torch.float32, torch.bfloat16)):
        raise ValueError(
            f"This model's base is kept in {layers[0].quantization}, so it cannot be cast: load it with dtype=…, and "
            "choose what it computes in with bnb_4bit_compute_dtype."
        )


def require_bitsandbytes() -> None:
    """Make sure that bitsandbytes is installed; it is not imported, which takes seconds.

    Raises:
        ValueError: If it is not.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            "Weights of 4 or 8 bits, and optimizers of 8, need bitsandbytes, which is not installed: pip install "
            "bitsandbytes."
        )
