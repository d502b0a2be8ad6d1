"""The flags that say how much of the data is used, and in what form; each example adds which data these are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from .arguments import flag_help

__all__ = ["SizeFlags", "check_files", "check_needed_files", "check_sizes", "files_of"]


@dataclass(kw_only=True)
class SizeFlags:
    """How long the texts are that the model reads, and how many of them are used."""

    file_encoding: str | None = field(
        default=None, metadata=flag_help("The encoding of your files, where they are not in UTF-8 or UTF-16.")
    )
    max_seq_length: int = field(default=128, metadata=flag_help("Longer texts are cut to this many tokens."))
    pad_to_max_length: bool = field(
        default=False,
        metadata=flag_help("Pad every text to max_seq_length. Padding costs no computation here; results are equal."),
    )
    overwrite_cache: bool = field(default=False, metadata=flag_help("Tokenize again instead of reading the cache."))
    max_train_samples: int | None = field(default=None, metadata=flag_help("Use the first so many training examples."))
    max_val_samples: int | None = field(
        default=None,
        metadata=flag_help("Use the first so many validation examples.", aliases=["--max_eval_samples"]),
    )
    max_test_samples: int | None = field(
        default=None, metadata=flag_help("Predict the first so many test examples.", aliases=["--max_predict_samples"])
    )


def files_of(data_args: Any) -> dict[str, str | None]:
    """Give the files that were named, by their flags; None for those that were not."""
    return {f"--{name}": getattr(data_args, name) for name in ("train_file", "validation_file", "test_file")}


def check_needed_files(
    data_args: Any,
    args: TrainingArguments,
    what: str,
    endings: Collection[str] | None = None,
    *,
    shares_training: bool = False,
) -> None:
    """Refuse a run that lacks a file for what it is to do, and files that cannot be read.

    Args:
        data_args: Name the files.
        args: Say what is to be done.
        what: What the files hold, for the message.
        endings: As of `check_files`.
        shares_training: Whether a share of the training file is evaluated on where there is no validation file.

    Raises:
        ValueError: If one is lacking, or its name ends otherwise.
        OSError: If there is no such file.
    """
    files = files_of(data_args)
    evaluates = args.do_eval or args.evaluation_strategy != "no"
    needed = {
        "--train_file": args.do_train,
        "--validation_file": evaluates and not (shares_training and args.do_train),
        "--test_file": args.do_predict,
    }
    lacking = [flag for flag, path in files.items() if needed[flag] and path is None]
    if lacking:
        raise ValueError(f"give {' and '.join(lacking)}: {what}.")
    check_files(files, endings)


def check_files(files: Mapping[str, str | None], endings: Collection[str] | None = None) -> None:
    """Refuse files that are not there, or whose names end otherwise than any that is read.

    Args:
        files: By flag.
        endings: Those that are read; None reads any.

    Raises:
        ValueError: If a name ends otherwise.
        OSError: If there is no such file.
    """
    for flag, path in files.items():
        if path is not None and not Path(path).is_file():
            raise OSError(f"{flag} {path}: there is no such file.")
        if path is not None and endings is not None and Path(path).suffix.lower() not in endings:
            raise ValueError(f"{flag} {path}: expected a file that ends in {', '.join(endings)}.")


def check_sizes(data_args: SizeFlags) -> None:
    """Refuse a length into which no text fits, and numbers of examples below 1.

    Raises:
        ValueError: If one was given.
    """
    if data_args.max_seq_length is not None and data_args.max_seq_length < 4:
        raise ValueError(f"--max_seq_length is {data_args.max_seq_length}; no text fits into that.")
    for name in ("max_train_samples", "max_val_samples", "max_test_samples"):
        number = getattr(data_args, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name} is {number}; at least 1 was expected.")
