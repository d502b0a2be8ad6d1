"""Accuracy is counted here, and as scikit-learn counts it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from common.metrics import METRICS


@pytest.mark.parametrize("shape", [(1,), (50,), (50, 3), (7, 1)])
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_accuracy_is_scikit_learns(shape: tuple[int, ...], classes: int) -> None:
    random = np.random.default_rng(classes)
    predicted, labels = (random.integers(0, classes if len(shape) == 1 else 2, shape) for _ in range(2))
    for name in ("accuracy", "subset_accuracy"):
        assert METRICS[name](predicted, labels) == accuracy_score(labels, predicted)
    assert METRICS["accuracy"](labels, labels) == 1.0
