"""Callbacks: what happens around the training loop without being part of it.

The loop tells every callback where it is (``on_step_end``, ``on_evaluate``, ...), with the arguments, the state of the
run, and a ``TrainerControl`` by which a callback asks for a log, an evaluation, a checkpoint or the end. The base
class stands in ``training.callback_base``, the state in ``training.state``; here are the callbacks that come with the
package.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from .trainer_utils import IntervalStrategy, SaveStrategy
from .training.callback_base import CallbackHandler, TrainerCallback
from .training.state import TrainerControl, TrainerState

if TYPE_CHECKING:
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

SECONDS_BETWEEN_LOG_LINES = 30


class DefaultFlowCallback(TrainerCallback):
    """Asks for logs, evaluations and checkpoints when the arguments say so."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for what is due after this step, and for the end after the last one."""
        step = state.global_step
        first = step == 1 and args.logging_first_step
        every = partial(steps_between, max_steps=state.max_steps)
        if args.logging_strategy == IntervalStrategy.STEPS and (first or step % every(args.logging_steps) == 0):
            control.should_log = True
        if args.evaluation_strategy == IntervalStrategy.STEPS and args.eval_steps:
            due = step % every(args.eval_steps) == 0 and step >= args.eval_delay
            self._ask_for_evaluation(args, control, due or first)
        by_steps = args.save_strategy == IntervalStrategy.STEPS and not args.load_best_model_at_end
        if by_steps and step % every(args.save_steps) == 0:
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
        every = args.load_best_model_at_end and args.save_strategy != SaveStrategy.BEST
        control.should_save = control.should_save or (due and every)


class ProgressCallback(TrainerCallback):
    """Progress bars: over the steps of the training, with loss and learning rate, and over those of an evaluation."""

    def __init__(self) -> None:
        self.training_bar: Any = None
        self.prediction_bar: Any = None
        self._loss: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, at the step where the training stands."""
        self._loss = None
        if state.is_local_process_zero:
            self.training_bar = _progress_bar(
                total=state.max_steps, initial=state.global_step, desc="train", unit="step"
            )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        loss: Any = None,
        learning_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Move the bar by a step. A loss that would have to be waited for is not read: the last log's stands."""
        if self.training_bar is None:
            return
        self._loss = loss if isinstance(loss, float) else self._loss
        shown = {} if self._loss is None else {"loss": f"{self._loss:.4f}"}
        if learning_rate is not None:
            shown["lr"] = f"{learning_rate:.2e}"
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
            self.prediction_bar = _progress_bar(
                total=len(loader), desc="evaluate", unit="batch", leave=self.training_bar is None
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
        self._loss = (logs or {}).get("loss", self._loss)
        if self.training_bar is not None:
            self.training_bar.write(_one_line(logs or {}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bars, so that none is drawn again below the error."""
        self._close_prediction_bar()
        if self.training_bar is not None:
            self.training_bar.close()
            self.training_bar = None

    def _close_prediction_bar(self) -> None:
        if self.prediction_bar is not None:
            self.prediction_bar.close()
            self.prediction_bar = None


def _progress_bar(**options: Any) -> Any:
    """Open a bar that is redrawn often where somebody looks on, and now and then in a log file."""
    from tqdm.auto import tqdm

    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(dynamic_ncols=True, mininterval=0.1 if watched else SECONDS_BETWEEN_LOG_LINES, **options)


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
        """Check that there is something to watch, and count from 0 in a training from the start.

        Raises:
            ValueError: If no metric is named or no evaluations are made.
        """
        if args.metric_for_best_model is None or args.evaluation_strategy == IntervalStrategy.NO:
            raise ValueError(
                "EarlyStoppingCallback needs metric_for_best_model (or load_best_model_at_end) and an "
                "evaluation_strategy of 'steps' or 'epoch'."
            )
        if state.global_step == 0:
            self.early_stopping_patience_counter = 0

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
            return  # another one of several sets; the Trainer refuses evaluations that lack the metric altogether
        self.check_metric_value(args, state, control, metrics[name])
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def _differs_enough(self, value: float, best: float) -> bool:
        return abs(value - best) > self.early_stopping_threshold


def steps_between(interval: float, max_steps: int) -> int:
    """Give the steps from one log, evaluation or checkpoint to the next; a number below 1 is a share of all steps."""
    return math.ceil(max_steps * interval) if interval < 1 else int(interval)


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
