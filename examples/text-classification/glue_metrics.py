"""GLUE's official metrics, by scikit-learn and scipy, and the warning for a classifier that has collapsed.

Letters in shapes: ``E`` examples, ``N`` labels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from transformers import EvalPrediction
from transformers.utils import logging

__all__ = ["METRICS", "make_compute_metrics", "predicted_values"]

logger = logging.get_logger("transformers.examples.glue_metrics")

Values = NDArray[np.generic]


def _accuracy(predicted: Values, labels: Values) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predicted))


def _f1(predicted: Values, labels: Values) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, zero_division=0))


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
    "matthews_correlation": _matthews,
    "pearson": _pearson,
    "spearmanr": _spearman,
    "mse": _mean_squared_error,
}


def predicted_values(predictions: object, regression: bool) -> Values:
    """Turn a model's outputs into classes or values.

    Args:
        predictions: The logits, or a tuple that begins with them. Shape: (E, N).
        regression: Whether the single logit is the value.

    Returns:
        Class ids or values. Shape: (E,).
    """
    logits = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
    return np.squeeze(logits, axis=-1) if regression else np.argmax(logits, axis=-1)


def make_compute_metrics(metrics: Sequence[str], regression: bool) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make the function that the Trainer calls after each evaluation.

    A correlation of constant predictions does not exist; it is reported as 0 with a warning, and so is a classifier
    that gives one class for a whole evaluation.

    Args:
        metrics: Names in `METRICS`. With two of them their mean is reported as ``combined_score``.
        regression: Whether the single logit is the value.

    Returns:
        A function from predictions to metrics by name.
    """

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        predicted = predicted_values(prediction.predictions, regression)
        labels = np.asarray(prediction.label_ids)
        _warn_if_constant(predicted, labels, regression)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*constant.*")  # said above, with what to do about it
            values = {name: METRICS[name](predicted, labels) for name in metrics}
        values = {name: 0.0 if math.isnan(value) else value for name, value in values.items()}
        if len(values) > 1 and "mse" not in values:
            values["combined_score"] = float(np.mean(list(values.values())))
        return values

    return compute_metrics


def _warn_if_constant(predicted: Values, labels: Values, regression: bool) -> None:
    """Name the likely causes when all predictions are the same though the labels are not."""
    if len(predicted) < 2 or len(np.unique(predicted)) > 1 or len(np.unique(labels)) < 2:
        return
    logger.warning(
        "All %d predictions are the same %s (%s): the model has collapsed, and its correlations count as 0. Likely "
        "causes: a learning rate that is too high for the global batch (per device x processes x accumulation), or a "
        "run that is too short. Try a third of the learning rate, a warm-up, or another seed.",
        len(predicted),
        "value" if regression else "class",
        predicted[0],
    )
