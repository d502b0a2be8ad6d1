"""Whether a model is right as often as it says: the reliability diagram and the expected calibration error.

Guo et al. 2017, section 2: predictions are put into bins of equal width by their confidence; the error is the mean
distance between a bin's confidence and its accuracy, weighted by how many predictions lie in it.

Letters in shapes: ``P`` predictions, ``B`` draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figures import figure
from .resampling import Values, interval_of_sums

__all__ = ["BINS", "describe_calibration"]

BINS = 10


def describe_calibration(
    confidence: Values, right: NDArray[Any], of_what: str, owners: NDArray[Any] | None = None
) -> dict[str, Any]:
    """Give the bins of the reliability diagram and the expected calibration error.

    Args:
        confidence: The probability that the model gives to what it says. Shape: (P,).
        right: Whether that is so. Shape: (P,).
        of_what: Names for people what was predicted, such as ``the predicted class``.
        owners: The number of the example that each prediction is part of, where examples have several: the bootstrap
            draws examples. Shape: (P,).

    Returns:
        ``ece`` with its interval; ``bins``, those that hold something, with ``from``, ``to``, ``confidence``,
        ``accuracy`` and ``count``; the means of ``confidence`` and ``accuracy``. Bins hold their lower edge, as
        scikit-learn's `calibration_curve` has it. Nothing where no confidence is a number.
    """
    known = np.isfinite(confidence)
    rows = (np.arange(len(confidence)) if owners is None else owners)[known]
    confidence, right = confidence[known], right[known].astype(np.float64)
    if not len(rows):
        return {}
    edges = np.linspace(0.0, 1.0, BINS + 1)
    bins = np.searchsorted(edges[1:-1], confidence)
    cells = rows * BINS + bins
    sums = [np.bincount(cells, weights=each, minlength=(rows.max() + 1) * BINS) for each in (confidence - right, None)]
    features = np.concatenate([each.reshape(-1, BINS).astype(np.float64) for each in sums], axis=1)
    features = features[features[:, BINS:].any(axis=1)]

    def error(sums: Values) -> Values:
        return np.abs(sums[:, :BINS]).sum(axis=1, keepdims=True) / sums[:, BINS:].sum(axis=1, keepdims=True)

    low, high = interval_of_sums(features, error)
    counts = np.bincount(bins, minlength=BINS)
    means = [np.bincount(bins, weights=each, minlength=BINS) / np.maximum(counts, 1) for each in (confidence, right)]
    return {
        "of": of_what,
        "ece": figure(error(features.sum(axis=0, keepdims=True))[0, 0], low[0], high[0]),
        "confidence": confidence.mean(),
        "accuracy": right.mean(),
        "bins": [
            {
                "from": edges[index],
                "to": edges[index + 1],
                "confidence": means[0][index],
                "accuracy": means[1][index],
                "count": counts[index],
            }
            for index in np.flatnonzero(counts)
        ],
    }
