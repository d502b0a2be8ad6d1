"""The flags of run_mlm.py beside the Trainer's, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.arguments import ModelArguments, check_model_arguments, check_texts, flag_help, refuse_flags_of_classifiers
from common.data_flags import SizeFlags, check_files, check_sizes
from common.reporting.flags import ReportFlags
from transformers import TrainingArguments

__all__ = ["DataTrainingArguments", "check_arguments"]


@dataclass
class DataTrainingArguments(SizeFlags, ReportFlags):
    """Which texts to learn from: files of a text a line, JSON lines, or tables with a column of texts."""

    train_file: str | None = field(
        default=None, metadata=flag_help("Training texts: one a line, or jsonl, json, csv, tsv with a column of them.")
    )
    validation_file: str | None = field(
        default=None, metadata=flag_help("Validation texts; without any a share of the training ones.")
    )
    validation_split_percentage: int = field(
        default=5, metadata=flag_help("The percentage of the training texts to evaluate on without --validation_file.")
    )
    text_column: str = field(
        default="text", metadata=flag_help("The column of the text, in files that are no plain text.")
    )
    line_by_line: bool = field(
        default=False,
        metadata=flag_help("Let every text begin a sequence of its own, instead of filling sequences with texts."),
    )
    mlm_probability: float = field(default=0.15, metadata=flag_help("The share of the tokens to predict."))
    whole_word_mask: bool = field(
        default=False, metadata=flag_help("Hide all tokens of a word or none, instead of single tokens.")
    )
    max_seq_length: int | None = field(  # type: ignore[assignment]
        default=None,
        metadata=flag_help("Tokens of a sequence; longer texts go on in the next one. The most that the model reads."),
    )


def check_arguments(model_args: ModelArguments, data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    """Refuse flags that contradict each other, before anything is loaded; settle what follows from others.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file does not exist.
    """
    check_texts(model_args, data_args, args)
    if args.do_predict:
        raise ValueError(
            'there is nothing that --do_predict could predict; words are filled in by pipeline("fill-mask").'
        )
    check_model_arguments(model_args, args)
    refuse_flags_of_classifiers(model_args, args)
    evaluates = args.do_eval or args.evaluation_strategy != "no"
    if args.do_train and data_args.train_file is None:
        raise ValueError("give --train_file: texts, one a line, or JSON lines or a table with a column of them.")
    if evaluates and data_args.validation_file is None and data_args.train_file is None:
        raise ValueError("give --validation_file, or --train_file, a share of which is kept to evaluate on.")
    check_files({"--train_file": data_args.train_file, "--validation_file": data_args.validation_file})
    check_sizes(data_args)
    if not 0 < data_args.mlm_probability <= 1:
        raise ValueError(
            f"--mlm_probability is {data_args.mlm_probability}; a share above 0, at most 1, was expected: 0.15."
        )
    if not 0 < data_args.validation_split_percentage < 100:
        raise ValueError(
            f"--validation_split_percentage is {data_args.validation_split_percentage}; a whole number from 1 to 99 "
            "was expected."
        )
    if (args.metric_for_best_model or "").removeprefix("eval_") == "perplexity":
        args.greater_is_better = False  # which is not known by the name, as it is of a loss
