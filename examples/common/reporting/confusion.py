"""Figures of one label of several, all of them from the confusion matrix.

The bootstrap draws the cells of the matrix, which is drawing the examples. Letters in shapes: ``E`` examples, ``B``
draws, ``N`` classes; a row of a matrix is the label's class, a column the predicted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..counts import FIGURES, Counted, confusion_matrix, f1_of_classes, ratio
from .figures import figure, table_of
from .resampling import Values, bounds, draw_kinds

__all__ = ["count", "describe_confusion"]


_MOST_DENSE = 100


def count(matrix: NDArray[np.int64], draws: bool) -> Counted:
    """Count the sides of a confusion matrix.

    Args:
        matrix: Shape: (N, N).
        draws: Draw its examples again; else it is counted once as it is.
    """
    rows, columns = np.nonzero(matrix)
    cells = matrix[rows, columns]
    drawn = (draw_kinds(cells) if draws else cells[None]).astype(np.float64)
    right = _by_class(drawn * (rows == columns), rows, len(matrix))
    return Counted(right, *(_by_class(drawn, side, len(matrix)) for side in (rows, columns)))


def _by_class(cells: Values, classes: NDArray[np.int64], number: int) -> Values:
    """Sum cells by their class. Shape: (B, cells), and of the classes (cells,), to (B, N)."""
    order = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[order], return_index=True)
    sums = np.zeros((len(cells), number))
    sums[:, present] = np.add.reduceat(cells[:, order], starts, axis=1)
    return sums


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
    matrix = confusion_matrix(predicted, labels, len(names))
    wanted = dict.fromkeys((*metrics, "accuracy", "f1_macro", "matthews_correlation", "balanced_accuracy"))
    chosen = [name for name in wanted if name in FIGURES and (name != "f1" or len(names) == 2)]
    counted = count(matrix, draws=False)
    values = [float(FIGURES[name](counted)[0]) for name in chosen]
    draws = count(matrix, draws=True) if len(labels) > 1 else None
    low, high = np.full((2, len(chosen)), np.nan)
    if draws is not None:
        low, high = bounds(np.stack([FIGURES[name](draws) for name in chosen], axis=1))
    return {
        "metrics": table_of(chosen, values, low, high),
        "confusion": {"labels": list(names), **_matrix_of(matrix)},
        "classes": _describe_classes(counted, names, draws),
    }


def _matrix_of(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """Give the rows of a matrix, or of a large one the cells that hold something: row, column and count of each."""
    if len(matrix) <= _MOST_DENSE:
        return {"counts": matrix}
    rows, columns = np.nonzero(matrix)
    return {"cells": np.column_stack([rows, columns, matrix[rows, columns]])}


def _describe_classes(counted: Counted, names: Sequence[str], draws: Counted | None) -> list[dict[str, Any]]:
    """Give precision, recall, F1 (with its interval) and support of each class, and how often it was predicted."""
    right, labelled, predicted = counted
    precision, recall = ratio(right, predicted, 0.0)[0], ratio(right, labelled, 0.0)[0]
    f1 = np.nan_to_num(f1_of_classes(counted)[0])
    low, high = np.full((2, len(names)), np.nan)
    if draws is not None:
        low, high = bounds(f1_of_classes(draws))
    return [
        {
            "label": name,
            "precision": precision[index],
            "recall": recall[index],
            "f1": figure(f1[index], low[index], high[index]),
            "support": int(labelled[0, index]),
            "predicted": int(predicted[0, index]),
        }
        for index, name in enumerate(names)
    ]
