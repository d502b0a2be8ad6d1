"""Figures of several labels at once: each class is a question with yes or no.

Letters in shapes: ``E`` examples, ``B`` draws, ``N`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import METRICS
from .figures import figure, table_of
from .resampling import Values, interval_of_sums

__all__ = ["describe_several"]

_METRICS = ("f1_micro", "f1_macro", "subset_accuracy")


def describe_several(predicted: NDArray[Any], labels: NDArray[Any], names: Sequence[str]) -> dict[str, Any]:
    """Give the metrics with intervals, and the figures of each class with its four counts.

    Args:
        predicted: 0 or 1 for each class. Shape: (E, N).
        labels: As many.
        names: The classes in the order of their ids.
    """
    from sklearn.metrics import multilabel_confusion_matrix, precision_recall_fscore_support

    labels, number = labels.astype(np.int64), len(names)
    whole = (predicted == labels).all(axis=1, keepdims=True)
    right, both = predicted * labels, predicted + labels
    features = np.concatenate([right, both, whole, np.ones_like(whole)], axis=1).astype(np.float64)

    def statistic(sums: Values) -> Values:
        right, both = sums[:, :number], sums[:, number : 2 * number]
        each = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
        total = both.sum(axis=1)
        micro = np.divide(2 * right.sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
        return np.column_stack([micro, each.mean(axis=1), sums[:, -2] / sums[:, -1], each])

    low, high = interval_of_sums(features, statistic)
    values = [METRICS[name](predicted, labels) for name in _METRICS]
    columns = precision_recall_fscore_support(labels, predicted, average=None, zero_division=0)
    four = multilabel_confusion_matrix(labels, predicted)
    classes = [
        {
            "label": name,
            "precision": columns[0][index],
            "recall": columns[1][index],
            "f1": figure(columns[2][index], low[3 + index], high[3 + index]),
            "support": columns[3][index],
            "predicted": predicted[:, index].sum(),
            "missed": four[index, 1, 0],
            "invented": four[index, 0, 1],
        }
        for index, name in enumerate(names)
    ]
    return {"metrics": table_of(_METRICS, values, low[:3], high[:3]), "classes": classes}
