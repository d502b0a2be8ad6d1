#!/usr/bin/env python
r"""Fine-tune an encoder on a GLUE task, or on files of your own, with LoRA or in full.

For example:

    python run_glue.py --model_name_or_path roberta-base --task_name mrpc --apply_lora --lora_r 8 --lora_alpha 16 \
        --do_train --do_eval --learning_rate 4e-4 --num_train_epochs 30 --output_dir output/mrpc
"""

# Read `work` below: data, model, train, report.

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common/ is, from whatever folder this is run

from common.process import behave

if __name__ == "__main__":
    behave()  # before the imports, which take seconds

import common.installed  # says so where another transformers is installed  # noqa: F401
from common.command_line import Arguments, parse, run_to_its_end
from common.endings import values_to_come
from common.metrics import make_compute_metrics
from common.report import NextStep, Subject, next_steps, print_report
from common.reporting.examined import Evaluations
from common.sharing import share
from common.training import check_metric, run, start_of_run
from glue_arguments import DataTrainingArguments, check_arguments
from glue_data import TextData, load_data
from glue_model import labels_of_model, make_model
from glue_predictions import write_glue_predictions, write_predictions
from glue_report import examine
from glue_tasks import TASKS
from glue_tokens import tokenize_data
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    default_data_collator,
)
from transformers.training.devices import end_process
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_glue")


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
    known = labels_of_model(arguments)
    data = load_data(arguments.data, arguments.training, arguments.model.cache_dir, known)
    check_metric(arguments.training, data.metrics, ["combined_score"] if data.combined else [])
    with values_to_come(checkpoint):
        model, tokenizer = make_model(arguments, data)
    task = arguments.data.task_name
    start = start_of_run(checkpoint, model, arguments.model, arguments.training, task, data.hashes)
    tokenize_data(data, tokenizer, model.config.label2id, arguments.data, arguments.training)
    problem = data.problem or "single_label_classification"
    evaluations = Evaluations(make_compute_metrics(data.metrics, problem, data.combined))
    trainer = make_trainer(arguments, data, model, tokenizer, evaluations)
    titles = [f"{title}.tsv" for task in TASKS.values() for title in task.titles]
    results = run(trainer, start, data.validation, lambda: predict(trainer, data), titles, evaluations.keep)
    if trainer.is_world_process_zero():
        report(trainer, arguments, data, results, evaluations)
    share(trainer)


# Training -----------------------------------------------------------------------------------------------------


def make_trainer(
    arguments: Arguments[DataTrainingArguments],
    data: TextData,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluations: Evaluations,
) -> Trainer:
    """Put model, data, metrics and collator together."""
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=evaluations,
        tokenizer=tokenizer,
        data_collator=default_data_collator
        if arguments.data.pad_to_max_length
        else DataCollatorWithPadding(tokenizer),
    )


def predict(trainer: Trainer, data: TextData) -> None:
    """Predict every test split, and write a file for each."""
    problem, names = data.problem or "single_label_classification", trainer.model.config.id2label
    for number, (name, split) in enumerate(data.test.items()):
        logits = trainer.predict(split).predictions
        if not trainer.is_world_process_zero():
            continue
        folder = Path(trainer.args.output_dir)
        if data.task is not None:
            path = folder / f"{data.task.titles[number]}.tsv"
            write_glue_predictions(path, logits, split, data.task, problem, names)
        else:
            path = folder / "predictions.tsv"
            write_predictions(path, logits, data.texts[name], problem, names)
        logger.info("Predictions of %d examples: %s", len(split), path)


# Report -------------------------------------------------------------------------------------------------------


def report(
    trainer: Trainer,
    arguments: Arguments[DataTrainingArguments],
    data: TextData,
    results: dict[str, float],
    evaluations: Evaluations,
) -> None:
    """Print the table and the next commands, and leave record and report."""
    data_args = arguments.data
    source = data_args.task_name or data_args.train_file or data_args.validation_file or data_args.test_file or ""
    of_hub = data.task is not None and not Path(data_args.glue_dataset).is_dir()
    dataset, configuration = (data_args.glue_dataset, data_args.task_name) if of_hub else (None, None)
    subject = Subject(data.task.title if data.task else source, source, data.metrics, dataset, configuration)
    steps = steps_from_here(trainer, data_args, data) if trainer.args.do_train else []
    length = min(data_args.max_seq_length, trainer.tokenizer.model_max_length)
    names = trainer.model.config.id2label
    print_report(trainer, subject, results, arguments, steps, lambda: examine(data, evaluations, names, length))


def steps_from_here(trainer: Trainer, data_args: DataTrainingArguments, data: TextData) -> list[NextStep]:
    """Give the commands that go on from here."""
    if data_args.task_name:
        words = ["--task_name", data_args.task_name, "--glue_dataset", shlex.quote(data_args.glue_dataset)]
    else:
        flags = zip(("--text_column", "--text_pair_column"), data.columns, strict=False)
        words = ["--test_file", "TEXTS.csv", *(word for flag, name in flags for word in (flag, shlex.quote(name)))]
    words += ["--max_seq_length", str(data_args.max_seq_length)]
    code = f"AutoModelForSequenceClassification.from_pretrained({json.dumps(trainer.args.output_dir)})"
    return next_steps(trainer, words, code)


if __name__ == "__main__":
    end_process(main())
