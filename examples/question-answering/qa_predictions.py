"""Answers as files, the figures of an evaluation, and the threshold of "no answer" that a model's folder keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.splits import column
from qa_answers import Answers, find_answers
from qa_arguments import DataTrainingArguments
from qa_data import ANSWERS, CONTEXT, ID, QuestionData
from qa_scores import Gold, best_threshold, summarize
from transformers import EvalPrediction
from transformers.utils import logging
from transformers.utils.json_files import load_json
from transformers.utils.shapes import Real, Record, Text
from transformers.utils.writing import replacing, write_text

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["FILES", "Scorer", "few_answers", "given_answers", "read_threshold", "write_threshold"]

logger = logging.get_logger("transformers.examples.qa_predictions")

THRESHOLD_FILE = "null_threshold.json"
FILES = ("*predictions.json", "*null_odds.json", THRESHOLD_FILE)
"""Patterns of what is written beside the files of every example."""

_THRESHOLD = Record(
    {"null_score_diff_threshold": Real(), "best_f1": Real(), "questions": Text()},
    required=("null_score_diff_threshold",),
)


class Scorer:
    """Makes answers of the scores of tokens, and scores them; the Trainer calls it after each evaluation.

    Args:
        data: The questions.
        features: The windows, by the split's name.
        data_args: How answers are chosen.
        threshold: An evaluation answers nothing where that scores so much more than the best answer.

    Attributes:
        threshold: See there.
        chosen: The threshold that gave the best F1 in the last evaluation; None without one.
        answers: What the last evaluation found.
    """

    def __init__(
        self, data: QuestionData, features: dict[str, Dataset], data_args: DataTrainingArguments, threshold: float
    ) -> None:
        self.data, self.features, self.data_args, self.threshold = data, features, data_args, threshold
        self.chosen: float | None = None
        self.answers: Answers | None = None
        self._gold: dict[str, Gold] = {}

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Score an evaluation of all validation questions."""
        self.answers = self.find(prediction.predictions, "validation")
        figures, self.chosen = self.score(self.answers, "validation", self.threshold)
        return figures

    def find(self, logits: Any, name: str) -> Answers:
        """Find the answers of a split.

        Args:
            logits: Scores of first and last tokens, in the order of its windows.
            name: The split's.
        """
        most, longest = self.data_args.n_best_size, self.data_args.max_answer_length
        return find_answers(logits, self.features[name], len(self.data.questions[name]), most, longest)

    def gold(self, name: str) -> Gold:
        """Give the right answers of a split."""
        return self._gold.setdefault(name, Gold(column(self.data.questions[name], ANSWERS)))

    def score(self, answers: Answers, name: str, threshold: float) -> tuple[dict[str, float], float | None]:
        """Score a split's answers.

        Args:
            answers: By `find`.
            name: The split's name.
            threshold: Answer nothing where that scores so much more than the best answer.

        Returns:
            The figures, and the threshold that gives the best F1; None where every question has an answer.
        """
        questions, with_null = self.data.questions[name], self.data.with_null
        gold = self.gold(name)
        texts = answers.best_texts(column(questions, CONTEXT))
        exact, f1 = gold.score(texts)
        if not with_null:
            return summarize(exact, f1, gold.answered, with_null), None
        odds = answers.null_odds()
        figures = summarize(*gold.score(given_answers(texts, odds, threshold)), gold.answered, with_null)
        best = {
            metric: best_threshold(values, odds, texts, gold.answered)
            for metric, values in (("exact", exact), ("f1", f1))
        }
        for metric, found in best.items():
            figures |= {f"best_{metric}": found.score, f"best_{metric}_thresh": found.threshold}
        return figures, best["f1"].chosen

    def write(self, answers: Answers, name: str, threshold: float, folder: Path, prefix: str = "") -> Path:
        """Write a split's answers: the best, the best few with probabilities, and the odds of "no answer".

        Args:
            answers: By `find`.
            name: The split's name.
            threshold: See `score`.
            folder: Where ``predictions.json``, ``nbest_predictions.json`` and ``null_odds.json`` go.
            prefix: Of the names of these files.

        Returns:
            The file of the best answers.
        """
        questions, with_null = self.data.questions[name], self.data.with_null
        names, contexts = column(questions, ID), column(questions, CONTEXT)
        texts, odds = answers.best_texts(contexts), answers.null_odds()
        folder.mkdir(parents=True, exist_ok=True)
        given = given_answers(texts, odds, threshold) if with_null else texts
        path = folder / f"{prefix}predictions.json"
        _write_object(path, zip(names, given, strict=True))
        few = ((each, few_answers(answers, row, contexts[row], with_null)) for row, each in enumerate(names))
        _write_object(folder / f"{prefix}nbest_predictions.json", few)
        if with_null:
            _write_object(folder / f"{prefix}null_odds.json", zip(names, odds.tolist(), strict=True))
        return path


def given_answers(texts: Sequence[str], odds: NDArray[np.float64], threshold: float) -> list[str]:
    """Leave of the best answers those that "no answer" does not beat.

    Args:
        texts: The best answer of each question.
        odds: By how much "no answer" scores more. Shape: (questions,).
        threshold: Answer nothing where that is more than this.
    """
    return ["" if silent else text for text, silent in zip(texts, odds > threshold, strict=True)]


def few_answers(answers: Answers, row: int, context: str, with_null: bool) -> list[dict[str, Any]]:
    """Give the best answers of a question, the best first, with probabilities that add up to 1.

    Args:
        answers: Of all questions.
        row: The question's number.
        context: Its context.
        with_null: Whether it may have no answer, which is one of those then.
    """
    columns = (answers.begins, answers.ends, answers.start_logits, answers.end_logits)
    rows = zip(*(column[row].tolist() for column in columns), strict=True)
    found = [(context[begin:end].strip(), start, end_) for begin, end, start, end_ in rows if begin >= 0]
    if with_null or not found:
        found.append(("", *answers.null_logits[row].tolist()))
    found.sort(key=lambda each: each[1] + each[2], reverse=True)
    scores = np.array([start + end for _, start, end in found])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    return [
        {"text": text, "probability": share, "start_logit": start, "end_logit": end}
        for (text, start, end), share in zip(found, shares.tolist(), strict=True)
    ]


def _write_object(path: Path, items: Iterator[tuple[str, Any]]) -> None:
    """Write a JSON object name by name, so that no more than one of its values is in memory."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        file.write("{")
        for number, (name, value) in enumerate(items):
            entry = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            file.write(f"{',' if number else ''}\n  {entry}")
        file.write("\n}\n")


# The threshold ----------------------------------------------------------------------------------------------------


def read_threshold(model: str) -> float | None:
    """Give the threshold that an evaluation found best for a model; None where its folder has none.

    Args:
        model: The folder, or any other name of a model.

    Raises:
        ValueError: If the file is broken.
        OSError: If it cannot be read.
    """
    path = Path(model) / THRESHOLD_FILE
    if not path.is_file():
        return None
    threshold = float(load_json(path, _THRESHOLD)["null_score_diff_threshold"])
    logger.info("The threshold of 'no answer' is %.4f, by %s.", threshold, path)
    return threshold


def write_threshold(folder: Path, threshold: float, best_f1: float, source: str) -> None:
    """Leave the threshold beside the model that it was found for.

    Args:
        folder: The model's.
        threshold: The best one.
        best_f1: What it gives.
        source: Which questions it was chosen on.
    """
    content = {"null_score_diff_threshold": threshold, "best_f1": best_f1, "questions": source}
    write_text(folder / THRESHOLD_FILE, json.dumps(content, indent=2) + "\n")
