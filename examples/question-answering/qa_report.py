"""What the report tells of answers: their scores by kinds of questions and lengths, the worst in their contexts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.reporting.calibration import describe_calibration
from common.reporting.data_facts import Split, describe_data
from common.reporting.examined import Examined
from common.reporting.examples import SHOWN, shortened
from common.reporting.figures import table_of
from common.reporting.resampling import Values, interval_of_sums
from common.reporting.slices import by_name, by_size, describe_parts, mean_of
from common.splits import column
from qa_answers import Answers
from qa_data import ANSWERS, CONTEXT, ID, QUESTION, STARTS
from qa_features import OWNER
from qa_predictions import Scorer, few_answers, given_answers
from qa_scores import METRICS, summarize

__all__ = ["examine", "question_kind"]

_SPLIT = "validation"
_KINDS = ("what", "who", "when", "where", "why", "which", "how many", "how much", "how")
_WORD = re.compile(r"\b(how many|how much|what|who|whom|whose|when|where|why|which|how)\b", re.IGNORECASE)
_AROUND = 130  # characters of a context that are shown on either side


def examine(scorer: Scorer) -> Examined:
    """Say how the run is reported.

    Args:
        scorer: Has the questions, and the answers of the last evaluation.
    """

    def figures() -> dict[str, Any]:
        facts = {"data": describe_data(_splits(scorer), scorer.data_args.max_seq_length)}
        return facts if scorer.answers is None else {**_describe(_Answered.of(scorer, scorer.answers)), **facts}

    def rows() -> Iterator[dict[str, Any]]:
        if scorer.answers is not None:
            yield from _rows(_Answered.of(scorer, scorer.answers))

    return Examined(figures, rows)


@dataclass(frozen=True)
class _Answered:
    """Evaluated questions, and what was answered."""

    names: list[str]
    questions: list[str]
    contexts: list[str]
    right: list[list[str]]
    starts: list[list[int]]
    given: list[str]
    few: list[list[dict[str, Any]]]
    begins: NDArray[np.int32]
    exact: Values
    f1: Values
    has_answer: NDArray[np.bool_]
    windows: NDArray[np.int64]
    with_null: bool

    @classmethod
    def of(cls, scorer: Scorer, answers: Answers) -> _Answered:
        split, with_null = scorer.data.questions[_SPLIT], scorer.data.with_null
        contexts, gold = column(split, CONTEXT), scorer.gold(_SPLIT)
        given = answers.best_texts(contexts)
        if with_null:
            given = given_answers(given, answers.null_odds(), scorer.threshold)
        few = [few_answers(answers, row, context, with_null) for row, context in enumerate(contexts)]
        exact, f1 = gold.score(given)
        return cls(
            names=column(split, ID),
            questions=column(split, QUESTION),
            contexts=contexts,
            right=column(split, ANSWERS),
            starts=column(split, STARTS),
            given=given,
            few=few,
            begins=answers.begins[:, 0],
            exact=exact,
            f1=f1,
            has_answer=gold.answered,
            windows=_windows(scorer, _SPLIT),
            with_null=with_null,
        )

    def probability(self, row: int) -> float:
        """Give the probability of the answer that was given."""
        return next((each["probability"] for each in self.few[row] if each["text"] == self.given[row]), 0.0)


def question_kind(question: str) -> str:
    """Name a question by its first question word."""
    found = _WORD.search(question)
    word = found[1].lower() if found else "other"
    return "who" if word in ("whom", "whose") else word


def _describe(found: _Answered) -> dict[str, Any]:
    sure = np.asarray([found.probability(row) for row in range(len(found.given))])
    return {
        "examples": len(found.given),
        "metrics": _metrics(found),
        "calibration": describe_calibration(sure, found.exact > 0, "the given answer among the best few"),
        "slices": _slices(found),
        "answers": _worst(found, sure),
    }


def _metrics(found: _Answered) -> dict[str, Any]:
    """Give EM and F1, of those with and without an answer too where there may be none, in per cent."""
    figures = summarize(found.exact, found.f1, found.has_answer, found.with_null)
    names = [name for name in METRICS[found.with_null] if name in figures]
    which = {"HasAns": found.has_answer, "NoAns": ~found.has_answer}
    columns, weights = [], []
    for name in names:
        values, part = (found.f1 if name.endswith("f1") else found.exact), which.get(name.partition("_")[0])
        chosen = np.ones_like(values) if part is None else part.astype(np.float64)
        columns.append(values * chosen)
        weights.append(chosen)
    number = len(names)
    low, high = interval_of_sums(
        np.column_stack([*columns, *weights]), lambda sums: 100 * sums[:, :number] / sums[:, number:]
    )
    return table_of(names, [figures[name] for name in names], low, high)


def _slices(found: _Answered) -> dict[str, Any]:
    measure = mean_of(f1=100 * found.f1, exact_match=100 * found.exact)
    kinds = by_name([question_kind(question) for question in found.questions])
    order = {kind: place for place, kind in enumerate(_KINDS)}
    parts = {
        "kind of question": dict(sorted(kinds.items(), key=lambda each: order.get(each[0], len(order)))),
        "answer": by_name(["has an answer" if each else "has none" for each in found.has_answer]),
        "length of the context": by_size(_words(found.contexts), "words"),
        "length of the question": by_size(_words(found.questions), "words"),
        "windows": by_name(["several windows" if number > 1 else "one window" for number in found.windows]),
    }
    return {name: describe_parts(part, measure) for name, part in parts.items() if part}


def _words(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray([len(text.split()) for text in texts], dtype=np.int64)


# Examples ---------------------------------------------------------------------------------------------------------


def _worst(found: _Answered, sure: Values) -> dict[str, Any]:
    bad = np.flatnonzero(found.f1 < 0.5)
    order = bad[np.argsort(-sure[bad], kind="stable")][:SHOWN].tolist()
    shown = [
        {
            "source": _SPLIT,
            "where": f"{_SPLIT}, {found.names[row]}",
            "row": row + 1,
            "texts": {"question": shortened(found.questions[row])},
            "label": [shortened(text) for text in dict.fromkeys(found.right[row])],
            "predicted": shortened(found.given[row]),
            "probability": sure[row],
            "f1": 100 * found.f1[row],
            "context": _context(found, row),
        }
        for row in order
    ]
    return {"number": len(bad), "shown": shown}


def _context(found: _Answered, row: int) -> list[tuple[str, str, str]]:
    """Give the context around the answers, with marks: ``guess`` for the given one, ``gold`` for a right one."""
    context = found.contexts[row]
    spans = [
        (start, start + len(text), "gold") for text, start in zip(found.right[row], found.starts[row], strict=True)
    ]
    if found.given[row]:
        begin = context.find(found.given[row], int(found.begins[row]))
        spans.insert(0, (begin, begin + len(found.given[row]), "guess"))
    spans = [span for span in spans[:2] if span[0] >= 0]
    if not spans:
        return [(shortened(context), "", "")]
    pieces: list[tuple[str, str, str]] = []
    at = 0
    for begin, end, mark in sorted(spans):
        begin = max(begin, at)
        if end <= begin:
            continue
        near = max(at, begin - _AROUND)
        if pieces and near - at > _AROUND:
            pieces.append((f"{context[at : at + _AROUND]} […] ", "", ""))
        else:
            near = at if pieces else near
        pieces += [(f"{'… ' if near and not pieces else ''}{context[near:begin]}", "", "")]
        pieces += [(shortened(context[begin:end]), mark, "")]
        at = end
    rest = context[at : at + _AROUND]
    return [*pieces, (f"{rest}{' …' if at + _AROUND < len(context) else ''}", "", "")]


def _rows(found: _Answered) -> Iterator[dict[str, Any]]:
    for row, name in enumerate(found.names):
        yield {
            "source": _SPLIT,
            "id": name,
            "question": found.questions[row],
            "label": found.right[row],
            "prediction": found.given[row],
            "probability": found.probability(row),
            "exact_match": found.exact[row],
            "f1": found.f1[row],
            "candidates": [{"text": each["text"], "probability": each["probability"]} for each in found.few[row]],
        }


# Data -------------------------------------------------------------------------------------------------------------


def _windows(scorer: Scorer, name: str) -> NDArray[np.int64]:
    owners = np.asarray(scorer.features[name].with_format("numpy")[OWNER])
    return np.bincount(owners, minlength=len(scorer.data.questions[name]))


def _splits(scorer: Scorer) -> dict[str, Split]:
    splits = {}
    for name, split in scorer.data.questions.items():
        answers = column(split, ANSWERS)
        with_answers = sum(bool(each) for each in answers)
        counts = {"with an answer": with_answers, "without": len(answers) - with_answers}
        splits[name] = Split(
            texts=[column(split, QUESTION), column(split, CONTEXT)],
            labels=[" / ".join(sorted(set(each))) for each in answers],
            windows=_windows(scorer, name),
            counts=counts if scorer.data.with_null else {},
        )
    return splits
