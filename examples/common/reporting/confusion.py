"""Figures of one label of several, all of them from the confusion matrix; scikit-learn gives the values.

The bootstrap draws the cells of the matrix, which is drawing the examples. Letters in shapes: ``E`` examples, ``B``
draws, ``N`` classes; a row of a matrix is the label's class, a column the predicted one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics import METRICS
from .figures import figure, table_of
from .resampling import Values, bounds, draw_kinds

__all__ = ["FIGURES", "Counted", "count", "describe_confusion"]


_MOST_DENSE = 100


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


def count(matrix: NDArray[np.int64], draws: bool) -> Counted:
    """Count the sides of a confusion matrix.

    Args:
        matrix: Shape: (N, N).
        draws: Draw its examples again; else it is counted once as it is.
    """
    from scipy.sparse import csr_array

    rows, columns = np.nonzero(matrix)
    cells = matrix[rows, columns]
    drawn = draw_kinds(cells) if draws else cells[None]
    ones, number = np.ones(len(cells)), np.arange(len(cells))
    shape = len(cells), len(matrix)
    labelled, predicted = (csr_array((ones, (number, side)), shape=shape) for side in (rows, columns))
    right = csr_array((ones * (rows == columns), (number, rows)), shape=shape)
    return Counted(*(np.asarray(drawn @ side) for side in (right, labelled, predicted)))


def _ratio(part: Values, whole: Values, otherwise: float) -> Values:
    """Divide; give another value where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(whole.shape, otherwise), where=whole > 0)


def _f1_of_classes(counted: Counted) -> Values:
    return _ratio(2 * counted.right, counted.labelled + counted.predicted, np.nan)


def _accuracy(counted: Counted) -> Values:
    return counted.right.sum(axis=1) / counted.labelled.sum(axis=1)


def _f1_macro(counted: Counted) -> Values:
    return np.nanmean(_f1_of_classes(counted), axis=1)  # of the classes that a draw has, as scikit-learn does


def _f1_of_second(counted: Counted) -> Values:
    return np.nan_to_num(_f1_of_classes(counted)[:, 1])


def _balanced(counted: Counted) -> Values:
    return np.nanmean(_ratio(counted.right, counted.labelled, np.nan), axis=1)


def _matthews(counted: Counted) -> Values:
    right, labelled, predicted = counted
    total = labelled.sum(axis=1)
    covariance = right.sum(axis=1) * total - (labelled * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (labelled**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(spread), 0.0)


FIGURES: dict[str, Callable[[Counted], Values]] = {
    "accuracy": _accuracy,
    "f1": _f1_of_second,
    "f1_macro": _f1_macro,
    "matthews_correlation": _matthews,
    "balanced_accuracy": _balanced,
}
"""From counts to a figure of each draw, shape (B,); named as in `common.metrics`."""


def describe_confusion(
    predicted: NDArray[Any], labels: NDArray[Any], names: Sequence[str], metrics: Sequence[str]
) -> dict[str, Any]:
    """Give the metrics with intervals, the matrix, and the figures of each class.

    Args:
        predicted: Class ids, one at least. Shape: (E,).
        labels: As many.
        names: The classes in the order of their ids.
        metrics: Names of the task's metrics, the main one first; the usual ones are added.
    """
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(labels, predicted, labels=range(len(names)))
    wanted = dict.fromkeys((*metrics, "accuracy", "f1_macro", "matthews_correlation", "balanced_accuracy"))
    chosen = [name for name in wanted if name in FIGURES and (name != "f1" or len(names) == 2)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # classes that are not there; the table shows them
        values = [_value(name, predicted, labels) for name in chosen]
    draws = count(matrix, draws=True) if len(labels) > 1 else None
    low, high = np.full((2, len(chosen)), np.nan)
    if draws is not None:
        low, high = bounds(np.stack([FIGURES[name](draws) for name in chosen], axis=1))
    return {
        "metrics": table_of(chosen, values, low, high),
        "confusion": {"labels": list(names), **_matrix_of(matrix)},
        "classes": _describe_classes(predicted, labels, names, draws),
    }


def _matrix_of(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """Give the rows of a matrix, or of a large one the cells that hold something: row, column and count of each."""
    if len(matrix) <= _MOST_DENSE:
        return {"counts": matrix}
    rows, columns = np.nonzero(matrix)
    return {"cells": np.column_stack([rows, columns, matrix[rows, columns]])}


def _value(name: str, predicted: NDArray[Any], labels: NDArray[Any]) -> float:
    from sklearn.metrics import balanced_accuracy_score

    if name == "balanced_accuracy":
        return float(balanced_accuracy_score(labels, predicted))
    return METRICS[name](predicted, labels)


def _describe_classes(
    predicted: NDArray[Any], labels: NDArray[Any], names: Sequence[str], draws: Counted | None
) -> list[dict[str, Any]]:
    """Give precision, recall, F1 (with its interval) and support of each class, and how often it was predicted."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predicted, labels=range(len(names)), zero_division=0)
    low, high = np.full((2, len(names)), np.nan)
    if draws is not None:
        low, high = bounds(_f1_of_classes(draws))
    guesses = np.bincount(predicted, minlength=len(names))
    return [
        {
            "label": name,
            "precision": columns[0][index],
            "recall": columns[1][index],
            "f1": figure(columns[2][index], low[index], high[index]),
            "support": columns[3][index],
            "predicted": guesses[index],
        }
        for index, name in enumerate(names)
    ]
