"""From the model's output to a tag for every word, the figures of these, and a file of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.splits import column
from ner_data import TAGS, SentenceData
from ner_scores import score
from ner_tokens import FIRST
from transformers import EvalPrediction
from transformers.utils.writing import replacing

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

__all__ = ["best_labels", "make_compute_metrics", "tags_of", "write_predictions"]


def best_labels(logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Keep of each token's logits the best label and its probability alone, so that an evaluation takes little memory.

    Args:
        logits: Shape: (batch, length, labels).
        labels: Not needed.
    """
    probabilities, best = logits.float().softmax(-1).max(-1)
    return best, probabilities


def tags_of(best: Any, split: Dataset, id2label: Mapping[int, str]) -> list[list[str]]:
    """Give every word of a split a tag: that of its first token; O where none is left of it.

    Args:
        best: The best label of each token, in the order of the split. Shape: (sentences, longest).
        split: A tokenized split.
        id2label: The model's labels.
    """
    return [
        ["O" if place < 0 else id2label[int(row[place])] for place in first]
        for row, first in zip(np.asarray(best), column(split, FIRST), strict=True)
    ]


def make_compute_metrics(
    data: SentenceData, id2label: Mapping[int, str]
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make the function that the Trainer calls after each evaluation; it scores all words, those that are cut too."""

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        split = data.validation["validation"]
        predicted = tags_of(prediction.predictions[0], split, id2label)
        return score(column(split, TAGS), predicted, data.strict, data.types)

    return compute_metrics


def write_predictions(path: Path, words: Iterable[Sequence[str]], tags: Iterable[Sequence[str]]) -> None:
    """Write a word, a tab and its tag a line, and a blank line after each sentence.

    Args:
        path: The file.
        words: Of each sentence.
        tags: As many predicted ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        for row, predicted in zip(words, tags, strict=True):
            file.writelines(f"{word}\t{tag}\n" for word, tag in zip(row, predicted, strict=True))
            file.write("\n")
