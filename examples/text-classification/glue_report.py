"""What the report tells of labelled texts: it hands outputs, labels and texts to what counts and draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.reporting.classified import describe_classified, predicted_rows
from common.reporting.data_facts import Split, describe_data
from common.reporting.examined import Evaluations, Examined
from common.reporting.examples import Examples
from common.splits import LABEL, column
from glue_data import TextData

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["examine"]


def examine(data: TextData, evaluations: Evaluations, id2label: Mapping[int, str], max_length: int) -> Examined:
    """Say how the run is reported.

    Args:
        data: The texts, tokenized.
        evaluations: What the last evaluation of each split gave.
        id2label: The model's classes.
        max_length: Tokens that are read at most.
    """
    problem = data.problem or "single_label_classification"
    names = [] if problem == "regression" else [id2label[index] for index in range(len(id2label))]
    found = {name: prediction for name, prediction in evaluations.by_split.items() if name in data.validation}

    def joined() -> tuple[NDArray[Any], NDArray[Any]]:
        outputs = [each.predictions for each in found.values()]
        logits = [np.asarray(each[0] if isinstance(each, tuple) else each) for each in outputs]
        return np.concatenate(logits), np.concatenate([np.asarray(each.label_ids) for each in found.values()])

    def figures() -> dict[str, Any]:
        facts = {"data": describe_data(_splits(data), max_length)}
        if not found:
            return facts
        examples = _examples(data, list(found))
        return {**describe_classified(*joined(), problem, names, data.metrics, examples), **facts}

    def rows() -> Iterator[dict[str, Any]]:
        if found:
            examples = _examples(data, list(found))
            for row, predicted in enumerate(predicted_rows(*joined(), problem, names)):
                texts = {name: column[row] for name, column in examples.texts.items()}
                yield {"source": examples.sources[row], **predicted, "texts": texts}

    return Examined(figures, rows)


def _lengths(split: Dataset) -> NDArray[np.int64]:
    """Give the number of tokens of each text, without padding."""
    masks = split.with_format("arrow")["attention_mask"].combine_chunks()
    if hasattr(masks, "value_lengths"):
        sums = np.concatenate([[0], np.cumsum(np.asarray(masks.flatten()))])
        ends = np.cumsum(np.asarray(masks.value_lengths()))
        return np.diff(sums[np.concatenate([[0], ends])]).astype(np.int64)
    return np.asarray([sum(mask) for mask in split["attention_mask"]], dtype=np.int64)


def _examples(data: TextData, names: Sequence[str]) -> Examples:
    sizes = {name: len(data.validation[name]) for name in names}
    return Examples(
        texts={column: [text for name in names for text in data.raw[name][column]] for column in data.columns},
        tokens=np.concatenate([_lengths(data.validation[name]) for name in names]),
        cut=np.concatenate([data.cut[name] for name in names]),
        sources=[name for name, size in sizes.items() for _ in range(size)],
    )


def _splits(data: TextData) -> dict[str, Split]:
    tokenized = {**({"train": data.train} if data.train is not None else {}), **data.validation, **data.test}
    return {name: _split(data, name, tokenized[name]) for name in tokenized}


def _split(data: TextData, name: str, tokenized: Dataset) -> Split:
    raw = data.raw[name]
    labels: list[str] | None = None
    counts: dict[str, int] | None = None
    if LABEL in raw.column_names and name not in data.test:
        values = column(raw, LABEL)
        if data.problem == "multi_label_classification":
            labels = [", ".join(sorted(row)) for row in values]
            counts = dict(Counter(label for row in values for label in row))
        else:
            labels = [str(value) for value in values]
            counts = {} if data.problem == "regression" else None
    texts = [column(raw, name) for name in data.columns]
    return Split(texts, labels, _lengths(tokenized), data.cut[name], counts=counts)
