"""Entities and their scores: by hand, and as the library seqeval counts them."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_scores import find_entities, metric_names, score

TYPES = ("A", "B", "x-y")
LETTERS = {False: "BIES", True: "BI"}


def tags(strict: bool) -> st.SearchStrategy[str]:
    names = [f"{letter}-{kind}" for letter in LETTERS[strict] for kind in TYPES]
    return st.sampled_from(["O", "O", *names, *LETTERS[strict]])


def pairs(strict: bool) -> st.SearchStrategy[list[list[tuple[str, str]]]]:
    row = st.lists(st.tuples(tags(strict), tags(strict)), min_size=1, max_size=7)
    return st.lists(row, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("row", "plain", "strict"),
    [
        ("B-A I-A O B-A", [("A", 0, 2), ("A", 3, 4)], [("A", 0, 2), ("A", 3, 4)]),
        ("B-A B-A I-A", [("A", 0, 1), ("A", 1, 3)], [("A", 0, 1), ("A", 1, 3)]),
        ("I-A I-A O", [("A", 0, 2)], []),
        ("B-A I-B I-B", [("A", 0, 1), ("B", 1, 3)], [("A", 0, 1)]),
        ("O O", [], []),
        ("B I O", [("_", 0, 2)], [("_", 0, 2)]),
    ],
)
def test_entities_by_hand(row: str, plain: list[object], strict: list[object]) -> None:
    assert find_entities(row.split()) == plain
    assert find_entities(row.split(), strict=True) == strict


def test_bioes_by_hand() -> None:
    tags = ["S-A", "S-A", "B-A", "I-A", "E-A", "E-A"]
    assert find_entities(tags) == [("A", 0, 1), ("A", 1, 2), ("A", 2, 5), ("A", 5, 6)]


def test_figures_by_hand() -> None:
    gold, predicted = [["B-A", "I-A", "O", "B-B"]], [["B-A", "O", "O", "B-B"]]
    found = score(gold, predicted, strict=True, types=["C"])
    assert {name: found[name] for name in ("precision", "recall", "f1", "accuracy")} == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "accuracy": 0.75,
    }
    assert (found["f1_A"], found["f1_B"], found["recall_C"], found["strict_f1"]) == (0.0, 1.0, 0.0, 0.5)
    assert set(found) == set(metric_names(["O", "B-A", "I-A", "B-B", "B-C"], strict=True))


@settings(max_examples=200, deadline=None)
@given(rows=pairs(strict=False))
def test_scores_are_seqevals(rows: list[list[tuple[str, str]]]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    gold, predicted = ([[pair[part] for pair in row] for row in rows] for part in (0, 1))
    found = score(gold, predicted, strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of figures without a denominator
        report = seqeval.classification_report(gold, predicted, output_dict=True, zero_division=0)
        assert found["accuracy"] == pytest.approx(seqeval.accuracy_score(gold, predicted))
    _compare(found, report, "")
    for kind in report.keys() - {"micro avg", "macro avg", "weighted avg"}:
        mine = {name: found[f"{name}_{kind}"] for name in ("precision", "recall", "f1")}
        assert list(mine.values()) == pytest.approx([report[kind][key] for key in ("precision", "recall", "f1-score")])


@settings(max_examples=200, deadline=None)
@given(rows=pairs(strict=True))
def test_strict_scores_are_seqevals(rows: list[list[tuple[str, str]]]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    gold, predicted = ([[pair[part] for pair in row] for row in rows] for part in (0, 1))
    found = score(gold, predicted, strict=True)
    options = {"output_dict": True, "zero_division": 0, "mode": "strict", "scheme": scheme}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = seqeval.classification_report(gold, predicted, **options)
    _compare(found, report, "strict_")


def _compare(found: dict[str, float], report: dict[str, dict[str, float]], prefix: str) -> None:
    for name, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        assert found[f"{prefix}{name}"] == pytest.approx(report["micro avg"][key]), name
