"""The main figures of parts of the examples: by length, by source, or by whatever a task tells apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .examples import Examples
from .figures import table_of
from .resampling import Values, interval_of_sums

__all__ = ["Measure", "by_length", "by_name", "by_size", "describe_parts", "mean_of"]

_FEWEST = 8
_PARTS = 4


class Measure:
    """Figures that follow from sums over examples.

    Args:
        names: The figures' names.
        features: What is summed. Shape: (E, F).
        statistic: From sums, shape (B, F), to figures, shape (B, M).
    """

    def __init__(self, names: Sequence[str], features: Values, statistic: Callable[[Values], Values]) -> None:
        self.names, self.features, self.statistic = names, features, statistic

    def of(self, rows: NDArray[Any]) -> dict[str, Any]:
        """Give the figures of some examples, one at least, with intervals."""
        chosen = self.features[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self.statistic(chosen.sum(axis=0, keepdims=True))[0]
        return table_of(self.names, values, *interval_of_sums(chosen, self.statistic))


def mean_of(**columns: NDArray[Any]) -> Measure:
    """Measure means over the examples, each under its name."""
    ones = np.ones(len(next(iter(columns.values()))))
    features = np.column_stack([*(column.astype(np.float64) for column in columns.values()), ones])
    return Measure(tuple(columns), features, lambda sums: sums[:, :-1] / sums[:, -1:])


def describe_parts(parts: Mapping[str, NDArray[np.bool_]], measure: Measure) -> list[dict[str, Any]]:
    """Give number and figures of each part that has an example.

    Args:
        parts: Which examples are in it, by its name. Shape of each: (E,).
        measure: What is measured.
    """
    return [
        {"name": name, "examples": int(part.sum()), "figures": measure.of(np.flatnonzero(part))}
        for name, part in parts.items()
        if part.any()
    ]


def by_name(names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Part examples by a name that each has; nothing where all have the same."""
    unique = list(dict.fromkeys(names))
    column = np.asarray(names, dtype=object)
    return {name: column == name for name in unique} if len(unique) > 1 else {}


def by_size(sizes: NDArray[np.int64], unit: str) -> dict[str, NDArray[np.bool_]]:
    """Part examples into quarters by their sizes; nothing where these are too few, or all alike.

    Args:
        sizes: Shape: (E,).
        unit: What is counted.
    """
    parts = {}
    if len(sizes) >= _FEWEST and sizes.min() < sizes.max():
        inner = np.quantile(sizes, np.linspace(0, 1, _PARTS + 1)[1:-1])
        edges = np.unique(np.concatenate([[sizes.min()], np.floor(inner) + 1, [sizes.max() + 1]]).astype(np.int64))
        for low, high in pairwise(edges):
            name = f"{low} {unit}" if high == low + 1 else f"{low} to {high - 1} {unit}"
            parts[name] = (sizes >= low) & (sizes < high)
    return parts


def by_length(examples: Examples) -> dict[str, NDArray[np.bool_]]:
    """Part examples by the tokens that are read, and tell apart those that were cut."""
    parts = by_size(examples.tokens, "tokens")
    if examples.cut.any() and not examples.cut.all():
        parts["cut"] = examples.cut
    return parts
