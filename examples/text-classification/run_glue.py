#!/usr/bin/env python
r"""Fine-tune an encoder on a GLUE task, or on files of your own, with LoRA or in full.

For example:

    python run_glue.py --model_name_or_path roberta-base --task_name mrpc --apply_lora --lora_r 8 --lora_alpha 16 \
        --do_train --do_eval --learning_rate 4e-4 --num_train_epochs 30 --output_dir output/mrpc
"""

# Read `main` below: parse, data, model, train, report.

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common/ is, from whatever folder this is run

from common.process import behave, ending_says

if __name__ == "__main__":
    behave()  # before the imports, which take seconds

import common.installed  # says so where another transformers is installed  # noqa: F401
from common.endings import give_up, set_up_logging, values_to_come, what_is_left
from common.folder import claimed_output, clear_unfinished_run, set_aside_earlier_run
from common.identity import check_same_run, check_unfinished_run, describe_run, record_run
from common.metrics import make_compute_metrics
from common.records import holds_training
from common.report import NextStep, Subject, print_report
from glue_arguments import Arguments, DataTrainingArguments, ModelArguments, check_arguments
from glue_data import TextData, load_data
from glue_model import labels_of_model, make_model
from glue_predictions import write_glue_predictions, write_predictions
from glue_tasks import TASKS
from glue_tokens import tokenize_data
from transformers import (
    DataCollatorWithPadding,
    HfArgumentParser,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.training.devices import end_process
from transformers.training.lost_processes import explaining_lost_processes
from transformers.training.signals import TrainingStopped
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_glue")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code: 0; 2 where the input cannot be used, or training cannot go on: its values explode, the disk is
        full, memory, threads or file handles are used up, another process died, another run is under way in the folder
        (one line on standard error says why); 128 and its number after a signal: 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = parse(words)
    ending_says(lambda: what_is_left(arguments.training))
    try:
        with (
            explaining_lost_processes(),
            claimed_output(arguments.training, arguments.model) as checkpoint,
        ):
            known = labels_of_model(arguments)
            data = load_data(arguments.data, arguments.training, arguments.model.cache_dir, known)
            check_metric(arguments.training, data)
            with values_to_come() if checkpoint is not None else nullcontext():
                model, tokenizer = make_model(arguments, data)
            identity = describe_run(model, arguments.model, arguments.data.task_name, data.hashes)
            if checkpoint is not None:
                check_same_run(checkpoint, identity)
            elif arguments.training.do_train and not arguments.training.overwrite_output_dir:
                check_unfinished_run(Path(arguments.training.output_dir), identity)
            tokenize_data(data, tokenizer, model.config.label2id, arguments.data, arguments.training)
            trainer = make_trainer(arguments, data, model, tokenizer)
            results = run(trainer, arguments, data, checkpoint, identity)
            if trainer.is_world_process_zero():
                report(trainer, arguments, data, results)
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError, RuntimeError) as error:
        return give_up(error)
    except TrainingStopped as stopped:
        return stopped.exit_code
    return 0


def parse(words: Sequence[str] | None) -> Arguments:
    """Read the flags, or the JSON file that stands in for them, and set up logging and seed."""
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments), description=__doc__)
    model_args, data_args, training_args = parser.parse_args_into_dataclasses(words)
    try:
        check_arguments(model_args, data_args, training_args)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    set_up_logging(training_args)
    try:
        set_seed(training_args.seed, deterministic=bool(training_args.use_deterministic_algorithms))
    except ValueError as error:
        parser.error(f"--seed {training_args.seed}: {error}")
    return Arguments(model_args, data_args, training_args)


def check_metric(args: TrainingArguments, data: TextData) -> None:
    """Refuse a metric to choose the best model by that no evaluation gives.

    Raises:
        ValueError: If it is one.
    """
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    known = {"loss", "runtime", "samples_per_second", "steps_per_second", *data.metrics}
    if data.combined:
        known.add("combined_score")
    if name not in known:
        metrics = ", ".join(("loss", *data.metrics))
        raise ValueError(f"--metric_for_best_model {name} is no metric of this task; it has {metrics}.")


# Training -----------------------------------------------------------------------------------------------------


def make_trainer(
    arguments: Arguments, data: TextData, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Trainer:
    """Put model, data, metrics and collator together."""
    problem = data.problem or "single_label_classification"
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=make_compute_metrics(data.metrics, problem, data.combined),
        tokenizer=tokenizer,
        data_collator=default_data_collator
        if arguments.data.pad_to_max_length
        else DataCollatorWithPadding(tokenizer),
    )


