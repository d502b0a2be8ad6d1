"""Every figure of a report is scikit-learn's or scipy's, and intervals are those of drawing examples one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from common.reporting.calibration import describe_calibration
from common.reporting.confusion import FIGURES, count, describe_confusion
from common.reporting.data_facts import Split, describe_data
from common.reporting.examples import Examples
from common.reporting.mistakes import find_suspects
from common.reporting.resampling import DRAWS, bounds, draw_counts, interval_of_sums
from common.reporting.several import describe_several
from common.reporting.slices import by_length
from common.reporting.values import describe_values

DRAW = np.random.default_rng(7)
NAMES = ("a", "b", "c", "d", "e", "f")
SHARES = (0.6, 0.2, 0.1, 0.05, 0.04, 0.01)


def unbalanced(examples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    labels = DRAW.choice(6, examples, p=SHARES)
    return np.where(DRAW.random(examples) < 0.7, labels, DRAW.integers(0, 6, examples)), labels


def test_figures_of_classes_are_scikit_learns() -> None:
    predicted, labels = unbalanced()
    found = describe_confusion(predicted, labels, NAMES, ("accuracy",))
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "f1_macro": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "matthews_correlation": sklearn_metrics.matthews_corrcoef(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
    }
    assert {name: each["value"] for name, each in found["metrics"].items()} == pytest.approx(expected)
    assert all(each["low"] < each["value"] < each["high"] for each in found["metrics"].values())
    np.testing.assert_array_equal(
        found["confusion"]["counts"], sklearn_metrics.confusion_matrix(labels, predicted, labels=range(6))
    )
    of_classes = sklearn_metrics.precision_recall_fscore_support(labels, predicted, labels=range(6), zero_division=0)
    rows = [(each["precision"], each["recall"], each["f1"]["value"], each["support"]) for each in found["classes"]]
    np.testing.assert_allclose(np.array(rows).T, np.array(of_classes, dtype=float))


def test_figures_of_draws_are_scikit_learns() -> None:
    """Also where a draw lacks classes, or has one alone."""
    scores = {
        "accuracy": sklearn_metrics.accuracy_score,
        "f1_macro": lambda *pair: sklearn_metrics.f1_score(*pair, average="macro", zero_division=0),
        "matthews_correlation": sklearn_metrics.matthews_corrcoef,
    }
    for labels, predicted in (
        ([0, 0, 3, 3, 5], [0, 3, 3, 3, 0]),
        ([2, 2], [2, 2]),
        ([1, 1, 4], [0, 0, 0]),
        unbalanced(50)[::-1],
    ):
        counted = count(sklearn_metrics.confusion_matrix(labels, predicted, labels=range(6)), draws=False)
        for name, score in scores.items():
            assert FIGURES[name](counted)[0] == pytest.approx(score(labels, predicted)), name
    two = count(np.array([[5, 2], [1, 4]]), draws=False)
    assert FIGURES["f1"](two)[0] == pytest.approx(
        sklearn_metrics.f1_score([0] * 7 + [1] * 5, [0] * 5 + [1] * 2 + [0] + [1] * 4)
    )


def test_intervals_are_those_of_examples_drawn_one_by_one() -> None:
    """The cells of the matrix drawn, sums of drawn examples, and a loop over draws agree up to chance."""
    predicted, labels = unbalanced(300)
    found = describe_confusion(predicted, labels, NAMES, ())["metrics"]
    generator = np.random.default_rng(1)
    rows = [generator.integers(0, 300, 300) for _ in range(150)]
    for name in ("accuracy", "matthews_correlation"):
        score = {"accuracy": sklearn_metrics.accuracy_score}.get(name, sklearn_metrics.matthews_corrcoef)
        drawn = np.percentile([score(labels[each], predicted[each]) for each in rows], [2.5, 97.5])
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(tuple(drawn), abs=0.03), name
    right = (predicted == labels).astype(float)
    low, high = interval_of_sums(np.column_stack([right, np.ones(300)]), lambda sums: sums[:, :1] / sums[:, 1:])
    assert (low[0], high[0]) == pytest.approx((found["accuracy"]["low"], found["accuracy"]["high"]), abs=0.015)
    assert interval_of_sums(np.ones((1, 2)), lambda sums: sums)[0].tolist() == pytest.approx([np.nan] * 2, nan_ok=True)


def test_draws_are_the_same_every_time() -> None:
    first, again = (np.concatenate(list(draw_counts(7))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (DRAWS, 7)
    assert (first.sum(axis=1) == 7).all()


def test_figures_of_values_are_scipys() -> None:
    labels = DRAW.normal(size=300).round(1)  # with ties
    predicted = labels + DRAW.normal(size=300).round(1)
    found = describe_values(predicted, labels)["metrics"]
    expected = {
        "pearson": pearsonr(predicted, labels)[0],
        "spearmanr": spearmanr(predicted, labels)[0],
        "mse": sklearn_metrics.mean_squared_error(labels, predicted),
        "mean_absolute_error": sklearn_metrics.mean_absolute_error(labels, predicted),
        "r2": sklearn_metrics.r2_score(labels, predicted),
        "bias": (predicted - labels).mean(),
    }
    assert {name: each["value"] for name, each in found.items()} == pytest.approx(expected)
    counts = np.concatenate(list(draw_counts(300)))
    rows = [np.repeat(np.arange(300), each.astype(int)) for each in counts]  # the very draws, example by example
    scores = {
        "pearson": lambda each: np.corrcoef(predicted[each], labels[each])[0, 1],
        "spearmanr": lambda each: spearmanr(predicted[each], labels[each])[0],
        "bias": lambda each: (predicted - labels)[each].mean(),
    }
    for name, score in scores.items():
        low, high = bounds(np.array([[score(each)] for each in rows]))
        assert (found[name]["low"], found[name]["high"]) == pytest.approx((low[0], high[0]), abs=1e-9), name


def test_figures_of_several_labels_are_scikit_learns() -> None:
    labels = (DRAW.random((200, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(float)
    predicted = np.where(DRAW.random((200, 4)) < 0.8, labels, 1 - labels).astype(int)
    found = describe_several(predicted, labels, NAMES[:4])
    expected = {
        "f1_micro": sklearn_metrics.f1_score(labels, predicted, average="micro"),
        "f1_macro": sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0),
        "subset_accuracy": sklearn_metrics.accuracy_score(labels, predicted),
    }
    assert {name: each["value"] for name, each in found["metrics"].items()} == pytest.approx(expected)
    assert all(each["low"] <= each["value"] <= each["high"] for each in found["metrics"].values())
    four = sklearn_metrics.multilabel_confusion_matrix(labels, predicted)
    assert [each["missed"] for each in found["classes"]] == four[:, 1, 0].tolist()
    assert [each["invented"] for each in found["classes"]] == four[:, 0, 1].tolist()


def test_calibration_is_scikit_learns() -> None:
    confidence = np.concatenate([DRAW.random(500), [0.1, 0.3, 0.7, 0.0, 1.0]])  # on edges too
    right = DRAW.random(505) < confidence**2
    found = describe_calibration(confidence, right, "")
    shares, means = calibration_curve(right, confidence, n_bins=10)
    np.testing.assert_allclose([each["accuracy"] for each in found["bins"]], shares)
    np.testing.assert_allclose([each["confidence"] for each in found["bins"]], means)
    counts = np.array([each["count"] for each in found["bins"]])
    error = (np.abs(shares - means) * counts).sum() / 505
    assert found["ece"]["value"] == pytest.approx(error)
    assert found["ece"]["low"] < error < found["ece"]["high"] * 1.5
    parts = describe_calibration(confidence, right, "", owners=np.repeat(np.arange(101), 5))
    assert parts["ece"]["value"] == pytest.approx(error), "whose predictions they are changes the interval alone"


def test_suspects_are_labels_that_the_model_contradicts_as_surely_as_elsewhere() -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.86, 0.14], [0.3, 0.7], [0.1, 0.9], [0.6, 0.4]])
    labels = np.array([0, 0, 1, 1, 1, 1])
    # The mean of class 0 over its two examples is 0.85: row 2 reaches it, row 5 does not.
    assert find_suspects(shares, labels).tolist() == [False, False, True, False, False, False]


def test_a_model_that_has_learnt_nothing_suspects_no_label() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    collapsed = np.array([[0.44, 0.56], [0.42, 0.58], [0.45, 0.55], [0.41, 0.59], [0.4, 0.6], [0.49, 0.51]])
    assert not find_suspects(collapsed, labels).any()
    by_chance = np.array([[0.4, 0.6], [0.6, 0.4], [0.6, 0.4], [0.4, 0.6], [0.55, 0.45], [0.4, 0.6]])
    assert not find_suspects(by_chance, labels).any()


def test_duplicates_and_contradictions() -> None:
    train = Split([["One  text", "another", "same", "Same"]], ["x", "y", "x", "x"])
    validation = Split(
        [["one text", "new", "ANOTHER"]], ["x", "y", "x"], np.array([3, 4, 5]), np.array([0, 0, 1], bool)
    )
    found = describe_data({"train": train, "validation": validation}, 5)
    assert found["labels"] == {"train": {"x": 3, "y": 1}, "validation": {"x": 2, "y": 1}}
    twice = found["duplicates"]
    assert (twice["within"], twice["across"], twice["contradicting"]) == ({"train": 1}, {"train → validation": 2}, 1)
    assert [place["label"] for place in twice["shown"][0]["places"]] == ["y", "x"]
    assert found["lengths"]["validation"]["cut"] == 1
    assert found["lengths"]["validation"]["tokens"] == {"median": 4, "95 %": 4.9, "longest": 5}


def test_parts_by_length_hold_every_example_once() -> None:
    tokens = DRAW.integers(3, 60, 200)
    examples = Examples({}, tokens, tokens > 50, ["validation"] * 200)
    parts = by_length(examples)
    np.testing.assert_array_equal(parts.pop("cut"), tokens > 50)
    assert len(parts) == 4
    np.testing.assert_array_equal(sum(part.astype(int) for part in parts.values()), np.ones(200))
    assert by_length(Examples({}, np.full(9, 4), np.zeros(9, bool), ["a"] * 9)) == {}
