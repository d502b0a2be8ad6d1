"""The compiled functions as functions of tensors.

Nothing is compiled before `use_kernels`, which the Trainer calls. Until then, and where there is no compiler,
`kernels_for` gives None and the plain operations of `layers` are computed.

Letters in shapes: ``T`` tokens, ``D`` hidden size, ``H`` heads, ``d`` size of a head, ``R`` rows of a batch, ``G``
rows of a group, ``n`` their length.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import compiling

__all__ = ["Kernels", "Mask", "SavedSums", "kernels_for", "use_kernels", "uses_kernels"]

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_ARRAY, _INT = ctypes.c_void_p, ctypes.c_int64
_MASK: tuple[type[ctypes._SimpleCData[Any]], ...] = (ctypes.c_uint64, ctypes.c_int16, ctypes.c_float)


@dataclass(frozen=True)
class Mask:
    """Which elements dropout leaves: 16 bits of a draw each, as `layers.dropout.keep_mask` says.

    Attributes:
        seed: Of the draws.
        lowest: The lowest of 16 bits, as a signed number, with which an element stays.
        scale: What those that stay are multiplied by.
    """

    seed: int
    lowest: int
    scale: float

    @property
    def arguments(self) -> tuple[int, int, float]:
        """In the compiled functions' order."""
        return self.seed, self.lowest, self.scale


@dataclass(frozen=True)
class SavedSums:
    """What the gradient of `Kernels.residual_norm` needs.

    Attributes:
        sums: What was normalised. Shape: (T, D).
        mean: Of each row, fp32. Shape: (T,).
        scale: The inverse of each row's standard deviation, fp32. Shape: (T,).
    """

    sums: Tensor
    mean: Tensor
    scale: Tensor


