"""Exact match, F1 and the threshold of "no answer": as SQuAD's official script has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_scores import Gold, best_threshold, normalize_answer, summarize

SCRIPT = json.loads((Path(__file__).parent / "squad_scores.json").read_text(encoding="utf-8"))


def test_scores_are_the_scripts() -> None:
    answers, predicted, odds, exact, f1 = (list(column) for column in zip(*SCRIPT["cases"], strict=True))
    gold = Gold(answers)
    found = gold.score(predicted)
    assert np.array_equal(found[0], exact)
    assert np.array_equal(found[1], f1)
    figures = summarize(*found, gold.answered, with_null=True)
    for name, values in (("exact", found[0]), ("f1", found[1])):
        best = best_threshold(values, np.array(odds), predicted, gold.answered)
        figures |= {f"best_{name}": best.score, f"best_{name}_thresh": best.threshold}
    with_odds = {name: value for name, value in SCRIPT["with_odds"].items() if name.startswith("best_")}
    assert figures == pytest.approx({**SCRIPT["plain"], **with_odds})
    plain = summarize(*found, gold.answered, with_null=False)
    assert plain == pytest.approx({"exact_match": figures["exact"], "f1": figures["f1"], "total": len(odds)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  U.S. of A.", "us of"),
        ("an-apple", "anapple"),
        ("“A” cat\u00a0sat", "“ ” cat sat"),
        ("theatre, another", "theatre another"),
        ("!?", ""),
    ],
)
def test_what_counts_of_an_answer(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.4, 1.0]), st.floats(-9, 9, allow_subnormal=False)),
        min_size=1,
        max_size=9,
        unique_by=lambda row: row[2],
    )
)
def test_no_threshold_gives_more_and_the_chosen_one_gives_as_much(rows: list[tuple[bool, float, float]]) -> None:
    answered, scores, odds = (np.array(column) for column in zip(*rows, strict=True))
    scores = np.where(answered, scores, 0.0)
    best = best_threshold(scores, odds, ["x"] * len(rows), answered)

    def mean(threshold: float) -> float:
        return 100 * float(np.where(odds > threshold, ~answered, scores).mean())

    assert best.score == pytest.approx(max(mean(threshold) for threshold in [*odds, odds.min() - 1]))
    assert mean(best.chosen) == pytest.approx(best.score)
