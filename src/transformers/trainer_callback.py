"""Callbacks: what happens around the training loop without being part of it.

The loop tells every callback where it is (``on_step_end``, ``on_evaluate``, ...), with the arguments, the state of the
run, and a ``TrainerControl`` by which a callback asks for a log, an evaluation, a checkpoint or the end.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .trainer_utils import IntervalStrategy
from .utils import logging

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .training_args import TrainingArguments

__all__ = [
    "CallbackHandler",
    "DefaultFlowCallback",
    "EarlyStoppingCallback",
    "PrinterCallback",
    "ProgressCallback",
    "TrainerCallback",
    "TrainerControl",
    "TrainerState",
]

logger = logging.get_logger(__name__)


@dataclass
class TrainerState:
    """Where a run stands. A checkpoint holds it as ``trainer_state.json``.

    Attributes:
        epoch: Passes over the data so far, as a fraction.
        global_step: Optimizer steps so far.
        max_steps: Optimizer steps of the whole run.
        num_train_epochs: Epochs that the run touches.
        total_flos: Kept for readers of the file; not counted.
        log_history: Every log so far, each with its step.
        best_metric: Best value of ``metric_for_best_model`` so far.
        best_model_checkpoint: Folder of the checkpoint with that value.
        is_local_process_zero: Whether this is the main process of its machine.
        is_world_process_zero: Whether this is the main process of all.
        is_hyper_param_search: Whether this run is one trial of a search.
        trial_name: Name of the trial.
        trial_params: Values of the trial.
        global_batch_size: Examples per optimizer step, over all processes.
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

    def save_to_json(self, json_path: str | Path) -> None:
        """Write the state as a JSON file; floats come back bit by bit."""
        text = json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"
        Path(json_path).write_text(text, encoding="utf-8")

    @classmethod
    def load_from_json(cls, json_path: str | Path) -> TrainerState:
        """Read what ``save_to_json`` wrote.

        Raises:
            ValueError: If the file holds something that is no part of a state.
        """
        values = json.loads(Path(json_path).read_text(encoding="utf-8"))
        unknown = sorted(set(values) - {item.name for item in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"'{json_path}' was written by another program: it holds '{unknown[0]}'.")
        return cls(**values)


@dataclass
class TrainerControl:
    """What the callbacks ask the loop to do next; the loop clears each wish once it is fulfilled."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False


class TrainerCallback:
    """Base class: does nothing at every event. Override what you need.

    Every event gets ``args``, ``state`` and ``control``, and as keywords ``model``, ``tokenizer``, ``optimizer``,
    ``lr_scheduler``, ``train_dataloader`` and ``eval_dataloader``. An event may change ``control`` in place, or give
    a new one back. What ``state_dict`` gives is part of every checkpoint.
    """

    def state_dict(self) -> dict[str, Any]:
        """Give what must survive a restart, as values that JSON takes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that the Trainer is built."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that training starts, or goes on."""

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that training is over."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that an epoch starts, or goes on."""

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that an epoch is over."""

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that the forward passes of a step start."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that the gradients are there and clipped."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that the weights were updated; the keyword ``loss`` holds the step's loss."""

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that a batch was evaluated."""

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that an evaluation is over; the keyword ``metrics`` holds its figures."""

    def on_predict(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that predictions were made; the keyword ``metrics`` holds their figures."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that a checkpoint was written."""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that there are new figures, in the keyword ``logs``."""


class CallbackHandler(TrainerCallback):
    """Calls the callbacks one after the other, in the order in which they were added.

    Args:
        callbacks: Callbacks, or classes of them.
        model: Passed on to every event.
        tokenizer: Passed on to every event.
        optimizer: Passed on to every event.
        lr_scheduler: Passed on to every event.
    """

    def __init__(
        self,
        callbacks: Iterable[TrainerCallback | type[TrainerCallback]],
        model: Any,
        tokenizer: Any,
        optimizer: Optimizer | None,
        lr_scheduler: Any,
    ) -> None:
        self.callbacks: list[TrainerCallback] = []
        self.model = model
        self.tokenizer = tokenizer
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.train_dataloader: Any = None
        self.eval_dataloader: Any = None
        for callback in callbacks:
            self.add_callback(callback)

    def add_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """Add a callback, or one built from a class."""
        new = callback() if isinstance(callback, type) else callback
        if any(type(present) is type(new) for present in self.callbacks):
            logger.warning("A callback of the class %s is already there; now there are two.", type(new).__name__)
        self.callbacks.append(new)

    def pop_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> TrainerCallback | None:
        """Take out the callback, or the first one of the class, and give it back; None if there is none."""
        for present in self.callbacks:
            if present is callback or (isinstance(callback, type) and isinstance(present, callback)):
                self.callbacks.remove(present)
                return present
        return None

    def remove_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """Take out the callback, or the first one of the class, if there is one."""
        self.pop_callback(callback)

    @property
    def callback_list(self) -> str:
        """The callbacks' class names, one a line."""
        return "\n".join(type(callback).__name__ for callback in self.callbacks)

    def state_dict(self) -> dict[str, Any]:
        """Give the callbacks' states by class name; those without one are left out."""
        states = {type(callback).__name__: callback.state_dict() for callback in self.callbacks}
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give each callback its state back."""
        for callback in self.callbacks:
            if type(callback).__name__ in state:
                callback.load_state_dict(state[type(callback).__name__])

    def call_event(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Call one event of every callback; a callback that gives nothing back leaves ``control`` as it is."""
        for callback in self.callbacks:
            result = getattr(callback, event)(
                args,
                state,
                control,
                model=self.model,
                tokenizer=self.tokenizer,
                processing_class=self.tokenizer,
                optimizer=self.optimizer,
                lr_scheduler=self.lr_scheduler,
                train_dataloader=self.train_dataloader,
                eval_dataloader=self.eval_dataloader,
                **kwargs,
            )
            if result is not None:
                control = result
        return control

    def _clear_and_call(
        self,
        event: str,
        cleared: tuple[str, ...],
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        for wish in cleared:
            setattr(control, wish, False)
        return self.call_event(event, args, state, control, **kwargs)

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_init_end", args, state, control, **kwargs)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Clear the wish to stop, and pass the event on."""
        return self._clear_and_call("on_train_begin", ("should_training_stop",), args, state, control, **kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_train_end", args, state, control, **kwargs)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Clear the wish to end the epoch, and pass the event on."""
        return self._clear_and_call("on_epoch_begin", ("should_epoch_stop",), args, state, control, **kwargs)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_epoch_end", args, state, control, **kwargs)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Clear the wishes of the step before, and pass the event on."""
        wishes = ("should_log", "should_evaluate", "should_save")
        return self._clear_and_call("on_step_begin", wishes, args, state, control, **kwargs)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_pre_optimizer_step", args, state, control, **kwargs)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_step_end", args, state, control, **kwargs)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_prediction_step", args, state, control, **kwargs)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> TrainerControl:
        """Clear the wish to evaluate, and pass the event on."""
        cleared = ("should_evaluate",)
        return self._clear_and_call("on_evaluate", cleared, args, state, control, metrics=metrics, **kwargs)

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> TrainerControl:
        """Pass the event on."""
        return self.call_event("on_predict", args, state, control, metrics=metrics, **kwargs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Clear the wish to save, and pass the event on."""
        return self._clear_and_call("on_save", ("should_save",), args, state, control, **kwargs)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> TrainerControl:
        """Clear the wish to log, and pass the event on."""
        return self._clear_and_call("on_log", ("should_log",), args, state, control, logs=logs, **kwargs)


class DefaultFlowCallback(TrainerCallback):
    """Asks for logs, evaluations and checkpoints when the arguments say so."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for what is due after this step, and for the end after the last one."""
        step = state.global_step
        first = step == 1 and args.logging_first_step
        if args.logging_strategy == IntervalStrategy.STEPS and (first or step % args.logging_steps == 0):
            control.should_log = True
        if args.evaluation_strategy == IntervalStrategy.STEPS and args.eval_steps:
            due = step % args.eval_steps == 0 and step >= args.eval_delay
            self._ask_for_evaluation(args, control, due or first)
        by_steps = args.save_strategy == IntervalStrategy.STEPS and not args.load_best_model_at_end
        if by_steps and step % args.save_steps == 0:
            control.should_save = True
        if step >= state.max_steps:
            control.should_training_stop = True
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for what is due after an epoch."""
        if args.logging_strategy == IntervalStrategy.EPOCH:
            control.should_log = True
        if args.evaluation_strategy == IntervalStrategy.EPOCH:
            self._ask_for_evaluation(args, control, (state.epoch or 0) >= args.eval_delay)
        if args.save_strategy == IntervalStrategy.EPOCH and not args.load_best_model_at_end:
            control.should_save = True
        return control

    @staticmethod
    def _ask_for_evaluation(args: TrainingArguments, control: TrainerControl, due: bool) -> None:
        """Ask for an evaluation, and for a checkpoint of exactly these weights if the best ones are wanted."""
        control.should_evaluate = control.should_evaluate or due
        control.should_save = control.should_save or (due and args.load_best_model_at_end)


class ProgressCallback(TrainerCallback):
    """Progress bars: over the steps of the training, with loss and learning rate, and over those of an evaluation."""

    def __init__(self) -> None:
        self.training_bar: Any = None
        self.prediction_bar: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, at the step where the training stands."""
        if state.is_local_process_zero:
            from tqdm.auto import tqdm

            self.training_bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc="train", unit="step", dynamic_ncols=True
            )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        loss: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Move the bar by a step."""
        if self.training_bar is None:
            return
        schedule = kwargs.get("lr_scheduler")
        shown = {} if loss is None else {"loss": f"{loss:.4f}"}
        if schedule is not None:
            shown["lr"] = f"{schedule.get_last_lr()[0]:.2e}"
        self.training_bar.set_postfix(shown, refresh=False)
        self.training_bar.update(state.global_step - self.training_bar.n)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar of the evaluation, opening it first."""
        loader: Any = kwargs.get("eval_dataloader")
        if not state.is_local_process_zero or not hasattr(loader, "__len__"):
            return
        if self.prediction_bar is None:
            from tqdm.auto import tqdm

            self.prediction_bar = tqdm(
                total=len(loader), desc="evaluate", unit="batch", leave=self.training_bar is None, dynamic_ncols=True
            )
        self.prediction_bar.update(1)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar of the evaluation."""
        self._close_prediction_bar()

    def on_predict(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Close the bar of the evaluation."""
        self._close_prediction_bar()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print the figures above the bar."""
        if self.training_bar is not None:
            self.training_bar.write(_one_line(logs or {}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.training_bar is not None:
            self.training_bar.close()
            self.training_bar = None

    def _close_prediction_bar(self) -> None:
        if self.prediction_bar is not None:
            self.prediction_bar.close()
            self.prediction_bar = None


class PrinterCallback(TrainerCallback):
    """Prints every log; takes the place of the progress bars where those are turned off."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print the figures in one line."""
        if state.is_local_process_zero:
            print(_one_line(logs or {}))


def _one_line(logs: dict[str, float]) -> str:
    """Write figures as one line: ``loss 0.6931 · learning_rate 5.00e-05``."""
    parts = []
    for name, value in logs.items():
        small = isinstance(value, float) and value != 0 and abs(value) < 1e-3
        text = (
            f"{value:.2e}" if small else f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        )
        parts.append(f"{name} {text}")
    return " · ".join(parts)


class EarlyStoppingCallback(TrainerCallback):
    """Ends the training when the metric has not become better for some evaluations.

    Args:
        early_stopping_patience: Evaluations without improvement to wait for.
        early_stopping_threshold: By how much the metric must become better to count.
    """

    def __init__(self, early_stopping_patience: int = 1, early_stopping_threshold: float | None = 0.0) -> None:
        self.early_stopping_patience = early_stopping_patience
        self.early_stopping_threshold = early_stopping_threshold or 0.0
        self.early_stopping_patience_counter = 0

    def state_dict(self) -> dict[str, Any]:
        """Give the evaluations without improvement so far."""
        return {"early_stopping_patience_counter": self.early_stopping_patience_counter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where a checkpoint stopped."""
        self.early_stopping_patience_counter = state["early_stopping_patience_counter"]

    def check_metric_value(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metric_value: float
    ) -> None:
        """Count an evaluation without improvement over the best one before it."""
        best = state.best_metric
        if best is None or (is_better(metric_value, best, args) and self._differs_enough(metric_value, best)):
            self.early_stopping_patience_counter = 0
        else:
            self.early_stopping_patience_counter += 1

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that there is something to watch.

        Raises:
            ValueError: If no metric is named or no evaluations are made.
        """
        if args.metric_for_best_model is None or args.evaluation_strategy == IntervalStrategy.NO:
            raise ValueError(
                "EarlyStoppingCallback needs metric_for_best_model (or load_best_model_at_end) and an "
                "evaluation_strategy of 'steps' or 'epoch'."
            )

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Ask for the end when the patience is used up."""
        name = metric_key(args)
        if metrics is None or name not in metrics:
            logger.warning("Early stopping watches '%s', which the evaluation did not give; it does nothing.", name)
            return
        self.check_metric_value(args, state, control, metrics[name])
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def _differs_enough(self, value: float, best: float) -> bool:
        return abs(value - best) > self.early_stopping_threshold


def metric_key(args: TrainingArguments) -> str:
    """Give the name under which an evaluation reports ``metric_for_best_model``."""
    name = args.metric_for_best_model or "loss"
    return name if name.startswith("eval_") else f"eval_{name}"


def is_better(value: float, best: float | None, args: TrainingArguments) -> bool:
    """Say whether a metric's value is better than the best so far (any number is better than none, or than NaN)."""
    if math.isnan(value):
        return False
    if best is None or math.isnan(best):
        return True
    return value > best if args.greater_is_better else value < best
