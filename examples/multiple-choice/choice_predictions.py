"""Predicted endings as a file, each beside its example.

Letters in shapes: ``E`` examples, ``C`` choices.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from choice_data import CONTEXT, ENDINGS
from common.metrics import probabilities
from common.splits import column
from common.tables import write_table

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["write_predictions"]


def write_predictions(path: Path, logits: NDArray[np.floating], split: Dataset) -> None:
    """Write the predicted endings.

    The columns are ``index``, ``prediction`` (the ending's number, from 0 on), ``probability``, ``context`` and
    ``ending``.

    Args:
        path: The file.
        logits: The model's output. Shape: (E, C).
        split: The examples.
    """
    chosen = np.argmax(logits, axis=-1).tolist()
    shares = probabilities(logits, "single_label_classification")
    rows = (
        (index, number, f"{shares[index, number]:.4f}", context, endings[number])
        for index, (number, context, endings) in enumerate(
            zip(chosen, column(split, CONTEXT), column(split, ENDINGS), strict=True)
        )
    )
    write_table(path, ["index", "prediction", "probability", "context", "ending"], rows)
