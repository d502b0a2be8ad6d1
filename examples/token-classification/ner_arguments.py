"""The flags of run_ner.py beside the Trainer's, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.arguments import ModelArguments, check_model_arguments, check_texts, flag_help, refuse_flags_of_classifiers
from common.data_flags import SizeFlags, check_needed_files, check_sizes
from common.reporting.flags import ReportFlags
from transformers import TrainingArguments

__all__ = ["DataTrainingArguments", "check_arguments"]


@dataclass
class DataTrainingArguments(SizeFlags, ReportFlags):
    """Which sentences to train on: files of columns (CoNLL), or JSON."""

    train_file: str | None = field(
        default=None,
        metadata=flag_help("Training sentences: a token and its tag a line (CoNLL), or json, jsonl with lists."),
    )
    validation_file: str | None = field(
        default=None, metadata=flag_help("Validation sentences, tagged; without any a share of the training ones.")
    )
    test_file: str | None = field(
        default=None, metadata=flag_help("Sentences to predict; tags are not needed, and scored where they are there.")
    )
    validation_share: float = field(
        default=0.1,
        metadata=flag_help("The share of the training sentences to evaluate on where there is no --validation_file."),
    )
    token_column: str | None = field(
        default=None,
        metadata=flag_help("Where the tokens are: a column's number, from 1 on (the first), or a name in JSON."),
    )
    label_column: str | None = field(
        default=None,
        metadata=flag_help("Where the tags are: a column's number, from 1 on (the last), or a name in JSON."),
    )
    tag_names: list[str] | None = field(
        default=None, metadata=flag_help("The tags in the order of their numbers, where files hold numbers.")
    )
    label_all_tokens: bool = field(
        default=False,
        metadata=flag_help("Learn a word's tag on each of its pieces (B- as I- from the second on), not the first."),
    )
    max_seq_length: int | None = field(  # type: ignore[assignment]
        default=None,
        metadata=flag_help("Cut sentences to this many tokens; unset, any that the model cannot read is refused."),
    )


def check_arguments(model_args: ModelArguments, data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    """Refuse flags that contradict each other, before anything is loaded.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file does not exist.
    """
    check_texts(model_args, data_args, args)
    check_model_arguments(model_args, args)
    refuse_flags_of_classifiers(model_args, args)
    check_needed_files(data_args, args, "sentences of columns (CoNLL) or JSON", shares_training=True)
    check_sizes(data_args)
    if data_args.pad_to_max_length and data_args.max_seq_length is None:
        raise ValueError("--pad_to_max_length needs --max_seq_length: the length to pad to.")
    if not 0 < data_args.validation_share < 1:
        raise ValueError(f"--validation_share is {data_args.validation_share}; a share between 0 and 1 was expected.")
    names = data_args.tag_names or []
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--tag_names names '{twice}' twice; each tag has one number.")
