#!/usr/bin/env python
r"""Fine-tune an encoder to choose the best of several endings, as in SWAG, with LoRA or in full.

For example:

    python run_swag.py --model_name_or_path roberta-base --train_file train.csv --validation_file val.csv \
        --apply_lora --lora_r 8 --lora_alpha 16 --do_train --do_eval --learning_rate 5e-4 --output_dir output/swag
"""

# Read `work` below: data, model, train, report.

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common/ is, from whatever folder this is run

from common.process import behave

if __name__ == "__main__":
    behave()  # before the imports, which take seconds

import common.installed  # says so where another transformers is installed  # noqa: F401
from choice_arguments import DataTrainingArguments, check_arguments
from choice_data import LABEL, ChoiceData, load_examples, tokenize_examples
from choice_model import make_model
from choice_predictions import write_predictions
from choice_report import examine
from common.command_line import Arguments, parse, run_to_its_end
from common.endings import values_to_come
from common.metrics import make_compute_metrics
from common.report import Subject, next_steps, print_report
from common.reporting.examined import Evaluations
from common.sharing import share
from common.training import check_metric, run, start_of_run
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.data.multiple_choice import DataCollatorForMultipleChoice
from transformers.training.devices import end_process
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_swag")

METRICS = ("accuracy",)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code, by `common.command_line.run_to_its_end`.
    """
    return run_to_its_end(parse(words, DataTrainingArguments, check_arguments, __doc__), work)


def work(arguments: Arguments[DataTrainingArguments], checkpoint: str | None) -> None:
    """Train, evaluate and predict, as the flags say; go on from a checkpoint where there is one."""
    data_args, args = arguments.data, arguments.training
    check_metric(args, METRICS)
    data = load_examples(data_args, args)
    with values_to_come(checkpoint):
        model, tokenizer = make_model(arguments)
    start = start_of_run(checkpoint, model, arguments.model, args, "multiple choice", data.hashes)
    tokenize_examples(data, tokenizer, data_args, args)
    evaluations = Evaluations(make_compute_metrics(METRICS, "single_label_classification", name_of_one="ending"))
    trainer = make_trainer(arguments, data, model, tokenizer, evaluations)
    results = run(trainer, start, data.validation, lambda: predict(trainer, data), evaluated=evaluations.keep)
    if trainer.is_world_process_zero():
        report(trainer, arguments, data, results, evaluations)
    share(trainer)


def make_trainer(
    arguments: Arguments[DataTrainingArguments],
    data: ChoiceData,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluations: Evaluations,
) -> Trainer:
    """Put model, data, metrics and collator together."""
    padded: dict[str, Any] = {}
    if arguments.data.pad_to_max_length:
        padded = {
            "padding": "max_length",
            "max_length": min(arguments.data.max_seq_length, tokenizer.model_max_length),
        }
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=evaluations,
        tokenizer=tokenizer,
        data_collator=DataCollatorForMultipleChoice(tokenizer, **padded),
    )


def predict(trainer: Trainer, data: ChoiceData) -> dict[str, float]:
    """Predict the test examples and write the endings; give their accuracy where the right ones are known."""
    split = data.test["test"]
    found = trainer.predict(split)
    figures: dict[str, float] = {}
    if LABEL in split.column_names:
        accuracy = float((found.predictions.argmax(-1) == found.label_ids).mean())
        figures = {"predict_accuracy": accuracy, "predict_samples": len(split)}
        trainer.log_metrics("predict", figures)
        trainer.save_metrics("predict", figures)
    if trainer.is_world_process_zero():
        path = Path(trainer.args.output_dir) / "predictions.tsv"
        write_predictions(path, found.predictions, split)
        logger.info("Predictions of %d examples: %s", len(split), path)
    return figures


def report(
    trainer: Trainer,
    arguments: Arguments[DataTrainingArguments],
    data: ChoiceData,
    results: dict[str, float],
    evaluations: Evaluations,
) -> None:
    """Print the table and the next commands, and leave record and report."""
    source = next(iter(data.sources.values()))
    words = ["--test_file", "EXAMPLES.csv", "--max_seq_length", str(arguments.data.max_seq_length)]
    code = f"AutoModelForMultipleChoice.from_pretrained({json.dumps(trainer.args.output_dir)})"
    steps = next_steps(trainer, words, code) if trainer.args.do_train else []
    subject, length = Subject(f"Endings: {source}", source, METRICS), arguments.data.max_seq_length
    print_report(trainer, subject, results, arguments, steps, lambda: examine(data, evaluations, length))


if __name__ == "__main__":
    end_process(main())
