"""How many texts of a file a classifier labels rightly, whatever computes its scores.

Letters in shapes: ``B`` batch, ``L`` padded length, ``N`` labels.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configuration_utils import PretrainedConfig
from ..tokenization_utils_base import PreTrainedTokenizerBase

__all__ = ["Batch", "LabelledTexts", "accuracy"]

Batch = tuple[dict[str, Tensor], Tensor]
"""Inputs, each of shape (B, L), and labels, shape (B,)."""

_ROWS = 32  # of a batch


class LabelledTexts:
    """Texts and their labels, of a file.

    Args:
        path: A ``.csv`` or ``.tsv`` file with a header, or a ``.jsonl`` file with an object a line.
        columns: The columns with the texts: one or two.
        label_column: The column with the labels' names or numbers.
        config: Names the labels.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is of another kind, is empty, lacks a column, or has a label that the model does not have.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str],
        label_column: str,
        config: PretrainedConfig,
    ) -> None:
        rows = _rows_of(Path(path))
        for number, row in enumerate(rows, start=1):
            missing = [column for column in (*columns, label_column) if row.get(column) is None]
            if missing:
                raise ValueError(
                    f"'{os.fspath(path)}' has no '{missing[0]}' in row {number}; it has "
                    f"{', '.join(str(name) for name, value in row.items() if value is not None)}."
                )
        self.texts = [[str(row[column]) for row in rows] for column in columns]
        numbers = {**{str(number): number for number in config.id2label}, **config.label2id}
        unknown = next((str(row[label_column]) for row in rows if str(row[label_column]) not in numbers), None)
        if unknown is not None:
            names = ", ".join(config.label2id)
            raise ValueError(f"'{os.fspath(path)}' has the label '{unknown}'; those of the model are {names}.")
        self.labels = torch.tensor([numbers[str(row[label_column])] for row in rows])

    def batches(self, tokenizer: PreTrainedTokenizerBase, longest: int | None) -> list[Batch]:
        """Encode the texts, texts of like length together.

        Args:
            tokenizer: The model's.
            longest: The most tokens of a text, to which longer ones are cut; None for the tokenizer's own limit.
        """
        order = sorted(range(len(self.labels)), key=lambda row: sum(len(texts[row]) for texts in self.texts))
        found = []
        for start in range(0, len(order), _ROWS):
            rows = order[start : start + _ROWS]
            texts, *pairs = ([column[row] for row in rows] for column in self.texts)
            second = pairs[0] if pairs else None
            inputs = tokenizer(texts, second, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            found.append((dict(inputs), self.labels[rows]))
        return found


def _rows_of(path: Path) -> list[Mapping[str, Any]]:
    """Read a table."""
    if path.suffix not in (".csv", ".tsv", ".jsonl"):
        raise ValueError(f"'{path}' ends in '{path.suffix}'; a .csv, .tsv or .jsonl file was expected.")
    lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    rows: list[Any]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines if line.strip()]
    elif path.suffix == ".tsv":
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    else:
        rows = list(csv.DictReader(lines))
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(f"'{path}' has no rows, or a line that is no JSON object.")
    return rows


def accuracy(score: Callable[[dict[str, Tensor]], Tensor], batches: Sequence[Batch]) -> float:
    """Give the share of texts that are labelled rightly.

    Args:
        score: Gives the scores of a batch's labels. Shape: (B, N).
        batches: As of `LabelledTexts.batches`.
    """
    right = sum(int((score(inputs).argmax(-1) == labels).sum()) for inputs, labels in batches)
    return right / sum(len(labels) for _, labels in batches)
