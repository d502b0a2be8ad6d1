"""Accuracy is counted here, and as scikit-learn counts it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from common.metrics import METRICS, make_compute_metrics
from transformers import EvalPrediction


@pytest.mark.parametrize("shape", [(1,), (50,), (50, 3), (7, 1)])
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_accuracy_is_scikit_learns(shape: tuple[int, ...], classes: int) -> None:
    random = np.random.default_rng(classes)
    predicted, labels = (random.integers(0, classes if len(shape) == 1 else 2, shape) for _ in range(2))
    for name in ("accuracy", "subset_accuracy"):
        assert METRICS[name](predicted, labels) == accuracy_score(labels, predicted)
    assert METRICS["accuracy"](labels, labels) == 1.0


@pytest.mark.parametrize(
    ("metrics", "name", "number", "said"),
    [
        (("accuracy",), None, 8, "All 8 predictions are the same class (1): the model has collapsed. Likely"),
        (("accuracy",), "ending", 8, "All 8 predictions are the same ending (1): the model has collapsed. Likely"),
        (("matthews_correlation",), None, 8, "has collapsed, and its correlation counts as 0. Likely"),
        (("accuracy",), None, 7, ""),
    ],
)
def test_predictions_that_are_all_the_same_are_told(
    metrics: tuple[str, ...], name: str | None, number: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A few may well be, and a correlation counts as 0 only where one is asked for."""
    compute = make_compute_metrics(metrics, "single_label_classification", name_of_one=name)
    with caplog.at_level(logging.WARNING):
        compute(EvalPrediction(np.tile([0.0, 1.0], (number, 1)), np.arange(number) % 2))
    assert said in caplog.text
    assert bool(caplog.text) is bool(said)
