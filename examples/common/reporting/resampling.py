"""Confidence intervals by the percentile bootstrap: what a figure would be on other examples of the same kind.

Examples are drawn again with replacement, as many as there are (Efron & Tibshirani 1993, chapter 13). Nothing is
computed example by example: figures follow from sums over the examples, and the sums from how often each was drawn.

Letters in shapes: ``E`` examples, ``F`` features, ``B`` draws that are computed together, ``M`` figures.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS", "LEVEL", "bounds", "draw_counts", "draw_kinds", "draws_of", "interval_of_sums"]

DRAWS = 1000
LEVEL = 0.95
_SEED = 0
_MOST_VALUES = 5 * 10**7  # in all; then there are fewer draws
_AT_ONCE = 2 * 10**6

Values = NDArray[np.float64]


def draws_of(examples: int) -> int:
    """Say how many draws are made: `DRAWS`, and fewer (200 at least) for very many examples."""
    return int(np.clip(_MOST_VALUES // max(examples, 1), 200, DRAWS))


def draw_counts(examples: int) -> Iterator[Values]:
    """Draw examples, the same at every call.

    Args:
        examples: How many there are.

    Yields:
        How often each was drawn. Shape: (B, E).
    """
    generator = np.random.default_rng(_SEED)
    left, together = draws_of(examples), max(1, _AT_ONCE // examples)
    while left > 0:
        rows = min(left, together)
        drawn = generator.integers(0, examples, size=(rows, examples))
        drawn += examples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * examples)
        yield counts.reshape(rows, examples).astype(np.float64)
        left -= rows


def draw_kinds(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw examples of which only the kind matters, such as a cell of a confusion matrix.

    Args:
        counts: How many examples there are of each kind, one at least in all. Shape: (kinds,).

    Returns:
        How many of each kind every draw has. Shape: (draws, kinds).
    """
    total = int(counts.sum())
    return np.random.default_rng(_SEED).multinomial(total, counts / total, size=draws_of(len(counts)))


def bounds(values: Values) -> tuple[Values, Values]:
    """Give the percentiles between which `LEVEL` of the draws lie; NaN where no draw has a value.

    Args:
        values: Figures of each draw; NaN where a draw has none. Shape: (draws, M).
    """
    tail = 50 * (1 - LEVEL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN")
        low, high = np.nanpercentile(values, [tail, 100 - tail], axis=0)
    return low, high


def interval_of_sums(features: Values, statistic: Callable[[Values], Values]) -> tuple[Values, Values]:
    """Give the interval of figures that follow from sums over the examples.

    Args:
        features: What is summed. Shape: (E, F).
        statistic: From sums, shape (B, F), to figures, shape (B, M).

    Returns:
        Lower and upper bounds. Shape of each: (M,). With fewer than two examples they are NaN: nothing varies.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(features) < 2:
            nothing = np.full(statistic(features.sum(axis=0, keepdims=True)).shape[1], np.nan)
            return nothing, nothing
        return bounds(np.concatenate([statistic(counts @ features) for counts in draw_counts(len(features))]))
