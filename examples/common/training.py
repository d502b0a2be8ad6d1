"""Training and evaluation as every example does them, with the files that they leave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainingArguments
from transformers.utils import logging

from .arguments import ModelArguments
from .folder import clear_unfinished_run, set_aside_earlier_run
from .identity import check_same_run, check_unfinished_run, describe_run, record_run
from .records import holds_training

if TYPE_CHECKING:
    from datasets import Dataset

    from transformers import PreTrainedModel

__all__ = ["RunStart", "check_metric", "evaluate", "run", "start_of_run", "train"]

logger = logging.get_logger("transformers.examples.training")

MISMATCHED = "validation_mismatched"
"""MNLI's second validation split, whose figures end in ``_mm`` as in 4.4.2; others' end in their names."""


@dataclass(frozen=True)
class RunStart:
    """What a training begins with.

    Attributes:
        checkpoint: The one to go on from; None at the very start.
        identity: Which run this is, by `describe_run`.
    """

    checkpoint: str | None
    identity: Mapping[str, Any]


def start_of_run(
    checkpoint: str | None,
    model: PreTrainedModel,
    model_args: ModelArguments,
    args: TrainingArguments,
    task: str | None,
    rows: Mapping[str, str],
) -> RunStart:
    """Say which run this is, and refuse to go on from another one's checkpoint or beginning.

    Args:
        checkpoint: The checkpoint to go on from, or None.
        model: As it is before training.
        model_args: Its flags.
        args: Say whether the run trains, and where.
        task: The task's name; None for files of the user's own.
        rows: What it learns from and chooses its best weights by: name to `identity.hash_rows`.

    Raises:
        ValueError: If the output folder holds another run.
        OSError: If a record cannot be read.
    """
    identity = describe_run(model, model_args, task, rows)
    if checkpoint is not None:
        check_same_run(checkpoint, identity)
    elif args.do_train and not args.overwrite_output_dir:
        check_unfinished_run(Path(args.output_dir), identity)
    return RunStart(checkpoint, identity)


def check_metric(args: TrainingArguments, metrics: Sequence[str], further: Iterable[str] = ()) -> None:
    """Refuse a metric to choose the best model by that no evaluation gives.

    Args:
        args: Name it.
        metrics: Those that the task has, the main one first.
        further: Others that may be chosen, and are not listed.

    Raises:
        ValueError: If it is none of them.
    """
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    known = {"loss", "runtime", "samples_per_second", "steps_per_second", *metrics, *further}
    if name not in known:
        listed = ", ".join(("loss", *metrics))
        raise ValueError(f"--metric_for_best_model {name} is no metric of this task; it has {listed}.")


def run(
    trainer: Trainer,
    start: RunStart,
    validation: Mapping[str, Dataset],
    predict: Callable[[], Mapping[str, float] | None],
    further: Iterable[str] = (),
    evaluated: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Train, evaluate and predict, as the flags say.

    Args:
        trainer: Of the run.
        start: What it begins with.
        validation: The splits to evaluate on, by name.
        predict: Predicts and writes the predictions; gives figures where it has any.
        further: Patterns of files that the example writes beside those that all of them do.
        evaluated: Called with a split's name when that was evaluated in the end.

    Returns:
        All metrics, and ``minutes`` of the whole.
    """
    results: dict[str, float] = {}
    begin = time.monotonic()
    if trainer.args.do_train:
        results |= train(trainer, start, further)
    if trainer.args.do_eval:
        results |= evaluate(trainer, validation, evaluated)
    if trainer.args.do_predict:
        results |= predict() or {}
    results["minutes"] = (time.monotonic() - begin) / 60
    return results


def train(trainer: Trainer, start: RunStart, further: Iterable[str] = ()) -> dict[str, float]:
    """Train, and save model, metrics and state; figures of a training that had ended before stay what they were."""
    folder = Path(trainer.args.output_dir)
    if start.checkpoint is None:
        with trainer.args.main_process_first(desc="recording which run this is"):
            if trainer.is_world_process_zero():
                clear_unfinished_run(folder)
                if trainer.args.overwrite_output_dir:
                    set_aside_earlier_run(folder, further)
                record_run(folder, start.identity)
    done = _steps_of(start.checkpoint)
    result = trainer.train(resume_from_checkpoint=start.checkpoint)
    trainer.save_model()
    metrics = {**result.metrics, "train_samples": len(trainer.train_dataset)}
    trainer.log_metrics("train", metrics)
    if trainer.state.global_step == done and (folder / "trainer_state.json").is_file():  # what is written last
        logger.info("This training had ended before; nothing was left to train.")
        return {**metrics, "nothing_trained": 1}
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def _steps_of(checkpoint: str | None) -> int:
    """Give the number of steps that a checkpoint was made after; 0 where there is none."""
    path = Path(checkpoint or "", "trainer_state.json")
    if checkpoint is None or not path.is_file():
        return 0
    return int(json.loads(path.read_text(encoding="utf-8"))["global_step"])


def evaluate(
    trainer: Trainer, validation: Mapping[str, Dataset], evaluated: Callable[[str], None] | None = None
) -> dict[str, float]:
    """Evaluate every validation split; figures of those after the first end in the split's name.

    Where a training has left its figures in the folder, an evaluation by itself leaves these alone.

    Args:
        trainer: Of the run.
        validation: The splits by name.
        evaluated: Called with each split's name when that was evaluated.
    """
    metrics: dict[str, float] = {}
    for number, (name, split) in enumerate(validation.items()):
        logger.info("Evaluating on %s: %d examples", name, len(split))
        ending = "" if number == 0 else "_mm" if name == MISMATCHED else f"_{name}"
        prefix = f"eval{ending}"
        found = trainer.evaluate(eval_dataset=split, metric_key_prefix=prefix)
        if evaluated is not None:
            evaluated(name)
        figures = {key: value for key, value in found.items() if key.startswith(prefix)}
        metrics |= {f"eval{key.removeprefix(prefix)}{ending}": value for key, value in figures.items()}
        metrics[f"eval_samples{ending}"] = len(split)
    trainer.log_metrics("eval", metrics)
    if trainer.args.do_train or not holds_training(Path(trainer.args.output_dir)):
        trainer.save_metrics("eval", metrics)
    return metrics