class Kernels:
    """The compiled functions for one dtype.

    Args:
        library: What has them.
        dtype: float32 or bfloat16.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        name = _NAMES[dtype]
        self._drop = library[f"drop_{name}"]
        self._drop.argtypes = [_ARRAY, _ARRAY, _INT, *_MASK]
        self._norm = library[f"residual_norm_{name}"]
        self._norm.argtypes = [*(_ARRAY,) * 5, ctypes.c_float, *(_ARRAY,) * 4, _INT, _INT, *_MASK]
        self._norm_backward = library[f"residual_norm_backward_{name}"]
        self._norm_backward.argtypes = [*(_ARRAY,) * 7, _INT, _INT, *_MASK]
        self._apart, self._beside = library[f"heads_apart_{name}"], library[f"heads_beside_{name}"]
        self._apart.argtypes = self._beside.argtypes = [*(_ARRAY,) * 3, *(_INT,) * 3, ctypes.c_float]
        self._probabilities = library[f"probabilities_{name}"]
        self._probabilities.argtypes = [*(_ARRAY,) * 3, *(_INT,) * 4, *_MASK]
        self._probabilities_backward = library[f"probabilities_backward_{name}"]
        self._probabilities_backward.argtypes = [*(_ARRAY,) * 4, *(_INT,) * 2, *_MASK]
        for function in vars(self).values():
            function.restype = None

    def drop(self, x: Tensor, mask: Mask) -> Tensor:
        """Apply dropout. Shape: (…) to (…)."""
        x = x.contiguous()
        result = torch.empty_like(x)
        self._drop(x.data_ptr(), result.data_ptr(), x.numel(), *mask.arguments)
        return result

    def residual_norm(
        self, x: Tensor, x_bias: Tensor | None, residual: Tensor, norm: nn.LayerNorm, mask: Mask
    ) -> tuple[Tensor, SavedSums]:
        """Normalise ``dropout(x + x_bias) + residual``.

        Args:
            x: Shape: (T, D).
            x_bias: None for zeros. Shape: (D,).
            residual: Shape: (T, D).
            norm: Weight, bias and epsilon.
            mask: Of the dropout.

        Returns:
            The normalised sum, shape (T, D), and what its gradient needs.
        """
        x, residual = x.contiguous(), residual.contiguous()
        result, sums = torch.empty_like(x), torch.empty_like(x)
        rows, width = x.shape
        mean, scale = torch.empty(2, rows)
        self._norm(
            x.data_ptr(),
            None if x_bias is None else x_bias.data_ptr(),
            *(each.data_ptr() for each in (residual, norm.weight, norm.bias)),
            norm.eps,
            *(each.data_ptr() for each in (result, sums, mean, scale)),
            rows,
            width,
            *mask.arguments,
        )
        return result, SavedSums(sums, mean, scale)

    def residual_norm_backward(
        self, gradient: Tensor, saved: SavedSums, weight: Tensor, mask: Mask
    ) -> tuple[Tensor, Tensor]:
        """Give the gradients of ``x`` and of the residual. Shape: (T, D) to (T, D) and (T, D)."""
        gradient = gradient.contiguous()
        of_x, of_residual = torch.empty_like(gradient), torch.empty_like(gradient)
        arrays = (gradient, saved.sums, saved.mean, saved.scale, weight, of_x, of_residual)
        self._norm_backward(*(each.data_ptr() for each in arrays), *gradient.shape, *mask.arguments)
        return of_x, of_residual

    def heads_apart(self, x: Tensor, spans: Tensor, divisor: float = 1.0) -> Tensor:
        """Put one head of a row after the other, each divided by a number.

        Args:
            x: Each token's heads beside each other. Shape: (T, H, d).
            spans: Each row's first token and its number of tokens. Shape: (R, 2).
            divisor: The number.

        Returns:
            A row's tokens from ``H·d`` times its first token on, in the order (H, n, d). Shape: (T·H·d,).
        """
        x = x.contiguous()
        result = torch.empty_like(x)
        heads, size = x.shape[1:]
        self._apart(x.data_ptr(), result.data_ptr(), spans.data_ptr(), spans.shape[0], heads, size, divisor)
        return result.view(-1)

    def heads_beside(self, x: Tensor, spans: Tensor, heads: int, size: int, divisor: float = 1.0) -> Tensor:
        """Undo `heads_apart`. Shape: (T·H·d,) to (T, H, d)."""
        result = torch.empty_like(x)
        self._beside(x.data_ptr(), result.data_ptr(), spans.data_ptr(), spans.shape[0], heads, size, divisor)
        return result.view(-1, heads, size)

    def probabilities(self, scores: Tensor, key_mask: Tensor | None, alike: int, mask: Mask) -> Tensor:
        """Make probabilities over the keys of scores, in place, and dropout of them.

        Args:
            scores: Contiguous. Shape: (…, n).
            key_mask: True where a key may be attended to; None where all may. Shape: (G, n).
            alike: How many rows of scores follow each other that one row of ``key_mask`` belongs to; those of the
                next one come then, and after the last one those of the first again.
            mask: Of the dropout.

        Returns:
            What dropout leaves. Shape: (…, n).
        """
        dropped = torch.empty_like(scores)
        length = scores.shape[-1]
        keys = None if key_mask is None else key_mask.contiguous()
        place, masks = (None, 1) if keys is None else (keys.data_ptr(), keys.shape[0])
        sides = (scores.numel() // length, length, alike, masks)
        self._probabilities(scores.data_ptr(), dropped.data_ptr(), place, *sides, *mask.arguments)
        return dropped

    def probabilities_backward(
        self, probabilities: Tensor, gradient: Tensor, of_scores: Tensor, mask: Mask, dropped: Tensor | None = None
    ) -> None:
        """Make the gradient of scores from that of dropped probabilities.

        Args:
            probabilities: As `probabilities` leaves them. Shape: (…, n).
            gradient: Contiguous. Shape: (…, n).
            of_scores: Where the result is put; may be ``gradient`` itself. Shape: (…, n).
            mask: Of the dropout.
            dropped: Where the dropped probabilities are put once more. Shape: (…, n).
        """
        length = gradient.shape[-1]
        place = None if dropped is None else dropped.data_ptr()
        arrays = (probabilities.data_ptr(), gradient.data_ptr(), of_scores.data_ptr(), place)
        self._probabilities_backward(*arrays, gradient.numel() // length, length, *mask.arguments)


_compiled: dict[torch.dtype, Kernels] | None = None  # None before the first attempt
_in_use = False


def use_kernels(wanted: bool = True) -> bool:
    """Let training on the CPU use compiled kernels, or plain operations, from here on, in this process.

    Args:
        wanted: Whether kernels are to be used; the first time they are compiled, or what was compiled is loaded.

    Returns:
        Whether they are; the log says why there are none.
    """
    global _compiled, _in_use
    if wanted and _compiled is None:
        library = compiling.load()
        _compiled = {} if library is None else {dtype: Kernels(library, dtype) for dtype in _NAMES}
    _in_use = wanted and bool(_compiled)
    return _in_use


def uses_kernels() -> bool:
    """Say whether compiled kernels are in use."""
    return _in_use


def kernels_for(*tensors: Tensor) -> Kernels | None:
    """Give the kernels for tensors that are read together; None where plain operations must do.

    Args:
        tensors: Their operands: kernels want real memory on the CPU, and one dtype for all.
    """
    if not _in_use or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return None
    dtype = tensors[0].dtype
    plain = all(
        type(each) in (Tensor, nn.Parameter) and each.device.type == "cpu" and each.dtype == dtype for each in tensors
    )
    return (_compiled or {}).get(dtype) if plain else None
