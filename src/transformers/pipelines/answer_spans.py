"""The best spans of a text, by scores of their first and their last token.

A span is at most so many tokens long, so its scores stand in a band beside the diagonal: nothing else is computed.

Letters in shapes: ``R`` rows, ``L`` padded length, ``W`` the most tokens of a span, ``K`` spans that are given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Spans", "best_spans"]


class Spans(NamedTuple):
    """The best spans of each row, the best first. Shape of each: (R, K).

    Attributes:
        scores: The sums of both scores; minus infinity where a row has fewer spans, whose places mean nothing.
        firsts: Columns of the first tokens.
        lasts: Columns of the last tokens.
    """

    scores: NDArray[np.floating]
    firsts: NDArray[np.intp]
    lasts: NDArray[np.intp]


def best_spans(
    starts: NDArray[np.floating], ends: NDArray[np.floating], allowed: NDArray[np.bool_], longest: int, most: int
) -> Spans:
    """Find the spans whose two scores add up to most; of equal ones the first.

    Args:
        starts: Scores of each token as the first one. Shape: (R, L).
        ends: Scores of each token as the last one. Shape: (R, L).
        allowed: Which tokens may begin and end a span. Shape: (R, L).
        longest: The most tokens of a span.
        most: How many spans to give.

    Returns:
        At most so many spans of each row.
    """
    rows, length = starts.shape
    width = min(longest, length)
    begin = np.where(allowed, starts, -np.inf)
    end = np.pad(np.where(allowed, ends, -np.inf), ((0, 0), (0, width - 1)), constant_values=-np.inf)
    band = begin[:, :, None] + sliding_window_view(end, width, axis=1)  # (R, L, W)
    flat = -band.reshape(rows, length * width)
    number = min(most, length * width)
    chosen = np.argpartition(flat, number - 1, axis=1)[:, :number]
    chosen = np.sort(chosen, axis=1)
    order = np.argsort(np.take_along_axis(flat, chosen, axis=1), axis=1, kind="stable")
    chosen = np.take_along_axis(chosen, order, axis=1)
    firsts = chosen // width
    return Spans(-np.take_along_axis(flat, chosen, axis=1), firsts, firsts + chosen % width)
