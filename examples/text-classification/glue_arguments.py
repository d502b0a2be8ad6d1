"""The flags of run_glue.py beside the Trainer's, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.arguments import ModelArguments, check_model_arguments, check_texts, flag_help
from common.data_flags import SizeFlags, check_files, check_sizes, files_of
from common.files import FILE_FORMATS
from common.labels import PROBLEMS
from common.reporting.flags import ReportFlags
from glue_tasks import TASKS
from transformers import TrainingArguments

__all__ = ["DataTrainingArguments", "ModelArguments", "check_arguments"]


@dataclass
class DataTrainingArguments(SizeFlags, ReportFlags):
    """Which texts to train on: a GLUE task by name, or files of your own."""

    task_name: str | None = field(default=None, metadata=flag_help(f"A GLUE task: {', '.join(TASKS)}."))
    glue_dataset: str = field(
        default="nyu-mll/glue",
        metadata=flag_help("Where the GLUE tasks are: a hub id, or a local folder laid out like it."),
    )
    train_file: str | None = field(
        default=None,
        metadata=flag_help("Your own training texts (csv, tsv, json, jsonl): a column of labels, one or two of text."),
    )
    validation_file: str | None = field(default=None, metadata=flag_help("Your own validation texts, labelled."))
    more_validation_files: list[str] | None = field(
        default=None,
        metadata=flag_help(
            "Further validation texts, each file with figures of its own after its name; the first file alone is "
            "evaluated during training."
        ),
    )
    test_file: str | None = field(
        default=None, metadata=flag_help("Your own texts to predict; labels are not needed.")
    )
    text_column: str | None = field(
        default=None, metadata=flag_help("The column of your files that holds the text, or the first of a pair.")
    )
    text_pair_column: str | None = field(
        default=None, metadata=flag_help("The column that holds the second text of a pair.")
    )
    label_column: list[str] | None = field(
        default=None,
        metadata=flag_help("The column that holds the label; several are columns of 0 and 1, one for each class."),
    )
    problem_type: str | None = field(
        default=None,
        metadata=flag_help("What the labels of your files are, if not what they look like.", choices=list(PROBLEMS)),
    )


def check_arguments(model_args: ModelArguments, data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    """Refuse flags that contradict each other, before anything is loaded.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file does not exist.
    """
    check_texts(model_args, data_args, args)
    check_model_arguments(model_args, args)
    if not data_args.glue_dataset.strip():
        raise ValueError("--glue_dataset is empty; a name was expected.")
    _check_data(data_args, args)


def _check_data(data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    files = files_of(data_args)
    needed = dict(zip(files, (args.do_train, args.do_eval, args.do_predict), strict=True))
    if data_args.task_name is not None:
        data_args.task_name = data_args.task_name.lower()
        if data_args.task_name not in TASKS:
            raise ValueError(f"--task_name {data_args.task_name} is no GLUE task; choose from {', '.join(TASKS)}.")
        given = [flag for flag, path in files.items() if path is not None]
        if given:
            raise ValueError(f"--task_name and {given[0]} exclude each other: a GLUE task, or files of your own.")
    else:
        lacking = [flag for flag, path in files.items() if needed[flag] and path is None]
        if lacking:
            raise ValueError(f"give --task_name (a GLUE task), or {' and '.join(lacking)} (files of your own).")
    check_files(files, FILE_FORMATS)
    _check_more_files(data_args)
    _check_columns(data_args)
    check_sizes(data_args)


def _check_more_files(data_args: DataTrainingArguments) -> None:
    """Refuse further validation files without a first one, that cannot be read, or whose figures had one name."""
    more = data_args.more_validation_files or []
    if more and data_args.validation_file is None:
        raise ValueError("--more_validation_files needs --validation_file, the one to choose the best weights by.")
    names = [Path(path).stem for path in more]
    for path, name in zip(more, names, strict=True):
        check_files({"--more_validation_files": path}, FILE_FORMATS)
        if names.count(name) > 1 or name in ("train", "validation", "test", "mm"):
            raise ValueError(
                f"--more_validation_files {path}: figures are named after the files, so '{name}' must be the name of "
                "one alone, and none of train, validation, test and mm."
            )


def _check_columns(data_args: DataTrainingArguments) -> None:
    """Refuse flags about columns that say nothing of a GLUE task, or half of a pair."""
    names = ("text_column", "text_pair_column", "label_column", "problem_type", "file_encoding")
    given = [name for name in names if getattr(data_args, name) is not None]
    if given and data_args.task_name is not None:
        raise ValueError(f"--{given[0]} is for files of your own, and --task_name is a GLUE task; leave one out.")
    if data_args.text_pair_column is not None and data_args.text_column is None:
        raise ValueError("--text_pair_column needs --text_column: the first text of the pair.")
    chosen = [data_args.text_column, data_args.text_pair_column, *(data_args.label_column or ())]
    twice = next((name for name in chosen if name is not None and chosen.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--text_column, --text_pair_column and --label_column name the column '{twice}' twice.")
