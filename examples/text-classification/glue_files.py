"""Texts of the user's own: which columns hold the text, and what the labels are."""

from __future__ import annotations

import csv
import glob
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glue_arguments import FILE_FORMATS
from glue_splits import LABEL, check_split, load_splits
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["read_files"]

logger = logging.get_logger("transformers.examples.glue_files")

_TEXT = ("string", "large_string")
_NUMBERS = ("float32", "float64")


def read_files(paths: dict[str, str]) -> tuple[dict[str, Dataset], tuple[str, ...], tuple[str, ...], bool]:
    """Read the files of a run, and check that they fit together.

    Args:
        paths: A file for each of ``train``, ``validation`` and ``test`` that the run needs.

    Returns:
        The splits by name, the columns of the text, the names of the classes (none for a regression, or where only a
        model knows them), and whether the labels are values.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a column is lacking, a split is empty, or a label is missing or was never seen in training.
    """
    splits = {name: _read_file(path) for name, path in paths.items()}
    first = next(iter(splits))
    columns = _text_columns(splits[first], paths[first])
    for name, split in splits.items():
        check_split(split, paths[name], columns if name == "test" else (*columns, LABEL))
        splits[name] = _with_text(split, columns)
    labels, regression = _labels_of(splits, paths)
    if "validation" in splits and regression:
        _check_values(splits["validation"], paths["validation"])
    elif "validation" in splits and "train" in splits:
        _check_labels_known(splits["validation"], paths["validation"], labels)
    return splits, columns, labels, regression


def _read_file(path: str) -> Dataset:
    suffix = Path(path).suffix.lower()
    if Path(path).stat().st_size == 0:
        raise ValueError(f"'{path}' is empty; rows with text were expected.")
    options: dict[str, Any] = {}
    if FILE_FORMATS[suffix] == "csv":
        options = {"keep_default_na": False, "na_values": [""]}  # a text may be "None" or "NA"
    if suffix == ".tsv":  # as GLUE's are: quotation marks are a part of the text
        options |= {"sep": "\t", "quoting": csv.QUOTE_NONE}
    return load_splits(FILE_FORMATS[suffix], data_files={"split": glob.escape(path)}, **options)["split"]


# Text ---------------------------------------------------------------------------------------------------------


def _text_columns(split: Dataset, source: str) -> tuple[str, ...]:
    """Find the text: ``sentence1`` and ``sentence2``, or ``sentence``, or the first two columns that hold text."""
    names = [name for name in split.column_names if name != LABEL and _kind(split, name) in _TEXT]
    if not names:
        raise ValueError(
            f"'{source}' has no column of text; its columns are {', '.join(split.column_names) or '(none)'}. Expected "
            "'sentence', or 'sentence1' and 'sentence2', or other columns of text, and 'label'."
        )
    known = next((known for known in (("sentence1", "sentence2"), ("sentence",)) if set(known) <= set(names)), None)
    chosen = known or tuple(names[:2])
    ignored = [name for name in names if name not in chosen]
    if ignored:
        logger.warning(
            "The text is in %s; the columns of text %s are not used. Name those that are meant 'sentence', or "
            "'sentence1' and 'sentence2'.",
            " and ".join(f"'{name}'" for name in chosen),
            ", ".join(f"'{name}'" for name in ignored),
        )
    return chosen


def _kind(split: Dataset, column: str) -> str | None:
    """Give the type of a column's values; None for lists and objects."""
    return getattr(split.features[column], "dtype", None)


def _with_text(split: Dataset, columns: Sequence[str]) -> Dataset:
    """Take numbers for text in a column whose texts happen to be numbers in one of the files."""
    from datasets import Value

    for column in columns:
        if _kind(split, column) not in _TEXT:
            split = split.cast_column(column, Value("string"))
    return split


# Labels -------------------------------------------------------------------------------------------------------


def _labels_of(splits: dict[str, Dataset], paths: dict[str, str]) -> tuple[tuple[str, ...], bool]:
    """Read the classes off the training split: values with a fraction mean regression."""
    name = next((name for name in ("train", "validation") if name in splits), None)
    if name is None:
        return (), False
    labelled, source = splits[name], paths[name]
    kind = _kind(labelled, LABEL)
    if kind is None or not kind.startswith(("int", "uint", "float", "bool", "string", "large_string")):
        raise ValueError(
            f"The column 'label' of '{source}' holds lists or objects, or several types; one type of name "
            "or number was expected."
        )
    if kind in _NUMBERS:
        _check_values(labelled, source)
        logger.info("The labels of '%s' are values with a fraction: this is a regression.", source)
        return (), True
    if name == "validation":
        return (), False  # the model knows its classes
    labels = tuple(str(label) for label in sorted(labelled.unique(LABEL)))
    if len(labels) < 2:
        raise ValueError(f"All labels of '{source}' are '{labels[0]}'; a classifier needs two classes or more.")
    return labels, False


def _check_values(split: Dataset, source: str) -> None:
    """Refuse labels that are no numbers in a regression."""
    if not (_kind(split, LABEL) or "").startswith(("int", "uint", "float")):
        raise ValueError(
            f"'{source}' has the label '{split[0][LABEL]}', but this is a regression; numbers were expected."
        )
    row = next((row for row, value in enumerate(split[LABEL], start=1) if not math.isfinite(value)), None)
    if row is not None:
        raise ValueError(f"The label of row {row} of '{source}' is {split[row - 1][LABEL]}; a number was expected.")


def _check_labels_known(split: Dataset, source: str, labels: Sequence[str]) -> None:
    unknown = sorted({str(label) for label in split.unique(LABEL)} - set(labels))
    if unknown:
        raise ValueError(
            f"'{source}' has labels that training never sees: {', '.join(unknown)}. Those of the training set are "
            f"{', '.join(labels)}."
        )
