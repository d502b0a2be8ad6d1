"""Figures of a regression: correlations and errors with intervals, the points, the residuals.

Letters in shapes: ``E`` examples, ``B`` draws, ``G`` different values.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figures import table_of
from .resampling import Values, bounds, draw_counts, interval_of_sums

__all__ = ["describe_values"]

POINTS = 2000
_HISTOGRAM = 30


def describe_values(predicted: NDArray[Any], labels: NDArray[Any]) -> dict[str, Any]:
    """Give Pearson's and Spearman's correlation, the errors, a sample of the points, and how residuals are spread.

    A residual is the predicted value less the right one. A correlation that does not exist, since all values are
    equal, is not a number.

    Args:
        predicted: One value at least. Shape: (E,).
        labels: As many.
    """
    predicted, labels = predicted.astype(np.float64), labels.astype(np.float64)
    residuals = predicted - labels
    low, high = _intervals(predicted, labels)
    names = ("pearson", "spearmanr", "mse", "mean_absolute_error", "r2", "bias")
    chosen = np.arange(len(labels))
    if len(labels) > POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(labels), POINTS, replace=False))
    counts, edges = np.histogram(residuals, bins=_HISTOGRAM)
    shares = (5, 25, 50, 75, 95)
    return {
        "metrics": table_of(names, _point_values(predicted, labels), low, high),
        "points": {"label": labels[chosen], "predicted": predicted[chosen], "of": len(labels)},
        "residuals": {
            "mean": residuals.mean(),
            "deviation": residuals.std(),
            "percentiles": {
                str(share): value for share, value in zip(shares, np.percentile(residuals, shares), strict=True)
            },
            "edges": edges,
            "counts": counts,
        },
    }


def _point_values(predicted: Values, labels: Values) -> list[float]:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    correlations = [np.nan, np.nan]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant values, too few of them: not a number, which is shown
        if len(labels) > 1:
            correlations = [pearsonr(predicted, labels)[0], spearmanr(predicted, labels)[0]]
        errors = [function(labels, predicted) for function in (mean_squared_error, mean_absolute_error, r2_score)]
    return [*correlations, *errors, float((predicted - labels).mean())]


def _intervals(predicted: Values, labels: Values) -> tuple[Values, Values]:
    """Give the intervals in the order of the figures. Shape of each: (6,)."""
    center = labels.mean()
    x, y = predicted - center, labels - center  # sums of squares lose no digits then
    ones = np.ones_like(x)
    features = np.column_stack([ones, x, y, x * x, y * y, x * y, np.abs(x - y)])

    def statistic(sums: Values) -> Values:
        n, sx, sy, sxx, syy, sxy, absolute = sums.T
        squared = sxx + syy - 2 * sxy
        return np.column_stack(
            [
                _correlation(n, sx, sy, sxx, syy, sxy),
                squared / n,
                absolute / n,
                1 - squared / (syy - sy * sy / n),
                (sx - sy) / n,
            ]
        )

    low, high = interval_of_sums(features, statistic)
    spearman = _interval_of_spearman(predicted, labels)
    return np.insert(low, 1, spearman[0]), np.insert(high, 1, spearman[1])


def _correlation(n: Values, sx: Values, sy: Values, sxx: Values, syy: Values, sxy: Values) -> Values:
    spread = (sxx - sx * sx / n) * (syy - sy * sy / n)
    return np.where(spread > 0, (sxy - sx * sy / n) / np.sqrt(np.where(spread > 0, spread, 1.0)), np.nan)


def _interval_of_spearman(predicted: Values, labels: Values) -> tuple[float, float]:
    """Rank every draw anew: an example that was drawn several times is several equal values."""
    if len(labels) < 2:
        return np.nan, np.nan
    ranks_of = [_Ranks(predicted), _Ranks(labels)]
    found = []
    for counts in draw_counts(len(labels)):
        x, y = (ranks(counts) - len(labels) / 2 for ranks in ranks_of)
        drawn_x, drawn_y = counts * x, counts * y
        products = (np.einsum("be,be->b", *pair) for pair in ((drawn_x, x), (drawn_y, y), (drawn_x, y)))
        sums = (counts.sum(axis=1), drawn_x.sum(axis=1), drawn_y.sum(axis=1), *products)
        found.append(_correlation(*sums))
    low, high = bounds(np.concatenate(found)[:, None])
    return float(low[0]), float(high[0])


class _Ranks:
    """Gives the examples' mean ranks in draws of them."""

    def __init__(self, values: Values) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        is_new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.starts = np.flatnonzero(is_new)
        self.group = np.empty(len(values), dtype=np.int64)
        self.group[self.order] = np.cumsum(is_new) - 1

    def __call__(self, counts: Values) -> Values:
        """Give each example's rank by how often each was drawn. Shape of both: (B, E)."""
        sizes = np.add.reduceat(counts[:, self.order], self.starts, axis=1)  # (B, G)
        means = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
        return means[:, self.group]
