"""Predictions as files: as the GLUE server takes them, or with text and probability for texts of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.metrics import predicted_values, probabilities
from common.splits import column
from common.tables import write_table
from glue_tasks import GlueTask

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["write_glue_predictions", "write_predictions"]


def write_glue_predictions(
    path: Path, logits: object, split: Dataset, task: GlueTask, problem: str, id2label: Mapping[int, str]
) -> None:
    """Write one test split's predictions in the form that the GLUE server takes: ``index<TAB>prediction``.

    Args:
        path: The file, of the task's name on the server.
        logits: The model's output. Shape: (examples, labels).
        split: The split; its ``idx`` column, where it has a whole one, numbers the rows.
        task: Says how the server spells a prediction.
        problem: The model's problem type.
        id2label: The model's classes.
    """
    values = predicted_values(logits, problem)
    numbers = column(split, "idx") if "idx" in split.column_names else [None]
    rows: Iterable[Any] = range(len(values)) if None in numbers else numbers
    spelled = (_spell(value, task, id2label) for value in values)
    write_table(path, ["index", "prediction"], zip(rows, spelled, strict=True))


def _spell(value: Any, task: GlueTask, id2label: Mapping[int, str]) -> str:
    if not task.labels:
        return f"{float(np.clip(value, 0.0, 5.0)):.3f}"
    name = id2label[int(value)]
    if task.predict_names:
        return name
    return str([label.lower() for label in task.labels].index(name.lower()))


def write_predictions(
    path: Path, logits: object, texts: Mapping[str, Sequence[str]], problem: str, id2label: Mapping[int, str]
) -> None:
    """Write the predictions for texts of one's own, each beside its text.

    The columns are ``index``, ``prediction``, ``probability`` (of the class that is predicted; of every class, as a
    JSON object, where a text may have several; none for values), and the texts. Several predicted classes are a JSON
    list, which reads back as labels.

    Args:
        path: The file.
        logits: The model's output. Shape: (examples, labels).
        texts: The columns of the text, by name.
        problem: The model's problem type.
        id2label: The model's classes.
    """
    values = predicted_values(logits, problem)
    header = ["index", "prediction", *([] if problem == "regression" else ["probability"]), *texts]
    if problem == "regression":
        cells: Iterable[tuple[str, ...]] = ((f"{float(value):.3f}",) for value in values)
    elif problem == "multi_label_classification":
        cells = _several(values, probabilities(logits, problem), id2label)
    else:
        cells = _one(values, probabilities(logits, problem), id2label)
    columns = zip(*texts.values(), strict=True)
    rows = ((index, *cell, *text) for index, (cell, text) in enumerate(zip(cells, columns, strict=True)))
    write_table(path, header, rows)


def _one(values: NDArray[Any], shares: NDArray[Any], names: Mapping[int, str]) -> Iterable[tuple[str, ...]]:
    for value, row in zip(values, shares, strict=True):
        yield names[int(value)], f"{row[int(value)]:.4f}"


def _several(values: NDArray[Any], shares: NDArray[Any], names: Mapping[int, str]) -> Iterable[tuple[str, ...]]:
    for chosen, row in zip(values, shares, strict=True):
        predicted = [names[int(index)] for index in np.flatnonzero(chosen)]
        each = {names[index]: round(float(share), 4) for index, share in enumerate(row)}
        yield json.dumps(predicted, ensure_ascii=False), json.dumps(each, ensure_ascii=False)
