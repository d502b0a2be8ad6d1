"""The mistakes that a classifier is surest of, and the labels that may themselves be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .examples import SHOWN, Examples
from .resampling import Values

__all__ = ["find_suspects", "sure_mistakes", "sure_mistakes_of_several"]


def find_suspects(probabilities: Values, labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Find labels that the model contradicts as surely as it is sure of that other class elsewhere.

    Confident learning (Northcutt et al. 2021, section 3.1): a class counts as meant where its probability reaches
    the mean of those of the examples that are labelled so; of several such classes the most probable one counts.

    Args:
        probabilities: Shape: (E, N).
        labels: Class ids. Shape: (E,).

    Returns:
        Whether another class than the label is meant. Nowhere where the model names one class alone, or is right less
        often than by naming the most frequent one: it has nothing to contradict with. Shape: (E,).
    """
    number = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=number)
    predicted = probabilities.argmax(axis=1)
    if (predicted == predicted[:1]).all() or (predicted == labels).sum() < counts.max():
        return np.zeros(len(labels), dtype=bool)
    means = np.bincount(labels, weights=own, minlength=number) / np.maximum(counts, 1)
    reached = np.where((probabilities >= means) & (counts > 0), probabilities, -1.0)
    meant = reached.argmax(axis=1)
    return (reached.max(axis=1) >= 0) & (meant != labels)


def sure_mistakes(
    probabilities: Values, labels: NDArray[Any], names: Sequence[str], examples: Examples
) -> dict[str, Any]:
    """Give the mistakes with the highest probabilities, with their texts.

    Args:
        probabilities: Shape: (E, N).
        labels: Class ids. Shape: (E,).
        names: The classes in the order of their ids.
        examples: Their texts.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    suspects = find_suspects(probabilities, labels)
    shown = [
        {
            **examples.shown(row),
            "label": names[labels[row]],
            "predicted": names[predicted[row]],
            "probability": probabilities[row, predicted[row]],
            "probability_of_label": probabilities[row, labels[row]],
            "suspect": bool(suspects[row]),
        }
        for row in order[:SHOWN].tolist()
    ]
    return {"number": len(wrong), "suspects": int(suspects.sum()), "shown": shown}


def sure_mistakes_of_several(
    probabilities: Values, labels: NDArray[Any], names: Sequence[str], examples: Examples
) -> dict[str, Any]:
    """Give the examples with the surest wrong class, said or left out, where a text may have several.

    Args:
        probabilities: Shape: (E, N).
        labels: 0 or 1 for each class. Shape: (E, N).
        names: The classes in the order of their ids.
        examples: Their texts.
    """
    predicted, labelled = probabilities > 0.5, labels > 0.5
    sure = np.where(predicted != labelled, np.maximum(probabilities, 1 - probabilities), 0.0)
    surest = sure.max(axis=1, initial=0.0)
    order = np.argsort(-surest, kind="stable")[: min(SHOWN, int((surest > 0).sum()))]

    def several(row: NDArray[np.bool_]) -> str:
        return ", ".join(names[index] for index in np.flatnonzero(row).tolist()) or "(none)"

    shown = [
        {
            **examples.shown(row),
            "label": several(labelled[row]),
            "predicted": several(predicted[row]),
            "probability": surest[row],
            "class": names[int(sure[row].argmax())],
        }
        for row in order.tolist()
    ]
    return {"number": int((surest > 0).sum()), "shown": shown}
