"""Where a training run stands, and what the callbacks ask it to do next."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..utils.json_files import load_json
from ..utils.writing import write_text
from .shapes import LARGEST_STATE, TRAINER_STATE

__all__ = ["TrainerControl", "TrainerState", "plain_value"]


@dataclass
class TrainerState:
    """Where a run stands. A checkpoint holds it as ``trainer_state.json``.

    Attributes:
        epoch: Passes over the data so far, as a fraction.
        global_step: Optimizer steps so far.
        max_steps: Optimizer steps of the whole run.
        num_train_epochs: Epochs that the run touches.
        total_flos: Floating-point operations so far, as the model estimates them (``floating_point_ops``).
        log_history: Every log so far, each with its step.
        best_metric: Best value of ``metric_for_best_model`` so far.
        best_model_checkpoint: Folder of the checkpoint with that value.
        is_local_process_zero: Whether this is the main process of its machine.
        is_world_process_zero: Whether this is the main process of all.
        is_hyper_param_search: Whether this run is one trial of a search.
        trial_name: Name of the trial.
        trial_params: Values of the trial.
        global_batch_size: Examples (or tokens, if these count) per optimizer step, over all processes.
        current_epoch: Number of the epoch that the next step belongs to, from 0.
        epoch_steps_done: Optimizer steps of that epoch so far.
        loss_sum: Sum of the losses of all steps.
        unlogged_loss_sum: The same since the last log.
        unlogged_steps: Steps since the last log.
        callback_states: What the callbacks want to remember, by class name.
    """

    epoch: float | None = None
    global_step: int = 0
    max_steps: int = 0
    num_train_epochs: int = 0
    total_flos: float = 0
    log_history: list[dict[str, float]] = field(default_factory=list)
    best_metric: float | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, Any] | None = None
    global_batch_size: int = 0
    current_epoch: int = 0
    epoch_steps_done: int = 0
    loss_sum: float = 0.0
    unlogged_loss_sum: float = 0.0
    unlogged_steps: int = 0
    callback_states: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start an empty history where None was given, as older scripts do."""
        if self.log_history is None:
            self.log_history = []

    def go_back(self, earlier: TrainerState) -> None:
        """Stand where an earlier state stood, in steps and epochs."""
        self.global_step, self.epoch = earlier.global_step, earlier.epoch
        self.current_epoch, self.epoch_steps_done = earlier.current_epoch, earlier.epoch_steps_done

    def save_to_json(self, json_path: str | Path) -> None:
        """Write the state as a JSON file; floats come back bit by bit, arrays among the metrics as lists."""
        text = json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, default=plain_value) + "\n"
        write_text(json_path, text)

    @classmethod
    def load_from_json(cls, json_path: str | Path) -> TrainerState:
        """Read what ``save_to_json`` wrote.

        Raises:
            ValueError: If the file holds something that is no part of a state, or of another kind.
            OSError: If it cannot be read.
        """
        values = load_json(json_path, TRAINER_STATE, largest=LARGEST_STATE, allow_nan=True)
        unknown = sorted(set(values) - {item.name for item in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"'{json_path}' was written by another program: it holds '{unknown[0]}'.")
        return cls(**values)


def plain_value(value: Any) -> Any:
    """Give a NumPy or PyTorch value as lists and numbers, and anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@dataclass
class TrainerControl:
    """What the callbacks ask the loop to do next; the loop clears each wish once it is fulfilled.

    Attributes:
        should_training_stop: End the training after this step.
        should_epoch_stop: Go on with the next epoch.
        should_save: Save a checkpoint.
        should_evaluate: Evaluate.
        should_log: Log.
    """

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False
