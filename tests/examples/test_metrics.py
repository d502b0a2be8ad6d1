"""Metrics are counted here, and as scikit-learn and scipy count them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from common.metrics import METRICS, probabilities

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("shape", [(1,), (50,), (50, 3), (7, 1)])
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_accuracy_is_scikit_learns(shape: tuple[int, ...], classes: int) -> None:
    random = np.random.default_rng(classes)
    predicted, labels = (random.integers(0, classes if len(shape) == 1 else 2, shape) for _ in range(2))
    for name in ("accuracy", "subset_accuracy"):
        assert METRICS[name](predicted, labels) == accuracy_score(labels, predicted)
    assert METRICS["accuracy"](labels, labels) == 1.0


def of_one_label() -> Iterator[tuple[Any, Any, int]]:
    """Give predictions and labels of classes that are all there, or not, on one side or the other."""
    random = np.random.default_rng(3)
    for classes in (2, 3, 9):
        for size in (1, 2, 5, 300):
            yield random.integers(0, classes, size), random.integers(0, classes, size), classes
            yield np.full(size, classes - 1), random.integers(0, classes, size), classes
            yield random.integers(0, classes, size), np.zeros(size, int), classes
            yield np.zeros(size, int), np.full(size, classes - 1), classes


def test_f1_and_matthews_of_one_label_are_scikit_learns() -> None:
    macro = partial(f1_score, average="macro", zero_division=0)
    for predicted, labels, classes in of_one_label():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a single class
            assert METRICS["f1_macro"](predicted, labels) == pytest.approx(macro(labels, predicted))
            assert METRICS["matthews_correlation"](predicted, labels) == pytest.approx(
                matthews_corrcoef(labels, predicted)
            )
        if classes == 2:
            assert METRICS["f1"](predicted, labels) == pytest.approx(f1_score(labels, predicted, zero_division=0))


@pytest.mark.parametrize("kind", [int, np.float32])
def test_f1_of_several_labels_is_scikit_learns(kind: type) -> None:
    random = np.random.default_rng(4)
    for shape in ((1, 1), (1, 3), (40, 1), (40, 5)):
        for share in (0.0, 0.3, 1.0):
            predicted = (random.random(shape) < 0.4).astype(int)
            labels = (random.random(shape) < share).astype(int)
            for average in ("macro", "micro"):
                # a single column is no row of switches to scikit-learn
                pair = [np.column_stack([each, np.zeros(shape)])[:, :2] for each in (labels, predicted)]
                theirs = f1_score(*(pair if shape[1] == 1 else (labels, predicted)), average=average, zero_division=0)
                expected = 2 * theirs if (shape[1], average) == (1, "macro") else theirs
                found = METRICS[f"f1_{average}"](predicted, labels.astype(kind))
                assert found == pytest.approx(expected), (shape, share, average)


def test_probabilities_are_scipys() -> None:
    logits = np.concatenate([np.random.default_rng(5).normal(size=(50, 4)) * 30, [[800.0, -800, 0, 1e-9]]])
    expected = {"single_label_classification": softmax(logits, axis=-1), "multi_label_classification": expit(logits)}
    for problem, shares in expected.items():
        with np.errstate(over="raise", invalid="raise"):
            np.testing.assert_allclose(probabilities(logits, problem), shares, rtol=1e-12, atol=1e-300)


def test_figures_of_classes_need_no_import_of_seconds() -> None:
    program = (
        "import sys, numpy as np; from common.metrics import METRICS, probabilities; ids = np.array([0, 1, 1]);"
        "from common.reporting.confusion import describe_confusion;"
        "[METRICS[name](ids, ids) for name in ('accuracy', 'f1', 'f1_macro', 'f1_micro', 'matthews_correlation')];"
        "describe_confusion(ids, ids, ['a', 'b'], ['f1']); print({'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=EXAMPLES, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
