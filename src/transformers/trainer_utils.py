"""Small types and functions around training: seeds, what evaluation returns, speed and memory figures, file names."""

from __future__ import annotations

import os
import random
import time
from typing import Any, NamedTuple

import numpy as np
import torch

from .training.memory import TrainerMemoryTracker
from .training.nested import map_nested
from .training.search_spaces import (
    BestRun,
    HPSearchBackend,
    default_hp_space,
    default_hp_space_optuna,
    default_hp_space_ray,
)
from .utils.generic import ExplicitEnum
from .utils.lazy_names import LazyNames

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [
    "BestRun",
    "EvalLoopOutput",
    "EvalPrediction",
    "EvaluationStrategy",
    "HPSearchBackend",
    "HubStrategy",
    "IntervalStrategy",
    "PredictionOutput",
    "SaveStrategy",
    "SchedulerType",
    "TrainOutput",
    "TrainerMemoryTracker",
    "default_compute_objective",
    "default_hp_space",
    "default_hp_space_optuna",
    "default_hp_space_ray",
    "denumpify_detensorize",
    "get_last_checkpoint",
    "is_main_process",
    "set_seed",
    "speed_metrics",
    "total_processes_number",
]

PREFIX_CHECKPOINT_DIR = "checkpoint"

Arrays = Any  # np.ndarray, or tuples, lists and dicts of them, as the model's outputs are nested


class IntervalStrategy(ExplicitEnum):
    """When something happens during training: never, every so many steps, or at the end of every epoch."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


class EvaluationStrategy(ExplicitEnum):
    """The older name of ``IntervalStrategy``; the members are equal."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


class SaveStrategy(ExplicitEnum):
    """When a checkpoint is written: as ``IntervalStrategy``, or whenever an evaluation is the best so far."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"
    BEST = "best"


class HubStrategy(ExplicitEnum):
    """What of a training is uploaded when: the model in the end or with every checkpoint, or checkpoints too."""

    END = "end"
    EVERY_SAVE = "every_save"
    CHECKPOINT = "checkpoint"
    ALL_CHECKPOINTS = "all_checkpoints"


class OnNonfinite(ExplicitEnum):
    """What becomes of a step whose loss or gradient is not finite: the end, no update, or the update all the same."""

    STOP = "stop"
    SKIP = "skip"
    WARN = "warn"


class SchedulerType(ExplicitEnum):
    """The learning-rate schedules that ``get_scheduler`` knows."""

    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    REDUCE_ON_PLATEAU = "reduce_lr_on_plateau"


class _Pair(NamedTuple):
    predictions: Arrays
    label_ids: Arrays


class EvalPrediction(_Pair):
    """What ``compute_metrics`` is called with; unpacks as ``predictions, label_ids = prediction``.

    ``include_for_metrics`` adds the inputs or the losses, which then come third and fourth where it is unpacked.

    Args:
        predictions: The model's logits, (examples, ...), or a tuple of arrays where it returns several outputs.
        label_ids: The labels, (examples, ...), or a tuple where there are several label names.
        inputs: The model's main input, (examples, ...), if it is asked for.
        losses: The mean loss of each example's batch, (examples), if it is asked for.
    """

    inputs: Arrays
    losses: Arrays

    def __new__(
        cls, predictions: Arrays, label_ids: Arrays, inputs: Arrays = None, losses: Arrays = None
    ) -> EvalPrediction:
        """Keep the values as a tuple and under their names."""
        further = [item for item in (inputs, losses) if item is not None]
        made = tuple.__new__(cls, (predictions, label_ids, *further))
        made.inputs, made.losses = inputs, losses
        return made


class EvalLoopOutput(NamedTuple):
    """What one pass over an evaluation set gives: arrays in the data set's order, and how many examples there were."""

    predictions: Arrays
    label_ids: Arrays
    metrics: dict[str, float]
    num_samples: int


class PredictionOutput(NamedTuple):
    """What ``Trainer.predict`` gives; ``label_ids`` is None where the data has no labels."""

    predictions: Arrays
    label_ids: Arrays
    metrics: dict[str, float] | None


class TrainOutput(NamedTuple):
    """What ``Trainer.train`` gives; ``training_loss`` is the mean over all optimizer steps."""

    global_step: int
    training_loss: float
    metrics: dict[str, float]


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python's, NumPy's and PyTorch's generators (on every device).

    Args:
        seed: The seed.
        deterministic: Also make PyTorch raise where an operation has no deterministic form.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not repeatable without it
        torch.use_deterministic_algorithms(True)


def get_last_checkpoint(folder: str) -> str | None:
    """Find the newest whole checkpoint in a training's output folder.

    Args:
        folder: The ``output_dir`` of a training.

    Returns:
        The path of the ``checkpoint-<step>`` folder with the highest step that is sealed and intact; None if there is
        none. A torn one is named in the log and passed over. So is one that Transformers itself has written: training
        cannot go on from it, only start with its weights, which is for the user to ask for.
    """
    from .training.checkpoint import find_last_checkpoint

    found = find_last_checkpoint(folder)
    return None if found is None else str(found)


def is_main_process(local_rank: int) -> bool:
    """Say whether a process with this local rank (-1 without a launcher) is the one that writes and prints."""
    return local_rank in (-1, 0)


def total_processes_number(local_rank: int) -> int:
    """Give the number of processes that train together (1 without a launcher)."""
    if local_rank != -1 and torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def default_compute_objective(metrics: dict[str, float]) -> float:
    """Give the value that a search minimises or maximises: the loss, or else the sum of the other metrics."""
    others = {
        name: value
        for name, value in metrics.items()
        if name != "epoch" and not name.endswith(("_runtime", "_per_second", "_delta", "_samples"))
    }
    loss = others.pop("eval_loss", None)
    return sum(others.values()) if others or loss is None else loss


def speed_metrics(
    split: str, start_time: float, num_samples: int | None = None, num_steps: int | None = None
) -> dict[str, float]:
    """Measure how fast a pass went.

    Args:
        split: Prefix of the names: ``train``, ``eval`` or ``test``.
        start_time: ``time.time()`` at its start, in seconds.
        num_samples: Examples that went through.
        num_steps: Optimizer steps or batches that went through.

    Returns:
        ``<split>_runtime`` in seconds, and ``<split>_samples_per_second``, ``<split>_steps_per_second`` where counted.
    """
    return speed_over(split, max(time.time() - start_time, 0.0), num_samples, num_steps)  # clocks may be set back


def speed_over(
    split: str, runtime: float, num_samples: int | None = None, num_steps: int | None = None
) -> dict[str, float]:
    """Do what `speed_metrics` does, of a pass that has taken ``runtime`` seconds."""
    metrics = {f"{split}_runtime": round(runtime, 4)}
    if runtime > 0:
        if num_samples is not None:
            metrics[f"{split}_samples_per_second"] = round(num_samples / runtime, 3)
        if num_steps is not None:
            metrics[f"{split}_steps_per_second"] = round(num_steps / runtime, 3)
    return metrics


def denumpify_detensorize(metrics: Any) -> Any:
    """Turn NumPy's and PyTorch's scalars, nested as they may be, into Python's own, which JSON takes."""
    return map_nested(_as_python_scalar, metrics)


def _as_python_scalar(value: Any) -> Any:
    one = isinstance(value, np.generic) or (isinstance(value, torch.Tensor) and value.numel() == 1)
    return value.item() if one else value