def run(
    trainer: Trainer, arguments: Arguments, data: TextData, checkpoint: str | None, identity: dict[str, Any]
) -> dict[str, float]:
    """Train, evaluate and predict, as the flags say.

    Returns:
        All metrics, and ``minutes`` of the whole.
    """
    args = arguments.training
    results: dict[str, float] = {}
    begin = time.monotonic()
    if args.do_train:
        results |= train(trainer, checkpoint, identity)
    if args.do_eval:
        results |= evaluate(trainer, data)
    if args.do_predict:
        predict(trainer, data)
    results["minutes"] = (time.monotonic() - begin) / 60
    return results


def train(trainer: Trainer, checkpoint: str | None, identity: dict[str, Any]) -> dict[str, float]:
    """Train, and save model, metrics and state; figures of a training that had ended before stay what they were."""
    folder = Path(trainer.args.output_dir)
    if checkpoint is None:
        with trainer.args.main_process_first(desc="recording which run this is"):
            if trainer.is_world_process_zero():
                clear_unfinished_run(folder)
                if trainer.args.overwrite_output_dir:
                    set_aside_earlier_run(folder, [f"{title}.tsv" for task in TASKS.values() for title in task.titles])
                record_run(folder, identity)
    done = steps_of(checkpoint)
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    metrics = {**result.metrics, "train_samples": len(trainer.train_dataset)}  # type: ignore[arg-type]
    trainer.log_metrics("train", metrics)
    if trainer.state.global_step == done and (folder / "trainer_state.json").is_file():  # what is written last
        logger.info("This training had ended before; nothing was left to train.")
        return {**metrics, "nothing_trained": 1}
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def steps_of(checkpoint: str | None) -> int:
    """Give the number of steps that a checkpoint was made after; 0 where there is none."""
    path = Path(checkpoint or "", "trainer_state.json")
    if checkpoint is None or not path.is_file():
        return 0
    return int(json.loads(path.read_text(encoding="utf-8"))["global_step"])


def evaluate(trainer: Trainer, data: TextData) -> dict[str, float]:
    """Evaluate every validation split; those after the first keep their figures under names of their own.

    Where a training has left its figures in the folder, an evaluation by itself leaves these alone.
    """
    metrics: dict[str, float] = {}
    for number, (name, split) in enumerate(data.validation.items()):
        logger.info("Evaluating on %s: %d examples", name, len(split))
        prefix, ending = ("eval_mm", "_mm") if number else ("eval", "")
        found = trainer.evaluate(eval_dataset=split, metric_key_prefix=prefix)
        figures = {key: value for key, value in found.items() if key.startswith(prefix)}
        metrics |= {f"eval{key.removeprefix(prefix)}{ending}": value for key, value in figures.items()}
        metrics[f"eval_samples{ending}"] = len(split)
    trainer.log_metrics("eval", metrics)
    if trainer.args.do_train or not holds_training(Path(trainer.args.output_dir)):
        trainer.save_metrics("eval", metrics)
    return metrics


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


def report(trainer: Trainer, arguments: Arguments, data: TextData, results: dict[str, float]) -> None:
    """Print the table and the next commands, and leave the record."""
    data_args = arguments.data
    source = data_args.task_name or data_args.train_file or data_args.validation_file or data_args.test_file or ""
    subject = Subject(data.task.title if data.task else source, source, data.metrics)
    groups = {"model_arguments": vars(arguments.model), "data_arguments": vars(data_args)}
    steps = next_steps(trainer, data_args, data) if trainer.args.do_train else []
    print_report(trainer, subject, results, groups, steps)


def next_steps(trainer: Trainer, data_args: DataTrainingArguments, data: TextData) -> list[NextStep]:
    """Give the commands that go on from here; a test runs each of them."""
    args = trainer.args
    folder = shlex.quote(args.output_dir)
    words = ["python", shlex.quote(sys.argv[0]), "--model_name_or_path", folder]
    if data_args.task_name:
        words += ["--task_name", data_args.task_name, "--glue_dataset", shlex.quote(data_args.glue_dataset)]
    else:
        flags = zip(("--text_column", "--text_pair_column"), data.columns, strict=False)
        words += ["--test_file", "TEXTS.csv", *(word for flag, name in flags for word in (flag, shlex.quote(name)))]
    words += ["--max_seq_length", str(data_args.max_seq_length), "--do_predict", "--output_dir", folder]
    steps = [NextStep("predict", " ".join(words))]
    if "tensorboard" in (args.report_to or ()):
        logs, runs = Path(str(args.logging_dir)), Path(args.output_dir, "runs")
        seen = shlex.quote(str(runs if runs in logs.parents else logs))
        steps.append(NextStep("watch curves", f"tensorboard --logdir {seen}"))
    ending = "  # finds its base itself" if trainer.model.config.freezes_base else ""
    code = f"AutoModelForSequenceClassification.from_pretrained({json.dumps(args.output_dir)}){ending}"
    return [*steps, NextStep("use in Python", code)]


if __name__ == "__main__":
    end_process(main())
