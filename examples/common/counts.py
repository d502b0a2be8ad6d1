"""What the figures of a classifier follow from: how often each class is right, labelled and predicted.

The figures are scikit-learn's, with which the tests compare them; it would take two seconds to import.

Letters in shapes: ``E`` examples, ``B`` counts made of them (one, or one for each draw), ``N`` classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIGURES", "Counted", "confusion_matrix", "count_examples", "f1_of_classes", "ratio"]

Values = NDArray[np.float64]


class Counted(NamedTuple):
    """What all figures follow from, by class. Shape of each: (B, N).

    Attributes:
        right: Examples of the class that were predicted so.
        labelled: Examples of the class.
        predicted: Examples that were predicted so.
    """

    right: Values
    labelled: Values
    predicted: Values


def count_examples(predicted: NDArray[Any], labels: NDArray[Any]) -> Counted:
    """Count the examples once.

    Args:
        predicted: Class ids, shape (E,); for several labels 0 or 1 for each class, shape (E, N).
        labels: As many.
    """
    if labels.ndim == 2:
        counts = [each.sum(axis=0) for each in (predicted * labels, labels, predicted)]
    else:
        number = max(1, int(labels.max(initial=0)), int(predicted.max(initial=0))) + 1
        ids = (labels[predicted == labels], labels, predicted)
        counts = [np.bincount(each.astype(np.int64), minlength=number) for each in ids]
    return Counted(*(each[None].astype(np.float64) for each in counts))


def confusion_matrix(predicted: NDArray[Any], labels: NDArray[Any], number: int) -> NDArray[np.int64]:
    """Count how often each class was predicted for each.

    Args:
        predicted: Class ids. Shape: (E,).
        labels: As many.
        number: N, the number of classes.

    Returns:
        A row is the label's class, a column the predicted one. Shape: (N, N).
    """
    cells = labels.astype(np.int64) * number + predicted
    return np.bincount(cells, minlength=number * number).reshape(number, number)


def ratio(part: Values, whole: Values, otherwise: float) -> Values:
    """Divide; give another value where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(whole.shape, otherwise), where=whole > 0)


def f1_of_classes(counted: Counted) -> Values:
    """Give F1 of each class; not a number where the class neither is there nor was predicted. Shape: (B, N)."""
    return ratio(2 * counted.right, counted.labelled + counted.predicted, np.nan)


def _accuracy(counted: Counted) -> Values:
    return counted.right.sum(axis=1) / counted.labelled.sum(axis=1)


def _f1_macro(counted: Counted) -> Values:
    return np.nanmean(f1_of_classes(counted), axis=1)  # of the classes that a draw has, as scikit-learn does


def _f1_of_second(counted: Counted) -> Values:
    return np.nan_to_num(f1_of_classes(counted)[:, 1])


def _balanced(counted: Counted) -> Values:
    return np.nanmean(ratio(counted.right, counted.labelled, np.nan), axis=1)


def _matthews(counted: Counted) -> Values:
    right, labelled, predicted = counted
    total = labelled.sum(axis=1)
    covariance = right.sum(axis=1) * total - (labelled * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (labelled**2).sum(axis=1))
    return ratio(covariance, np.sqrt(spread), 0.0)


FIGURES: dict[str, Callable[[Counted], Values]] = {
    "accuracy": _accuracy,
    "f1": _f1_of_second,
    "f1_macro": _f1_macro,
    "matthews_correlation": _matthews,
    "balanced_accuracy": _balanced,
}
"""From counts of one label of several to a figure of each of them, shape (B,); named as in `common.metrics`."""
