"""What the report tells of endings: how often the right one is chosen, and the surest wrong choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from choice_data import CONTEXT, CUT, ENDINGS, LABEL, ChoiceData
from common.reporting.classified import describe_classified, predicted_rows
from common.reporting.data_facts import Split, describe_data
from common.reporting.examined import Evaluations, Examined
from common.reporting.examples import Examples
from common.splits import column

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["examine"]

_SPLIT = "validation"
_PROBLEM = "single_label_classification"


def examine(data: ChoiceData, evaluations: Evaluations, max_length: int) -> Examined:
    """Say how the run is reported.

    Args:
        data: The examples, tokenized.
        evaluations: What the last evaluation gave.
        max_length: Tokens that are read at most of a context with an ending.
    """
    found = evaluations.by_split.get(_SPLIT)

    def figures() -> dict[str, Any]:
        facts = {"data": describe_data(_splits(data), max_length)}
        if found is None:
            return facts
        split = data.validation[_SPLIT]
        logits = np.asarray(found.predictions)
        names = [f"ending {number}" for number in range(logits.shape[1])]
        labels = np.asarray(found.label_ids)
        return {**describe_classified(logits, labels, _PROBLEM, names, ("accuracy",), _examples(split)), **facts}

    def rows() -> Iterator[dict[str, Any]]:
        if found is not None:
            split, logits = data.validation[_SPLIT], np.asarray(found.predictions)
            names = [str(number) for number in range(logits.shape[1])]
            predicted = predicted_rows(logits, np.asarray(found.label_ids), _PROBLEM, names)
            for row, context, endings in zip(predicted, column(split, CONTEXT), column(split, ENDINGS), strict=True):
                yield {"source": _SPLIT, **row, "texts": {"context": context, "endings": list(endings)}}

    return Examined(figures, rows)


def _examples(split: Dataset) -> Examples:
    endings = list(zip(*column(split, ENDINGS), strict=True))
    return Examples(
        texts={"context": column(split, CONTEXT)} | {f"{number}": texts for number, texts in enumerate(endings)},
        tokens=_tokens(split),
        cut=np.asarray(column(split, CUT)) > 0,
        sources=[_SPLIT] * len(split),
    )


def _tokens(split: Dataset) -> NDArray[np.int64]:
    """Give the tokens of each context with its longest ending."""
    return np.asarray([max(map(sum, masks)) for masks in split["attention_mask"]], dtype=np.int64)


def _splits(data: ChoiceData) -> dict[str, Split]:
    found = {**({"train": data.train} if data.train is not None else {}), **data.validation, **data.test}
    splits = {}
    for name, split in found.items():
        labels = [str(label) for label in column(split, LABEL)] if LABEL in split.column_names else None
        splits[name] = Split(
            texts=[column(split, CONTEXT), [" | ".join(endings) for endings in column(split, ENDINGS)]],
            labels=labels,
            tokens=_tokens(split),
            cut=np.asarray(column(split, CUT)) > 0,
            counts=dict(Counter(f"ending {label}" for label in labels or ())),
        )
    return splits
