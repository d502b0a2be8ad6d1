"""What the report tells of hidden words: how well they are found, with intervals, and how many there were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.reporting.examined import Evaluations, Examined
from common.reporting.figures import table_of
from common.reporting.resampling import Values, interval_of_sums
from mlm_data import MaskedData

__all__ = ["examine"]

_SPLIT = "validation"


def examine(data: MaskedData, evaluations: Evaluations, max_length: int) -> Examined:
    """Say how the run is reported.

    Args:
        data: The sequences.
        evaluations: What the last evaluation gave.
        max_length: Tokens of a sequence.
    """
    found = evaluations.by_split.get(_SPLIT)

    def figures() -> dict[str, Any]:
        splits = {**({"train": data.train} if data.train is not None else {}), **data.validation}
        lengths = {name: {"examples": len(split)} for name, split in splits.items()}
        facts = {"data": {"labels": {}, "lengths": lengths, "max_seq_length": max_length}}
        if found is None:
            return facts
        sums = np.asarray(found.predictions, dtype=np.float64)
        low, high = interval_of_sums(sums, _statistic)
        values = _statistic(sums.sum(axis=0, keepdims=True))[0]
        return {"examples": len(sums), "metrics": table_of(_NAMES, values, low, high), **facts}

    def rows() -> Iterator[dict[str, Any]]:
        for loss, right, hidden in [] if found is None else np.asarray(found.predictions).tolist():
            yield {"source": _SPLIT, "loss": loss / max(hidden, 1), "found": int(right), "hidden": int(hidden)}

    return Examined(figures, rows)


_NAMES = ("perplexity", "mask_accuracy", "loss")


def _statistic(sums: Values) -> Values:
    """From sums of losses, found and hidden tokens to the figures."""
    loss = sums[:, 0] / sums[:, 2]
    with np.errstate(over="ignore"):
        return np.column_stack([np.exp(loss), sums[:, 1] / sums[:, 2], loss])
