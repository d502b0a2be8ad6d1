"""The usual metrics, and the warning for a classifier that has collapsed.

Scikit-learn and scipy compute them, which take seconds to import; plain accuracy does without.

Letters in shapes: ``E`` examples, ``N`` labels. A *problem* is one of `transformers.losses`' names: ``regression``,
``single_label_classification``, ``multi_label_classification``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from transformers import EvalPrediction
from transformers.utils import logging

__all__ = ["METRICS", "METRICS_OF_PROBLEM", "make_compute_metrics", "predicted_values", "probabilities"]

logger = logging.get_logger("transformers.examples.metrics")

Values = NDArray[np.generic]


def _accuracy(predicted: Values, labels: Values) -> float:
    # The share of examples with exactly their label, or all of their labels, as scikit-learn counts it.
    return float((predicted == labels).reshape(len(labels), -1).all(axis=1).mean())


def _f1(predicted: Values, labels: Values, average: str = "binary") -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, average=average, zero_division=0))


def _f1_macro(predicted: Values, labels: Values) -> float:
    return _f1(predicted, labels, "macro")


def _f1_micro(predicted: Values, labels: Values) -> float:
    return _f1(predicted, labels, "micro")


def _matthews(predicted: Values, labels: Values) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predicted))


def _pearson(predicted: Values, labels: Values) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(predicted, labels)[0])


def _spearman(predicted: Values, labels: Values) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, labels)[0])


def _mean_squared_error(predicted: Values, labels: Values) -> float:
    return float(np.mean((predicted.astype(np.float64) - labels.astype(np.float64)) ** 2))


METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "f1_micro": _f1_micro,
    "matthews_correlation": _matthews,
    "mse": _mean_squared_error,
    "pearson": _pearson,
    "spearmanr": _spearman,
    "subset_accuracy": _accuracy,  # of rows of 0 and 1: the share of rows that are right as a whole
}
_CORRELATIONS = {"matthews_correlation", "pearson", "spearmanr"}
_FEW = 8  # so many predictions may well be alike

METRICS_OF_PROBLEM = {
    "regression": ("mse", "pearson"),
    "single_label_classification": ("accuracy", "f1_macro"),
    "multi_label_classification": ("f1_micro", "f1_macro", "subset_accuracy"),
}
"""Of texts of one's own, the main one first."""


def predicted_values(predictions: object, problem: str) -> Values:
    """Turn a model's outputs into classes or values.

    Args:
        predictions: The logits, or a tuple that begins with them. Shape: (E, N).
        problem: The problem type.

    Returns:
        Class ids or values, shape (E,); for several labels 0 or 1 for each, shape (E, N).
    """
    logits = _logits(predictions)
    if problem == "regression":
        return np.squeeze(logits, axis=-1)
    if problem == "multi_label_classification":
        return (logits > 0).astype(np.int64)  # a probability above one half
    return np.argmax(logits, axis=-1)


def probabilities(predictions: object, problem: str) -> NDArray[np.float64]:
    """Turn a classifier's logits into probabilities.

    Args:
        predictions: As of `predicted_values`.
        problem: The problem type, no regression.

    Returns:
        Of each class: they add up to 1, or stand each for itself where a text may have several. Shape: (E, N).
    """
    from scipy.special import expit, softmax

    logits = _logits(predictions).astype(np.float64)
    return np.asarray(expit(logits) if problem == "multi_label_classification" else softmax(logits, axis=-1))


def _logits(predictions: object) -> NDArray[np.floating]:
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def make_compute_metrics(
    metrics: Sequence[str], problem: str, combined: bool = False, name_of_one: str | None = None
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make the function that the Trainer calls after each evaluation.

    A correlation of constant predictions does not exist; it is reported as 0 with a warning, and so is a classifier
    that gives one class for a whole evaluation.

    Args:
        metrics: Names in `METRICS`.
        problem: The problem type.
        combined: Report the metrics' mean too, as ``combined_score``.
        name_of_one: What a prediction is called; the problem type's usual name where None.

    Returns:
        A function from predictions to metrics by name.
    """
    what = name_of_one or ("value" if problem == "regression" else "class")

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        predicted = predicted_values(prediction.predictions, problem)
        labels = np.asarray(prediction.label_ids)
        _warn_if_constant(predicted, labels, what, correlates=bool(_CORRELATIONS & set(metrics)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*constant.*")  # said above, with what to do about it
            values = {name: METRICS[name](predicted, labels) for name in metrics}
        values = {name: 0.0 if math.isnan(value) else value for name, value in values.items()}
        if combined:
            values["combined_score"] = float(np.mean(list(values.values())))
        return values

    return compute_metrics


def _warn_if_constant(predicted: Values, labels: Values, what: str, *, correlates: bool) -> None:
    """Name the likely causes when all predictions, more than a few, are the same though the labels are not."""
    if len(predicted) < _FEW or len(np.unique(predicted, axis=0)) > 1 or len(np.unique(labels, axis=0)) < 2:
        return
    logger.warning(
        "All %d predictions are the same %s (%s): the model has collapsed%s. Likely causes: a learning rate that is "
        "too high for the global batch (per device x processes x accumulation), or a run that is too short. Try a "
        "third of the learning rate, a warm-up, or another seed.",
        len(predicted),
        what,
        predicted[0],
        ", and its correlation counts as 0" if correlates else "",
    )
