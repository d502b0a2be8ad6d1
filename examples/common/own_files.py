"""The files of a run, read and checked together: texts, labels, and what the labels mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers.utils import logging

from .columns import ColumnFlags, Columns, choose_columns
from .files import read_table
from .labels import Labels, ModelLabels, read_labels
from .splits import LABEL, on_disk
from .tables import Table, number_of

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["FileData", "read_files"]

logger = logging.get_logger("transformers.examples.own_files")


@dataclass(frozen=True)
class FileData:
    """What was read.

    Attributes:
        splits: By name; the columns of the text and, where they are needed, ``label``: a class's name, a value, or a
            list of classes' names.
        columns: The columns of the text.
        label_columns: Where the labels stood.
        names: The classes in the order of their ids; none for values, or where only the model knows.
        problem: What the labels are; None where there are none, and the model is not known.
    """

    splits: dict[str, Dataset]
    columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    names: tuple[str, ...]
    problem: str | None


def read_files(
    paths: Mapping[str, str],
    flags: ColumnFlags | None = None,
    problem: str | None = None,
    model: ModelLabels | None = None,
    encoding: str | None = None,
) -> FileData:
    """Read the files of a run, and check that they fit together.

    Args:
        paths: A file for each of ``train``, ``validation``, further validation splits and ``test`` that the run
            needs, in this order; all but ``test`` have labels.
        flags: Which columns the user means.
        problem: What the user says the labels are.
        model: What the model predicts, where it is not trained.
        encoding: The files' encoding; None finds out.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a column is lacking or not clear, a file has no rows, or a label is missing, of another kind
            than the others, or was never seen in training.
    """
    tables = {name: read_table(path, encoding) for name, path in paths.items()}
    for table in tables.values():
        if not table.rows:
            raise ValueError(f"'{table.source}' holds no examples.")
    labelled = [name for name in tables if name != "test"]
    first = tables[labelled[0] if labelled else next(iter(tables))]
    columns = choose_columns(first, flags or ColumnFlags(), bool(labelled))
    known = _check_problem(problem, model)
    labels: dict[str, Labels] = {}
    for name in labelled:
        labels[name] = read_labels(tables[name], columns.labels, known)
        known = labels[name].problem
    names = _names_of_training(labels["train"], tables["train"], columns) if "train" in labels else ()
    for other in (name for name in labelled if name != "train"):
        expected = names or (model.names if model is not None else ())
        labels[other] = _spell_alike(labels[other], expected, tables[other], of_training="train" in labels)
    splits = {name: _to_split(table, columns, labels.get(name)) for name, table in tables.items()}
    return FileData(splits, columns.texts, columns.labels, names, known)


def _check_problem(problem: str | None, model: ModelLabels | None) -> str | None:
    if problem is not None and model is not None and problem != model.problem:
        raise ValueError(
            f"--problem_type is {problem}, but the model was trained for {model.problem.replace('_', ' ')}; leave the "
            "flag out, or train."
        )
    return model.problem if model is not None else problem


def _names_of_training(labels: Labels, table: Table, columns: Columns) -> tuple[str, ...]:
    """Give the classes; those of several columns are the columns, in their order, also where one is never 1."""
    names = tuple(columns.labels) if len(columns.labels) > 1 else labels.names
    if labels.problem == "single_label_classification" and len(names) < 2:
        raise ValueError(f"All labels of '{table.source}' are '{names[0]}'; a classifier needs two classes or more.")
    if labels.problem == "multi_label_classification" and len(names) < 2:
        raise ValueError(
            f"'{table.source}' has {len(names)} class(es) in its lists of labels; a classifier of several classes "
            "needs two or more."
        )
    return names


# Labels of the other splits ---------------------------------------------------------------------------------------


def _spell_alike(labels: Labels, names: Sequence[str], table: Table, of_training: bool) -> Labels:
    """Spell the classes as training or the model does, and refuse those that these do not know."""
    if labels.problem == "regression" or not names:
        return labels
    several = labels.problem == "multi_label_classification"
    spelled = {name: _find_name(name, names) for name in labels.names}
    unknown = [name for name, found in spelled.items() if found is None]
    if unknown and of_training:
        raise ValueError(
            f"'{table.source}' has labels that training never sees: {', '.join(unknown)}. Those of the training set "
            f"are {', '.join(names)}."
        )
    if unknown:
        raise ValueError(
            f"The label '{unknown[0]}' of '{table.source}' is not among the model's classes: {', '.join(names)}."
        )
    changed = [f"'{name}' as '{found}'" for name, found in spelled.items() if name != found]
    if changed:
        logger.warning("Labels of '%s' are read %s.", table.source, ", ".join(changed[:5]))
    values = [[spelled[name] for name in row] if several else spelled[row] for row in labels.values]
    return Labels(labels.problem, values)


def _find_name(name: str, names: Sequence[str]) -> str | None:
    """Find the class of a label: the same text, the same number, or the only one that differs in case."""
    if name in names:
        return name
    number = number_of(name)
    if number is not None:
        same = [each for each in names if number_of(each) == number and not _has_zeros(each) and not _has_zeros(name)]
        generic = all(each == f"LABEL_{index}" for index, each in enumerate(names))
        if generic and number in range(len(names)):
            same = [names[int(number)]]
    else:
        same = [each for each in names if each.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def _has_zeros(name: str) -> bool:
    """Say whether zeros in front make a number a name, as ``007`` is."""
    digits = name.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1] != "."


# Splits -----------------------------------------------------------------------------------------------------------


def _to_split(table: Table, columns: Columns, labels: Labels | None) -> Dataset:
    from datasets import Dataset, Features, List, Value

    content: dict[str, Any] = {name: table.texts(name) for name in columns.texts}
    features: dict[str, Any] = {name: Value("string") for name in columns.texts}
    if labels is not None:
        content[LABEL] = labels.values
        kinds = {"regression": Value("float64"), "multi_label_classification": List(Value("string"))}
        features[LABEL] = kinds.get(labels.problem, Value("string"))
    if "idx" in table.columns and "idx" not in content and labels is None:
        content["idx"], features["idx"] = table.columns["idx"], Value("string")
    return on_disk(Dataset.from_dict(content, features=Features(features)))
