"""The labelled texts of a run, from a GLUE task or from files, with every problem named before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.columns import ColumnFlags
from common.identity import hash_rows
from common.labels import ModelLabels
from common.metrics import METRICS_OF_PROBLEM
from common.own_files import read_files
from common.splits import LABEL, check_split, column, first_rows, load_splits
from glue_arguments import DataTrainingArguments
from glue_tasks import TASKS, GlueTask
from transformers import TrainingArguments

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["TextData", "load_data"]


@dataclass
class TextData:
    """Labelled texts.

    Attributes:
        train: The training split; None where it is not needed.
        validation: Validation splits by name.
        test: Test splits by name.
        columns: The column of the text, or the two of a pair.
        labels: Names of the classes in the order of their ids; none for a regression, or where only a model knows.
        problem: What labels are: a problem type of `transformers.layers.losses`; None where only a model knows.
        task: The GLUE task; None for files.
        label_columns: Where files hold the labels.
        texts: The texts of the test splits of files, which go beside the predictions.
        hashes: Of the content of the training split and the first validation split, by name.
        raw: All splits as they are before they are tokenized, for the report.
        cut: Of each example whether some of it is not read, by the split's name; tokenizing finds it out.
    """

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    problem: str | None
    task: GlueTask | None
    label_columns: tuple[str, ...] = ()
    texts: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    raw: dict[str, Dataset] = field(default_factory=dict)
    cut: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the main one first."""
        if self.task is not None:
            return tuple(dict.fromkeys((self.task.main_metric, *self.task.metrics)))
        return METRICS_OF_PROBLEM[self.problem or "single_label_classification"]

    @property
    def combined(self) -> bool:
        """Whether the mean of the metrics is a figure of its own, as for GLUE's tasks with two of them."""
        return self.task is not None and len(self.task.metrics) > 1


def load_data(
    data_args: DataTrainingArguments,
    args: TrainingArguments,
    cache_dir: str | None = None,
    model: ModelLabels | None = None,
) -> TextData:
    """Load the splits that the run needs, and check them.

    Args:
        data_args: What to load.
        args: Says which splits are needed.
        cache_dir: Where downloads are kept.
        model: What the model predicts, where the run does not train it.

    Returns:
        The data, not yet tokenized.

    Raises:
        OSError: If the data set or a file cannot be read.
        ValueError: If a column is lacking, a split is empty, or a label is missing or was never seen in training.
    """
    is_glue = data_args.task_name is not None
    data = _load_glue(data_args, args, cache_dir) if is_glue else _load_files(data_args, args, model)
    limits = (data_args.max_train_samples, data_args.max_val_samples, data_args.max_test_samples)
    if data.train is not None:
        data.train = first_rows(data.train, limits[0])
    data.validation = {name: first_rows(split, limits[1]) for name, split in data.validation.items()}
    data.test = {name: first_rows(split, limits[2]) for name, split in data.test.items()}
    data.raw = {**({"train": data.train} if data.train is not None else {}), **data.validation, **data.test}
    if not is_glue:
        texts = {name: {each: column(split, each) for each in data.columns} for name, split in data.test.items()}
        data.texts = texts
    if data.train is not None:
        data.hashes = {"training": hash_rows(data.train, (*data.columns, LABEL))}
        if args.load_best_model_at_end:
            data.hashes["validation"] = hash_rows(next(iter(data.validation.values())), (*data.columns, LABEL))
    return data


def _load_files(data_args: DataTrainingArguments, args: TrainingArguments, model: ModelLabels | None) -> TextData:
    """Load files of the user's own."""
    needs_validation = args.do_eval or args.evaluation_strategy != "no"
    paths = {
        "train": data_args.train_file if args.do_train else None,
        "validation": data_args.validation_file if needs_validation else None,
    }
    more = [Path(path) for path in data_args.more_validation_files or () if needs_validation]
    paths |= {path.stem: str(path) for path in more}
    paths["test"] = data_args.test_file if args.do_predict else None
    if needs_validation and paths["validation"] is None:
        raise ValueError("--evaluation_strategy wants something to evaluate on: give --validation_file.")
    given = {name: path for name, path in paths.items() if path is not None}
    flags = ColumnFlags(data_args.text_column, data_args.text_pair_column, data_args.label_column)
    found = read_files(given, flags, data_args.problem_type, model, data_args.file_encoding)
    splits = found.splits
    return TextData(
        train=splits.get("train"),
        validation={name: split for name, split in splits.items() if name not in ("train", "test")},
        test={"test": splits["test"]} if "test" in splits else {},
        columns=found.columns,
        labels=found.names,
        problem=found.problem,
        task=None,
        label_columns=found.label_columns,
    )


# GLUE ---------------------------------------------------------------------------------------------------------


def _load_glue(data_args: DataTrainingArguments, args: TrainingArguments, cache_dir: str | None) -> TextData:
    """Load a GLUE task from the hub or a local folder."""
    name = data_args.task_name or ""
    task = TASKS[name]
    splits = load_splits(data_args.glue_dataset, name, cache_dir=cache_dir)
    wanted = {
        "train": ("train",) if args.do_train else (),
        "validation": task.validation_splits if args.do_eval or args.evaluation_strategy != "no" else (),
        "test": task.test_splits if args.do_predict else (),
    }
    for kind, names in wanted.items():
        for split in names:
            if split not in splits:
                raise ValueError(
                    f"'{data_args.glue_dataset}' has no split '{split}' of {name}; it has {', '.join(splits)}."
                )
            check_split(splits[split], f"{name} {split}", task.columns)
            if kind != "test":  # the labels of the test sets are secret
                splits[split] = _with_task_labels(splits[split], f"{name} {split}", task)
    return TextData(
        train=splits["train"] if wanted["train"] else None,
        validation={split: splits[split] for split in wanted["validation"]},
        test={split: splits[split] for split in wanted["test"]},
        columns=task.columns,
        labels=task.labels,
        problem="single_label_classification" if task.labels else "regression",
        task=task,
    )


def _with_task_labels(split: Dataset, source: str, task: GlueTask) -> Dataset:
    """Give the labels as the names of the task's classes, or as values; refuse any others.

    The data may hold names, or numbers: then their order is that of the data set's own names, where it says them.
    """
    from datasets import ClassLabel, Value

    check_split(split, source, (LABEL,))
    feature, labels = split.features[LABEL], column(split, LABEL)
    if task.labels:
        names = feature.names if isinstance(feature, ClassLabel) else task.labels
        spelling = {label: _class_name(label, names, task) for label in split.unique(LABEL)}
        read: list[str | float | None] = [spelling[label] for label in labels]
    else:
        read = [label if isinstance(label, int | float) and 0 <= label <= 5 else None for label in labels]
    if None in read:
        row = read.index(None)
        raise ValueError(
            f"The label of row {row + 1} of '{source}' is {labels[row]!r}; expected was "
            f"{' or '.join(task.labels) or 'a value from 0 to 5'}. (-1 marks the rows of a test set, whose labels are "
            "secret.)"
        )
    if not task.labels:
        return split
    return split.remove_columns(LABEL).add_column(LABEL, read, feature=Value("string"))


def _class_name(label: object, names: Sequence[str], task: GlueTask) -> str | None:
    """Give the task's name of a class; None for what is none."""
    if isinstance(label, int | float) and label in range(len(names)):
        label = names[int(label)]
    known = {name.lower(): name for name in task.labels}
    return known.get(str(label).lower())
