"""The flags of run_qa.py beside the Trainer's, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.arguments import ModelArguments, check_model_arguments, check_texts, flag_help, refuse_flags_of_classifiers
from common.data_flags import SizeFlags, check_needed_files, check_sizes
from common.reporting.flags import ReportFlags
from qa_files import FORMATS
from transformers import TrainingArguments

__all__ = ["DataTrainingArguments", "check_arguments"]


@dataclass
class DataTrainingArguments(SizeFlags, ReportFlags):
    """Which questions to train on, how their contexts are read, and how answers are chosen."""

    train_file: str | None = field(
        default=None,
        metadata=flag_help(
            "Training questions: SQuAD's JSON, or json, jsonl, csv, tsv, parquet with a question a row."
        ),
    )
    validation_file: str | None = field(default=None, metadata=flag_help("Validation questions with their answers."))
    test_file: str | None = field(
        default=None,
        metadata=flag_help("Questions to answer; answers are not needed, and scored where all have them."),
    )
    max_seq_length: int = field(
        default=384, metadata=flag_help("Tokens of a window: the question and a part of its context.")
    )
    doc_stride: int = field(default=128, metadata=flag_help("Tokens of the context that neighbouring windows share."))
    version_2_with_negative: bool = field(
        default=False, metadata=flag_help("Some questions have no answer in their context (SQuAD v2).")
    )
    null_score_diff_threshold: float | None = field(
        default=None,
        metadata=flag_help(
            "Answer nothing where that scores so much more than the best answer. Unset: what an evaluation found "
            "best, by the model's folder, or 0."
        ),
    )
    n_best_size: int = field(default=20, metadata=flag_help("Answers of each question in nbest_predictions.json."))
    max_answer_length: int = field(default=30, metadata=flag_help("The most tokens of an answer."))


def check_arguments(model_args: ModelArguments, data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    """Refuse flags that contradict each other, before anything is loaded.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file does not exist.
    """
    check_texts(model_args, data_args, args)
    check_model_arguments(model_args, args)
    refuse_flags_of_classifiers(model_args, args)
    check_needed_files(data_args, args, "questions with their contexts, in SQuAD's JSON or a table", FORMATS)
    check_sizes(data_args)
    for name in ("n_best_size", "max_answer_length"):
        if getattr(data_args, name) < 1:
            raise ValueError(f"--{name} is {getattr(data_args, name)}; at least 1 was expected.")
    if not 0 <= data_args.doc_stride < data_args.max_seq_length:
        raise ValueError(
            f"--doc_stride is {data_args.doc_stride}; it is what two windows of --max_seq_length "
            f"{data_args.max_seq_length} tokens share, so 0 or more and less than that was expected."
        )
    if data_args.null_score_diff_threshold is not None and not data_args.version_2_with_negative:
        raise ValueError(
            "--null_score_diff_threshold is given without --version_2_with_negative, so it would have no effect; add "
            "--version_2_with_negative."
        )
