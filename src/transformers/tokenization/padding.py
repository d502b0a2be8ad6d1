"""Filling rows of numbers up to one length, without a Python loop over tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from ..utils.generic import PaddingStrategy

__all__ = ["PaddingPlan", "collate_rows", "pad_columns", "pad_rows"]


@dataclass(frozen=True)
class PaddingPlan:
    """How far, on which side, and with what the rows of a batch are filled up.

    Attributes:
        strategy: Longest of the batch, ``max_length``, or not at all.
        max_length: The length for ``max_length``; rows that are longer stay as they are.
        multiple_of: Round the length up to a multiple of this.
        side: ``"right"`` or ``"left"``.
        fill: The value to fill each entry with, by the entry's name; entries without one are not filled.
    """

    strategy: PaddingStrategy
    max_length: int | None
    multiple_of: int | None
    side: str
    fill: Mapping[str, int]

    def __post_init__(self) -> None:
        if self.side not in ("right", "left"):
            raise ValueError(f"padding_side is {self.side!r}; choose 'right' or 'left'.")

    def length(self, longest: int) -> int:
        """Give the length to fill up to, in tokens, for a batch whose longest row has ``longest``."""
        if self.strategy is PaddingStrategy.DO_NOT_PAD:
            return 0
        target = longest if self.strategy is PaddingStrategy.LONGEST else self.max_length or 0
        if self.multiple_of:
            target = -(-target // self.multiple_of) * self.multiple_of
        return target


def collate_rows(examples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn a list of dictionaries with the same keys into a dictionary of lists.

    Args:
        examples: At least one dictionary.

    Returns:
        For each key of the first dictionary the list of all values.

    Raises:
        ValueError: If a dictionary lacks a key that the first one has; the message says which and where.
    """
    try:
        return {key: [example[key] for example in examples] for key in examples[0]}
    except KeyError as error:
        key = error.args[0]
        index = next(number for number, example in enumerate(examples) if key not in example)
        raise ValueError(
            f"Example {index} of the batch has no {key!r}, which example 0 has; it has {sorted(examples[index])}."
        ) from error


def pad_rows(rows: Sequence[Any], length: int, value: int, side: str) -> np.ndarray[Any, Any]:
    """Fill rows of numbers up to one length.

    Args:
        rows: B rows, each a list, array or tensor of at most ``length`` numbers.
        length: The length L to reach, in tokens.
        value: What to fill with.
        side: Where to: ``"right"`` or ``"left"``.

    Returns:
        An array of shape (B, L); whole numbers as int64, fractions as float32.
    """
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    if len(rows) and isinstance(rows[0], torch.Tensor):
        flat = torch.cat(list(rows)).numpy(force=True)
    elif len(rows) and isinstance(rows[0], np.ndarray):
        flat = np.concatenate(rows)
    else:
        flat = np.array(list(chain.from_iterable(rows)))
    dtype = np.float32 if flat.size and flat.dtype.kind == "f" else np.int64
    result = np.full((len(rows), length), value, dtype=dtype)
    column = np.arange(length)
    if side == "right":
        result[column < lengths[:, None]] = flat
    else:
        result[column >= length - lengths[:, None]] = flat
    return result


def _pad_as_lists(rows: Sequence[Any], length: int, value: int, side: str) -> list[list[int]]:
    """Fill rows up as lists; rows that are longer stay as they are."""
    lists = [list(row) if isinstance(row, list | tuple) else row.tolist() for row in rows]
    if side == "right":
        return [row + [value] * (length - len(row)) for row in lists]
    return [[value] * (length - len(row)) + row for row in lists]


def _check_row_lengths(name: str, rows: Sequence[Any], main_name: str, lengths: list[int]) -> None:
    for index, (row, expected) in enumerate(zip(rows, lengths, strict=True)):
        if len(row) != expected:
            raise ValueError(
                f"Row {index} of '{name}' has {len(row)} values but its '{main_name}' has {expected}; they must agree."
            )


def pad_columns(
    columns: Mapping[str, Sequence[Any]], main_name: str, plan: PaddingPlan, as_arrays: bool
) -> dict[str, Any]:
    """Fill up every entry of a batch that has a fill value.

    Args:
        columns: For each name the batch's rows.
        main_name: The entry whose lengths count: ``"input_ids"``.
        plan: How to pad.
        as_arrays: Give arrays of shape (rows, length) instead of lists of lists where all rows become equally long.

    Returns:
        The entries in the same order; those without a fill value as they came.

    Raises:
        ValueError: If a row of an entry that is padded differs in length from the same row of ``main_name``.
    """
    lengths = [len(row) for row in columns[main_name]]
    longest = max(lengths, default=0)
    length = plan.length(longest)
    rectangular = bool(lengths) and (length >= longest or min(lengths) == longest)
    result: dict[str, Any] = {}
    for name, rows in columns.items():
        if name not in plan.fill:
            result[name] = rows
            continue
        _check_row_lengths(name, rows, main_name, lengths)
        if as_arrays and rectangular:
            result[name] = pad_rows(rows, max(length, longest), plan.fill[name], plan.side)
        else:
            result[name] = _pad_as_lists(rows, length, plan.fill[name], plan.side)
    return result
