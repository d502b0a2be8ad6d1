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

__all__ = ["AttentionBatch", "AttentionInputs", "Kernels", "Mask", "SavedSums", "kernels_for", "use_kernels", "uses_kernels"]

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


class AttentionInputs(NamedTuple):
    """What is attended with and to; all of one dtype.

    Attributes:
        query: One for every token, or one for every row. Shape: (Q, H, d).
        key: Shape: (T, H, d).
        value: Shape: (T, H, d).
        position_key: Of the distances of the longest row, falling; None without them. Shape: (2N - 1, H, d).
        position_query: Likewise.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    position_key: Tensor | None = None
    position_query: Tensor | None = None

    @property
    def places(self) -> tuple[int | None, ...]:
        """Where they are in memory."""
        return tuple(_place(each) for each in self)

    def readable(self) -> AttentionInputs:
        """Give them with a token's numbers one after the other, and the tables' distances too."""
        tokens = (each if _token_is_contiguous(each) else each.contiguous() for each in self[:3])
        return AttentionInputs(*tokens, *(None if each is None else each.contiguous() for each in self[3:]))


@dataclass(frozen=True)
class AttentionBatch:
    """The rows of a packed batch, the scale of their scores, and what dropout leaves of their probabilities.

    Attributes:
        rows: Of each its first token and its length; its first query, their number, and the token of the row that this
            one is of; its group, the place of its first element among the group's draws, and how far on the next
            head's is. Shape: (R, 8).
        seeds: Of each group's draws. Shape: (number of groups,).
        key_mask: True for tokens that may be attended to; None where all may. Shape: (T,).
        longest: The longest row's length, ``N``.
        scale: What products are multiplied by.
        lowest: As of `Mask`; the lowest of all numbers where all elements stay.
        kept: The scale of `Mask`.
    """

    rows: Tensor
    seeds: Tensor
    key_mask: Tensor | None
    longest: int
    scale: float
    lowest: int
    kept: float

    def described(self, inputs: AttentionInputs) -> _Batch:
        """Describe the batch to a compiled function."""
        heads, size = inputs.query.shape[1:]
        steps = (each.stride(0) for each in inputs[:3])
        places = (self.rows.data_ptr(), self.seeds.data_ptr(), _place(self.key_mask))
        numbers = (self.rows.shape[0], heads, size, self.longest, *steps)
        return _Batch(*places, *numbers, self.scale, self.lowest, self.kept)


class _Batch(ctypes.Structure):
    """``Batch`` of attention.cpp."""

    _fields_ = (
        *((name, _ARRAY) for name in ("row", "seeds", "key_mask")),
        *((name, _INT) for name in ("rows", "heads", "size", "longest", "query_step", "key_step", "value_step")),
        ("scale", ctypes.c_float),
        ("lowest", ctypes.c_int16),
        ("kept", ctypes.c_float),
    )


def _place(tensor: Tensor | None) -> int | None:
    """Give where a tensor is in memory; None for none."""
    return None if tensor is None else tensor.data_ptr()


def _token_is_contiguous(x: Tensor) -> bool:
    """Say whether a token's numbers stand one after the other. Shape: (T, H, d)."""
    return x.stride(2) == 1 and x.stride(1) == x.shape[2]


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
        self._attend = library[f"attend_{name}"]
        self._attend.argtypes = [_ARRAY] * 8
        self._attend_backward = library[f"attend_backward_{name}"]
        self._attend_backward.argtypes = [_ARRAY] * 13
        for function in vars(self).values():
            function.restype = None

    def drop(self, x: Tensor, mask: Mask) -> Tensor:
        """Apply dropout. Shape: (…) to (…)."""
        x = x.contiguous()
        result = torch.empty_like(x)
        self._drop(x.data_ptr(), result.data_ptr(), x.numel(), *mask.arguments)
        return result

    def residual_norm(
        self, x: Tensor, x_bias: Tensor | None, residual: Tensor, norm: nn.LayerNorm, mask: Mask, keep: bool = True
    ) -> tuple[Tensor, SavedSums | None]:
        """Normalise ``dropout(x + x_bias) + residual``.

        Args:
            x: Shape: (T, D).
            x_bias: None for zeros. Shape: (D,).
            residual: Shape: (T, D).
            norm: Weight, bias and epsilon.
            mask: Of the dropout.
            keep: Give what the gradient needs.

        Returns:
            The normalised sum, shape (T, D), and what its gradient needs, or None.
        """
        x, residual = x.contiguous(), residual.contiguous()
        result = torch.empty_like(x)
        sums = torch.empty_like(x) if keep else result  # each is read once more before it is written over
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
        return result, SavedSums(sums, mean, scale) if keep else None

    def residual_norm_backward(
        self, gradient: Tensor, saved: SavedSums, weight: Tensor, mask: Mask
    ) -> tuple[Tensor, Tensor]:
        """Give the gradients of ``x`` and of the residual. Shape: (T, D) to (T, D) and (T, D)."""
        gradient = gradient.contiguous()
        of_x, of_residual = torch.empty_like(gradient), torch.empty_like(gradient)
        arrays = (gradient, saved.sums, saved.mean, saved.scale, weight, of_x, of_residual)
        self._norm_backward(*(each.data_ptr() for each in arrays), *gradient.shape, *mask.arguments)
        return of_x, of_residual

    def attend(
        self, batch: AttentionBatch, inputs: AttentionInputs, keep: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Attend within each row of a batch.

        Args:
            batch: Its rows and their dropout.
            inputs: What is attended with and to.
            keep: Give what the gradient needs.

        Returns:
            The context, shape (Q, H, d), and the highest score of each query and the inverse of the sum of exponentials
            below it, fp32, shape (Q, H, 2), or None.
        """
        query = inputs.query
        context = torch.empty(query.shape, dtype=query.dtype)
        saved = torch.empty(*query.shape[:2], 2) if keep else None
        self._attend(ctypes.byref(batch.described(inputs)), *inputs.places, context.data_ptr(), _place(saved))
        return context, saved

    def attend_backward(
        self,
        batch: AttentionBatch,
        inputs: AttentionInputs,
        gradient: Tensor,
        saved: Tensor,
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
        described = ctypes.byref(batch.described(inputs))
        places = (*inputs.places, gradient.data_ptr(), saved.data_ptr())
        self._attend_backward(described, *places, *(_place(each) for each in found))
        return found


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
