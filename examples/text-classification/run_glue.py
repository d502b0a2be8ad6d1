#!/usr/bin/env python
r"""Fine-tune an encoder on a GLUE task, or on files of your own, with LoRA or in full.

For example:

    python run_glue.py --model_name_or_path roberta-base --task_name mrpc --apply_lora --lora_r 8 --lora_alpha 16 \
        --do_train --do_eval --learning_rate 4e-4 --num_train_epochs 30 --output_dir output/mrpc
"""

# Read `main` below: parse, data, model, train, report.

from __future__ import annotations

import logging as python_logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from glue_arguments import Arguments, DataTrainingArguments, ModelArguments, check_arguments
from glue_data import TextData, load_data
from glue_folder import check_folder, check_same_run, set_aside_earlier_run
from glue_metrics import make_compute_metrics, predicted_values
from glue_model import make_model
from glue_report import print_report, write_predictions
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
from transformers.trainer_utils import get_last_checkpoint
from transformers.training.devices import end_process, explaining_lost_processes
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_glue")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code: 0; 2 where the input cannot be used, or training cannot go on: its values explode, the disk is
        full, another process died (one line on standard error says why); 130 after Ctrl-C.
    """
    arguments = parse(words)
    try:
        with explaining_lost_processes():
            checkpoint = prepare_output(arguments)
            data = load_data(arguments.data, arguments.training, arguments.model.cache_dir)
            check_metric(arguments.training, data)
            model, tokenizer = make_model(arguments, data)
            tokenize_data(data, tokenizer, model.config.label2id, arguments.data, arguments.training)
            trainer = make_trainer(arguments, data, model, tokenizer)
            results = run(trainer, arguments, data, checkpoint)
            if trainer.is_world_process_zero():
                print_report(trainer, arguments.model, arguments.data, data, results)
    except (ValueError, OSError, FloatingPointError) as error:
        return give_up(error)
    except KeyboardInterrupt:
        return interrupted(arguments.training)
    return 0


def give_up(error: Exception) -> int:
    """Say in one line why the run ends; with TRANSFORMERS_VERBOSITY=debug, where.

    What is wrong with the input is wrong in every process alike, and said by the first.

    Returns:
        The exit code, 2.
    """
    if logging.get_verbosity() <= logging.DEBUG:
        raise error
    process = int(os.environ.get("RANK", 0))
    if process == 0 or isinstance(error, OSError):
        say(f"error: {' '.join(str(error).split())}")
    return 2


def interrupted(args: TrainingArguments) -> int:
    """Say after Ctrl-C what there is to go on from.

    Returns:
        The exit code, 130.
    """
    last = get_last_checkpoint(args.output_dir) if args.do_train and Path(args.output_dir).is_dir() else None
    if args.process_index == 0:
        ending = "nothing was saved" if last is None else f"the same command goes on from {last}"
        say(f"interrupted; {ending}.")
    return 130


def say(text: str) -> None:
    """Print a line on standard error, above a progress bar that may stand there."""
    from tqdm import tqdm

    tqdm.write(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)


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


def set_up_logging(args: TrainingArguments) -> None:
    """Show what happens on the first process, and errors only on the others."""
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity(logging.INFO if args.local_rank in (-1, 0) else logging.ERROR)
    python_logging.getLogger("httpx").setLevel(python_logging.WARNING)


def prepare_output(arguments: Arguments) -> str | None:
    """Find out whether this run goes on from a checkpoint, and refuse to write over another one.

    Returns:
        The checkpoint to go on from, or None.

    Raises:
        ValueError: If the folder holds something else than this run's checkpoints.
        OSError: If it cannot be written.
    """
    args, folder = arguments.training, Path(arguments.training.output_dir)
    with args.main_process_first(desc="looking at the output folder"):
        check_folder(arguments)
    if args.resume_from_checkpoint is not None:
        return args.resume_from_checkpoint
    if not args.do_train or args.overwrite_output_dir or not folder.is_dir():
        return None
    last = get_last_checkpoint(args.output_dir)
    if last is not None:
        check_same_run(last, arguments)
        logger.info("Going on from %s. To start anew, give --overwrite_output_dir or another --output_dir.", last)
        return last
    if any(folder.iterdir()):
        raise ValueError(
            f"--output_dir {folder} is not empty and holds no checkpoint to go on from. Give another one, or "
            "--overwrite_output_dir to write into it."
        )
    return None


def check_metric(args: TrainingArguments, data: TextData) -> None:
    """Refuse a metric to choose the best model by that no evaluation gives.

    Raises:
        ValueError: If it is one.
    """
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    known = {"loss", "runtime", "samples_per_second", "steps_per_second", *data.metrics}
    if len(data.metrics) > 1 and "mse" not in data.metrics:
        known.add("combined_score")
    if name not in known:
        metrics = ", ".join(("loss", *data.metrics))
        raise ValueError(f"--metric_for_best_model {name} is no metric of this task; it has {metrics}.")


# Training -----------------------------------------------------------------------------------------------------


def make_trainer(
    arguments: Arguments, data: TextData, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Trainer:
    """Put model, data, metrics and collator together."""
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=make_compute_metrics(data.metrics, data.regression),
        tokenizer=tokenizer,
        data_collator=default_data_collator
        if arguments.data.pad_to_max_length
        else DataCollatorWithPadding(tokenizer),
    )


def run(trainer: Trainer, arguments: Arguments, data: TextData, checkpoint: str | None) -> dict[str, float]:
    """Train, evaluate and predict, as the flags say.

    Returns:
        All metrics, and ``minutes`` of the whole.
    """
    args = arguments.training
    results: dict[str, float] = {}
    begin = time.monotonic()
    if args.do_train:
        results |= train(trainer, checkpoint)
    if args.do_eval:
        results |= evaluate(trainer, data)
    if args.do_predict:
        predict(trainer, data)
    results["minutes"] = (time.monotonic() - begin) / 60
    return results


def train(trainer: Trainer, checkpoint: str | None) -> dict[str, float]:
    """Train, and save model, metrics and state."""
    if trainer.args.overwrite_output_dir and checkpoint is None:
        with trainer.args.main_process_first(desc="setting an earlier run aside"):
            if trainer.is_world_process_zero():
                set_aside_earlier_run(Path(trainer.args.output_dir))
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    metrics = {**result.metrics, "train_samples": len(trainer.train_dataset)}  # type: ignore[arg-type]
    trainer.log_metrics("train", metrics)
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def evaluate(trainer: Trainer, data: TextData) -> dict[str, float]:
    """Evaluate every validation split; those after the first keep their figures under names of their own."""
    metrics: dict[str, float] = {}
    for number, (name, split) in enumerate(data.validation.items()):
        logger.info("Evaluating on %s: %d examples", name, len(split))
        prefix, ending = ("eval_mm", "_mm") if number else ("eval", "")
        found = trainer.evaluate(eval_dataset=split, metric_key_prefix=prefix)
        figures = {key: value for key, value in found.items() if key.startswith(prefix)}
        metrics |= {f"eval{key.removeprefix(prefix)}{ending}": value for key, value in figures.items()}
        metrics[f"eval_samples{ending}"] = len(split)
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    return metrics


def predict(trainer: Trainer, data: TextData) -> None:
    """Predict every test split, and write a file for each."""
    for number, split in enumerate(data.test.values()):
        predictions = trainer.predict(split).predictions
        values = predicted_values(predictions, data.regression)
        if trainer.is_world_process_zero():
            path = write_predictions(
                trainer.args.output_dir, values, split, data, number, trainer.model.config.id2label
            )
            logger.info("Predictions of %d examples: %s", len(split), path)


if __name__ == "__main__":
    end_process(main())
