"""The flags of run_swag.py beside the Trainer's, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.arguments import ModelArguments, check_model_arguments, check_texts, flag_help, refuse_flags_of_classifiers
from common.data_flags import SizeFlags, check_needed_files, check_sizes
from common.files import FILE_FORMATS
from common.reporting.flags import ReportFlags
from transformers import TrainingArguments

__all__ = ["DataTrainingArguments", "check_arguments"]


@dataclass
class DataTrainingArguments(SizeFlags, ReportFlags):
    """Which examples to train on: files in SWAG's form, or a context and a list of endings."""

    train_file: str | None = field(
        default=None, metadata=flag_help("Training examples (csv, tsv, json, jsonl): sent1, sent2, ending0 …, label.")
    )
    validation_file: str | None = field(default=None, metadata=flag_help("Validation examples, of the same form."))
    test_file: str | None = field(
        default=None, metadata=flag_help("Examples to predict; labels are not needed, and scored where all have one.")
    )


def check_arguments(model_args: ModelArguments, data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    """Refuse flags that contradict each other, before anything is loaded.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file does not exist.
    """
    check_texts(model_args, data_args, args)
    check_model_arguments(model_args, args)
    refuse_flags_of_classifiers(model_args)
    what = "examples with sent1, sent2, ending0, ending1 … and label"
    check_needed_files(data_args, args, what, FILE_FORMATS)
    check_sizes(data_args)
