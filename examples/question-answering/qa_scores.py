"""Exact match and F1 by the rules of SQuAD's official script, and the threshold of "no answer" that gives the best.

Rajpurkar et al. 2018 (v2) and 2016 (v1.1). Case, punctuation, articles and white space do not count; of several right
answers the one counts that agrees best. Figures are per cent.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "BestThreshold", "Gold", "best_threshold", "normalize_answer", "summarize"]

METRICS = {
    False: ("f1", "exact_match"),
    True: ("f1", "exact", "HasAns_f1", "HasAns_exact", "NoAns_f1", "NoAns_exact", "best_f1", "best_exact"),
}
"""Names of the figures, the main one first, by whether a question may have no answer."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Leave of an answer what counts: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


class Gold:
    """The right answers of questions, as they are compared.

    Args:
        answers: Of each question; none where it has none.

    Attributes:
        answered: Which questions have an answer. Shape: (questions,).
    """

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self.answered = np.array([bool(each) for each in answers], dtype=bool)
        normalized = ([normalize_answer(text) for text in dict.fromkeys(each)] for each in answers)
        self._texts = [[text for text in each if text] or [""] for each in normalized]

    def score(self, predicted: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score one answer of each question; an empty one says that there is none.

        Args:
            predicted: In the order of the questions.

        Returns:
            Exact match and F1 of each, from 0 to 1.
        """
        pairs = zip(self._texts, map(normalize_answer, predicted), strict=True)
        found = [
            (max(text == answer for text in gold), max(_f1(text, answer) for text in gold)) for gold, answer in pairs
        ]
        exact, f1 = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return exact, f1


def _f1(gold: str, predicted: str) -> float:
    """Compare two normalized answers word by word; where one is empty, both must be."""
    gold_words, words = gold.split(), predicted.split()
    if not gold_words or not words:
        return float(gold_words == words)
    same = sum((Counter(gold_words) & Counter(words)).values())
    precision, recall = same / len(words), same / len(gold_words)
    return 2 * precision * recall / (precision + recall) if same else 0.0


def summarize(
    exact: NDArray[np.float64], f1: NDArray[np.float64], answered: NDArray[np.bool_], with_null: bool
) -> dict[str, float]:
    """Give the means in per cent, under the official script's names.

    Args:
        exact: Exact match of each question.
        f1: F1 of each.
        answered: Which of them have an answer.
        with_null: Whether a question may have none: then those with and without are told apart.
    """
    if not with_null:
        return {"exact_match": 100 * float(exact.mean()), "f1": 100 * float(f1.mean()), "total": len(exact)}
    figures: dict[str, float] = {}
    for prefix, which in (("", slice(None)), ("HasAns_", answered), ("NoAns_", ~answered)):
        number = len(exact[which])
        if number:
            figures[f"{prefix}exact"] = 100 * float(exact[which].mean())
            figures[f"{prefix}f1"] = 100 * float(f1[which].mean())
            figures[f"{prefix}total"] = number
    return figures


class BestThreshold(NamedTuple):
    """What is won by answering nothing where "no answer" scores so much more than the best answer.

    Attributes:
        score: The best mean, in per cent.
        threshold: By the official script: the odds of the last question that is answered, or 0 where none should be.
        chosen: The one to use: of those that give this mean the one that is farthest from any question's odds.
    """

    score: float
    threshold: float
    chosen: float


def best_threshold(
    scores: NDArray[np.float64], odds: NDArray[np.float64], predicted: Sequence[str], answered: NDArray[np.bool_]
) -> BestThreshold:
    """Find the threshold that gives the best mean.

    Args:
        scores: Exact match or F1 of each question's best answer.
        odds: By how much "no answer" scores more than it.
        predicted: These answers; an empty one is right by itself where there is none.
        answered: Which questions have an answer.
    """
    silent = np.array([not text for text in predicted], dtype=bool)
    won = np.where(answered, scores, np.where(silent, 0.0, -1.0))
    order = np.argsort(odds, kind="stable")
    sums = np.cumsum(np.concatenate([[float((~answered).sum())], won[order]]))  # by how many are answered
    best = int(np.argmax(sums))
    edges = np.concatenate([[odds.min() - 2.0], odds[order], [odds.max() + 2.0]])
    equal = np.flatnonzero(sums == sums[best])
    widest = int(equal[np.argmax(edges[equal + 1] - edges[equal])])
    return BestThreshold(
        100 * float(sums[best]) / len(scores),
        float(odds[order[best - 1]]) if best else 0.0,
        float(edges[widest] + edges[widest + 1]) / 2,
    )
