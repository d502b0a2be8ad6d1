"""All that is told of a classification or a regression, from the model's outputs and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import predicted_values, probabilities
from .calibration import describe_calibration
from .confusion import describe_confusion
from .examples import SHOWN, Examples
from .mistakes import sure_mistakes, sure_mistakes_of_several
from .resampling import Values
from .several import describe_several
from .slices import Measure, by_length, by_name, describe_parts, mean_of
from .values import describe_values

__all__ = ["describe_classified", "predicted_rows"]


def describe_classified(
    logits: NDArray[Any],
    labels: NDArray[Any],
    problem: str,
    names: Sequence[str],
    metrics: Sequence[str],
    examples: Examples,
) -> dict[str, Any]:
    """Count everything of one evaluation.

    Args:
        logits: The model's outputs. Shape: (E, N).
        labels: Class ids or values, shape (E,); for several labels 0 or 1 for each, shape (E, N).
        problem: The problem type; see `common.metrics`.
        names: The classes in the order of their ids; none of a regression.
        metrics: Names of the task's metrics, the main one first.
        examples: Texts, lengths and sources.
    """
    if not len(labels):
        return {"examples": 0}
    if problem == "regression":
        found, measure = _of_values(logits, labels, examples)
    elif problem == "multi_label_classification":
        found, measure = _of_several(logits, labels, names, examples)
    else:
        found, measure = _of_classes(logits, labels, names, metrics, examples)
    slices = {"length": describe_parts(by_length(examples), measure)}
    slices["source"] = describe_parts(by_name(examples.sources), measure)
    return {"examples": len(labels), **found, "slices": {name: parts for name, parts in slices.items() if parts}}


def _of_classes(
    logits: NDArray[Any], labels: NDArray[Any], names: Sequence[str], metrics: Sequence[str], examples: Examples
) -> tuple[dict[str, Any], Measure]:
    shares, labels = probabilities(logits, "single_label_classification"), labels.astype(np.int64)
    predicted = shares.argmax(axis=1)
    right = predicted == labels
    found = describe_confusion(predicted, labels, names, metrics)
    found["calibration"] = describe_calibration(shares.max(axis=1), right, "the predicted class")
    found["mistakes"] = sure_mistakes(shares, labels, names, examples)
    return found, mean_of(accuracy=right)


def _of_several(
    logits: NDArray[Any], labels: NDArray[Any], names: Sequence[str], examples: Examples
) -> tuple[dict[str, Any], Measure]:
    problem = "multi_label_classification"
    shares, predicted = probabilities(logits, problem), predicted_values(logits, problem)
    found = describe_several(predicted, labels, names)
    owners = np.repeat(np.arange(len(labels)), len(names))
    every = "each class of each text"
    found["calibration"] = describe_calibration(shares.ravel(), labels.ravel() > 0.5, every, owners)
    found["mistakes"] = sure_mistakes_of_several(shares, labels, names, examples)
    return found, mean_of(subset_accuracy=(predicted == labels).all(axis=1))


def _of_values(logits: NDArray[Any], labels: NDArray[Any], examples: Examples) -> tuple[dict[str, Any], Measure]:
    predicted = predicted_values(logits, "regression").astype(np.float64)
    found = describe_values(predicted, labels)
    errors = np.abs(predicted - labels)
    largest = np.argsort(-errors, kind="stable")[:SHOWN].tolist()
    found["largest_errors"] = [
        {**examples.shown(row), "label": float(labels[row]), "predicted": predicted[row]} for row in largest
    ]
    return found, mean_of(mean_absolute_error=errors, mse=errors**2)


def predicted_rows(
    logits: NDArray[Any], labels: NDArray[Any], problem: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Give label, prediction and probabilities of each example, for the file of predictions.

    Args:
        logits: The model's outputs. Shape: (E, N).
        labels: As of `describe_classified`.
        problem: The problem type.
        names: The classes in the order of their ids.
    """
    values = predicted_values(logits, problem)
    if problem == "regression":
        return [
            {"label": float(label), "prediction": float(value)} for label, value in zip(labels, values, strict=True)
        ]
    shares: Values = probabilities(logits, problem)
    rows = zip(labels, values, shares.tolist(), strict=True)

    def named(value: Any) -> Any:
        if problem == "multi_label_classification":
            return [names[index] for index in np.flatnonzero(value).tolist()]
        return names[int(value)]

    return [
        {
            "label": named(label),
            "prediction": named(value),
            "probabilities": dict(zip(names, share, strict=True)),
        }
        for label, value, share in rows
    ]
