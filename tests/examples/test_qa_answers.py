"""The best answers of a question over all of its windows, held against looking at every span one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import qa_answers
from qa_answers import Answers, find_answers
from qa_arguments import DataTrainingArguments
from qa_data import ANSWERS, CONTEXT, ID, QuestionData
from qa_features import BEGINS, ENDS, OWNER
from qa_predictions import Scorer, read_threshold, write_threshold
from transformers.pipelines.answer_spans import best_spans

LENGTH = 9


def make(seed: int, questions: int, windows: int) -> tuple[Dataset, tuple[Any, Any]]:
    """Make windows of random lengths over one context of three characters a token, and random scores."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {OWNER: [], BEGINS: [], ENDS: []}
    for window in range(windows):
        first, size = int(rng.integers(0, 4)), int(rng.integers(0, LENGTH - 3))
        characters = np.arange(first, first + size) * 3
        hidden = rng.random(size) < 0.2
        rows[OWNER].append(window % questions)
        rows[BEGINS].append([-1, -1, *np.where(hidden, -1, characters).tolist(), -1])
        rows[ENDS].append([0, 0, *np.where(hidden, 0, characters + 2).tolist(), 0])
    logits = [rng.normal(size=(windows, LENGTH)).astype(np.float32) for _ in range(2)]
    return Dataset.from_dict(rows), (logits[0], logits[1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), questions=st.integers(1, 3), windows=st.integers(3, 7), longest=st.integers(1, 12))
def test_answers_are_the_best_of_all_spans(seed: int, questions: int, windows: int, longest: int) -> None:
    features, logits = make(seed, questions, windows)
    found = find_answers(logits, features, questions, 4, longest)
    for question in range(questions):
        spans: dict[tuple[int, int], float] = {}
        null = []
        for row, window in enumerate(features):
            if window[OWNER] != question:
                continue
            starts, ends = (each[row].astype(np.float64) for each in logits)
            null.append((starts[0] + ends[0], starts[0], ends[0]))
            for first, begin in enumerate(window[BEGINS]):
                for last in range(first, min(first + longest, len(window[BEGINS]))):
                    if begin >= 0 and window[BEGINS][last] >= 0:
                        place = (begin, window[ENDS][last])
                        spans[place] = max(spans.get(place, -np.inf), starts[first] + ends[last])
        best = sorted(spans.items(), key=lambda item: -item[1])[:4]
        real = found.begins[question] >= 0
        assert real.sum() == len(best)
        assert list(zip(found.begins[question][real], found.ends[question][real], strict=True)) == [k for k, _ in best]
        scores = (found.start_logits + found.end_logits)[question][real]
        assert scores == pytest.approx([score for _, score in best])
        assert found.null_logits[question] == pytest.approx(min(null)[1:])
        assert found.null_odds()[question] == pytest.approx(min(null)[0] - (best[0][1] if best else 0))


def test_windows_may_be_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, logits = make(5, 4, 11)
    whole = find_answers(logits, features, 4, 6, 5)
    monkeypatch.setattr(qa_answers, "_AT_ONCE", 3)
    parts = find_answers(logits, features, 4, 6, 5)
    for name in ("begins", "ends", "start_logits", "end_logits", "null_logits"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_spans_by_hand() -> None:
    starts, ends = np.array([[0.0, 1.0, 2.0, 9.0]]), np.array([[0.5, 3.0, 1.0, 9.0]])
    allowed = np.array([[True, True, True, False]])
    found = best_spans(starts, ends, allowed, longest=2, most=9)
    kept = np.isfinite(found.scores[0])
    places = list(zip(found.firsts[0][kept], found.lasts[0][kept], found.scores[0][kept], strict=True))
    assert places == [(1, 1, 4.0), (0, 1, 3.0), (2, 2, 3.0), (1, 2, 2.0), (0, 0, 0.5)]
    assert not np.isfinite(best_spans(starts, ends, ~allowed & False, 3, 5).scores).any()


@pytest.fixture
def scorer() -> Scorer:
    contexts = ["The film was good.", "Anna left  Oslo. "]
    questions = Dataset.from_dict({ID: ["a", "b"], CONTEXT: contexts, ANSWERS: [["film"], []]})
    data = QuestionData({"test": questions, "validation": questions}, {}, True, True)
    return Scorer(data, {}, DataTrainingArguments(version_2_with_negative=True), threshold=0.0)


def answers() -> Answers:
    return Answers(
        begins=np.array([[4, 0], [11, -1]], dtype=np.int32),
        ends=np.array([[8, 3], [17, 0]], dtype=np.int32),
        start_logits=np.array([[2.0, 1.0], [0.5, -np.inf]]),
        end_logits=np.array([[1.0, 1.0], [0.5, -np.inf]]),
        null_logits=np.array([[1.0, 1.5], [2.0, 1.0]]),
    )


def test_files_and_the_threshold_of_no_answer(scorer: Scorer, tmp_path: Path) -> None:
    assert scorer.write(answers(), "test", 0.0, tmp_path, "eval_").name == "eval_predictions.json"
    names = ("predictions", "nbest_predictions", "null_odds")
    given, few, odds = (json.loads((tmp_path / f"eval_{name}.json").read_text()) for name in names)
    assert given == {"a": "film", "b": ""}
    assert odds == {"a": -0.5, "b": 2.0}
    assert [each["text"] for each in few["a"]] == ["film", "", "The"]
    assert [each["text"] for each in few["b"]] == ["", "Oslo."]
    shares = np.exp([3.0, 2.5, 2.0]) / np.exp([3.0, 2.5, 2.0]).sum()
    assert [each["probability"] for each in few["a"]] == pytest.approx(shares)
    assert (few["a"][1]["start_logit"], few["a"][1]["end_logit"]) == (1.0, 1.5)
    assert scorer.score(answers(), "test", 0.0)[0]["exact"] == 100
    scorer.write(answers(), "test", 3.0, tmp_path)
    assert json.loads((tmp_path / "predictions.json").read_text()) == {"a": "film", "b": "Oslo."}
    figures, chosen = scorer.score(answers(), "test", 3.0)
    assert (figures["exact"], figures["NoAns_exact"], figures["best_exact"]) == (50, 0, 100)
    assert chosen is not None
    assert chosen == pytest.approx(0.75), "in the middle between the odds of the two"
    assert read_threshold(str(tmp_path)) is None
    write_threshold(tmp_path, chosen, 100.0, "v.json")
    assert read_threshold(str(tmp_path)) == chosen
    (tmp_path / "null_threshold.json").write_text('{"null_score_diff_threshold": "0"}')
    with pytest.raises(ValueError, match="null_score_diff_threshold"):
        read_threshold(str(tmp_path))
