"""What compiled attention is told: its tensors, and the rows of a packed batch.

Letters in shapes: ``T`` tokens, ``H`` heads, ``d`` size of a head, ``R`` rows of a batch, ``N`` the longest one's
length, ``Q`` queries: ``T``, or ``R`` where each row has one.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = ["ARRAY", "INT", "AttentionBatch", "AttentionInputs", "place_of"]

ARRAY, INT = ctypes.c_void_p, ctypes.c_int64


def place_of(tensor: Tensor | None) -> int | None:
    """Give where a tensor is in memory; None for none.

    Args:
        tensor: Contiguous, as far as the function that is called wants it.
    """
    return None if tensor is None else tensor.data_ptr()


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
        return tuple(place_of(each) for each in self)

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
            head's is; the place of its first probability among all. Shape: (R, 9).
        seeds: Of each group's draws. Shape: (number of groups,).
        key_mask: True for tokens that may be attended to; None where all may. Shape: (T,).
        longest: The longest row's length, ``N``.
        scale: What products are multiplied by.
        lowest: As of `Mask`; the lowest of all numbers where all elements stay.
        kept: The scale of `Mask`.
        probabilities: How many there are, of all heads and rows.
    """

    rows: Tensor
    seeds: Tensor
    key_mask: Tensor | None
    longest: int
    scale: float
    lowest: int
    kept: float
    probabilities: int

    def described(self, inputs: AttentionInputs) -> _Batch:
        """Describe the batch to a compiled function."""
        heads, size = inputs.query.shape[1:]
        steps = (each.stride(0) for each in inputs[:3])
        places = (self.rows.data_ptr(), self.seeds.data_ptr(), place_of(self.key_mask))
        numbers = (self.rows.shape[0], heads, size, self.longest, *steps)
        return _Batch(*places, *numbers, self.scale, self.lowest, self.kept)


class _Batch(ctypes.Structure):
    """``Batch`` of head.h."""

    _fields_ = (
        *((name, ARRAY) for name in ("row", "seeds", "key_mask")),
        *((name, INT) for name in ("rows", "heads", "size", "longest", "query_step", "key_step", "value_step")),
        ("scale", ctypes.c_float),
        ("lowest", ctypes.c_int16),
        ("kept", ctypes.c_float),
    )


def _token_is_contiguous(x: Tensor) -> bool:
    """Say whether a token's numbers stand one after the other. Shape: (T, H, d)."""
    return x.stride(2) == 1 and x.stride(1) == x.shape[2]
