"""The compiled functions as functions of tensors.

Nothing is compiled before `use_kernels`, which the Trainer calls. Until then, and where there is no compiler,
`kernels_for` gives None and the plain operations of `layers` are computed.

Letters in shapes: ``T`` tokens, ``D`` hidden size, ``H`` heads, ``d`` size of a head, ``R`` rows of a batch, ``N`` the
longest one's length, ``Q`` queries: ``T``, or ``R`` where each row has one.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import compiling
from .attention_batch import ARRAY, INT, AttentionBatch, AttentionInputs, place_of

__all__ = ["Kernels", "Mask", "SavedScores", "SavedSums", "kernels_for", "use_kernels", "uses_kernels"]

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
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


class SavedScores(NamedTuple):
    """What the gradient of `Kernels.attend` needs: one of both.

    Attributes:
        sums: Each query's highest score and the inverse of its sum of exponentials, fp32. Shape: (Q, H, 2).
        probabilities: Before dropout, one row of the batch after the other. Shape: (their number,).
    """

    sums: Tensor | None
    probabilities: Tensor | None


class Kernels:
    """The compiled functions for one dtype.

    Args:
        library: What has them.
        dtype: float32 or bfloat16.
        tiles: Whether attention multiplies on matrix units: where `has_tiles` says so.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype, tiles: bool = False) -> None:
        name = _NAMES[dtype]
        self._drop = library[f"drop_{name}"]
        self._drop.argtypes = [ARRAY, ARRAY, INT, *_MASK]
        self._norm = library[f"residual_norm_{name}"]
        self._norm.argtypes = [*(ARRAY,) * 5, ctypes.c_float, *(ARRAY,) * 4, INT, INT, *_MASK]
        self._norm_backward = library[f"residual_norm_backward_{name}"]
        self._norm_backward.argtypes = [*(ARRAY,) * 7, INT, INT, *_MASK]
        attention = f"{name}_tiles" if tiles else name
        self._attend = library[f"attend_{attention}"]
        self._attend.argtypes = [ARRAY] * 9
        self._attend_backward = library[f"attend_backward_{attention}"]
        self._attend_backward.argtypes = [ARRAY] * 14
        self._times_slope = library["times_slope"]
        self._times_slope.argtypes = [*(ARRAY,) * 4, INT]
        for function in vars(self).values():
            function.restype = None

    def drop(self, x: Tensor, mask: Mask) -> Tensor:
        """Apply dropout. Shape: (…) to (…)."""
        x = x.contiguous()
        result = torch.empty_like(x)
        self._drop(x.data_ptr(), result.data_ptr(), x.numel(), *mask.arguments)
        return result

    def times_slope(self, x: Tensor, slopes: Tensor, gradient: Tensor) -> Tensor:
        """Give the gradient of an element-wise function of bfloat16.

        Args:
            x: The function's argument. Shape: (…).
            slopes: Its slope for each argument, in the order of their 16 bits, fp32. Shape: (65536,).
            gradient: Of the function's value. Shape: (…).
        """
        x, gradient = x.contiguous(), gradient.contiguous()
        result = torch.empty_like(gradient)
        arrays = (x, slopes, gradient, result)
        self._times_slope(*(each.data_ptr() for each in arrays), x.numel())
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
        sums, (mean, scale) = torch.empty_like(residual), torch.empty(2, residual.shape[0])
        return self._normalise(x, x_bias, residual, norm, mask, sums, mean, scale), SavedSums(sums, mean, scale)

    def residual_norm_alone(
        self, x: Tensor, x_bias: Tensor | None, residual: Tensor, norm: nn.LayerNorm, mask: Mask
    ) -> Tensor:
        """Do as `residual_norm`, and keep nothing."""
        return self._normalise(x, x_bias, residual, norm, mask, None, None, None)

    def _normalise(
        self, x: Tensor, x_bias: Tensor | None, residual: Tensor, norm: nn.LayerNorm, mask: Mask, *saved: Tensor | None
    ) -> Tensor:
        x, residual = x.contiguous(), residual.contiguous()
        result = torch.empty_like(x)
        self._norm(
            x.data_ptr(),
            place_of(x_bias),
            *(each.data_ptr() for each in (residual, norm.weight, norm.bias)),
            norm.eps,
            result.data_ptr(),
            *(place_of(each) for each in saved),
            *x.shape,
            *mask.arguments,
        )
        return result

    def residual_norm_backward(
        self, gradient: Tensor, saved: SavedSums, weight: Tensor, mask: Mask
    ) -> tuple[Tensor, Tensor]:
        """Give the gradients of ``x`` and of the residual. Shape: (T, D) to (T, D) and (T, D)."""
        gradient = gradient.contiguous()
        of_x, of_residual = torch.empty_like(gradient), torch.empty_like(gradient)
        arrays = (gradient, saved.sums, saved.mean, saved.scale, weight, of_x, of_residual)
        self._norm_backward(*(each.data_ptr() for each in arrays), *gradient.shape, *mask.arguments)
        return of_x, of_residual

    def attend(self, batch: AttentionBatch, inputs: AttentionInputs, keep: bool = True) -> tuple[Tensor, SavedScores]:
        """Attend within each row of a batch.

        Args:
            batch: Its rows and their dropout.
            inputs: What is attended with and to.
            keep: Keep what the gradient needs: probabilities where they take no more than the inputs do.

        Returns:
            The context, shape (Q, H, d), and what is kept.
        """
        context = torch.empty(inputs.query.shape, dtype=inputs.query.dtype)
        saved = SavedScores(None, None)
        if keep and batch.probabilities <= sum(each.numel() for each in inputs[:3]):
            saved = SavedScores(None, torch.empty(batch.probabilities, dtype=context.dtype))
        elif keep:
            saved = SavedScores(torch.empty(*context.shape[:2], 2), None)
        places = (*inputs.places, context.data_ptr(), place_of(saved.sums), place_of(saved.probabilities))
        self._attend(ctypes.byref(batch.described(inputs)), *places)
        return context, saved

    def attend_backward(
        self,
        batch: AttentionBatch,
        inputs: AttentionInputs,
        gradient: Tensor,
        saved: SavedScores,
        wanted: tuple[bool, bool, bool, bool, bool],
    ) -> list[Tensor | None]:
        """Give the gradients of `attend`.

        Args:
            batch: As of `attend`.
            inputs: As of `attend`.
            gradient: Of the context. Shape: (Q, H, d).
            saved: As of `attend`.
            wanted: Of which inputs, in their order.
        """
        gradient = gradient.contiguous()
        found = [
            torch.empty(each.shape, dtype=each.dtype) if each is not None and want else None
            for each, want in zip(inputs, wanted, strict=True)
        ]
        places = (*inputs.places, gradient.data_ptr(), place_of(saved.sums), place_of(saved.probabilities))
        self._attend_backward(ctypes.byref(batch.described(inputs)), *places, *(place_of(each) for each in found))
        return found


def has_tiles(library: ctypes.CDLL, dtype: torch.dtype) -> bool:
    """Say whether attention of a dtype can multiply on the processor's matrix units, for which the system is asked."""
    library.has_tiles.restype = ctypes.c_bool
    return dtype == torch.bfloat16 and bool(library.has_tiles())


_compiled: dict[torch.dtype, Kernels] | None = None  # None before the first attempt
_in_use = False


def use_kernels(wanted: bool = True) -> bool:
    """Let models on the CPU use compiled kernels, or plain operations, from here on, in this process.

    Args:
        wanted: Whether kernels are to be used; the first time they are compiled, or what was compiled is loaded.

    Returns:
        Whether they are; the log says why there are none.
    """
    global _compiled, _in_use
    if wanted and _compiled is None:
        library = compiling.load()
        _compiled = (
            {} if library is None else {dtype: Kernels(library, dtype, has_tiles(library, dtype)) for dtype in _NAMES}
        )
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
