"""The base class of callbacks, and what calls them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..utils import logging
from .state import TrainerControl, TrainerState

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from ..training_args import TrainingArguments

__all__ = ["CallbackHandler", "TrainerCallback"]

logger = logging.get_logger(__name__)


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

    def close(self) -> None:
        """Let go of what is open: an error has ended a training or an evaluation, and no further event comes."""

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

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that a forward and backward pass of a step is over, and another one of the same step follows."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that the gradients are there and clipped."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Tell that the weights were updated; the gradients are still there."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Tell that a step is over; the keywords ``loss`` and ``learning_rate`` hold the step's own.

        On a GPU the loss may be a tensor that is still to be computed: to read it (``float(loss)``) is to wait.
        """

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


def _pass_on(event: str, clears: tuple[str, ...] = (), keyword: str | None = None) -> Callable[..., TrainerControl]:
    """Make the handler's method for an event.

    Args:
        event: Its name.
        clears: Wishes in the control that are fulfilled, or out of date, when the event happens.
        keyword: Name of the value that the event brings along as its last argument.
    """

    def method(
        self: CallbackHandler,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *values: Any,
        **kwargs: Any,
    ) -> TrainerControl:
        for wish in clears:
            setattr(control, wish, False)
        if keyword is not None and values:
            kwargs[keyword] = values[0]
        return self.call_event(event, args, state, control, **kwargs)

    method.__name__ = event
    method.__doc__ = f"Pass ``{event}`` on to every callback."
    return method


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

    def close(self) -> None:
        """Tell every callback that an error has ended a training or an evaluation."""
        for callback in self.callbacks:
            callback.close()

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

    on_init_end = _pass_on("on_init_end")
    on_train_begin = _pass_on("on_train_begin", clears=("should_training_stop",))
    on_train_end = _pass_on("on_train_end")
    on_epoch_begin = _pass_on("on_epoch_begin", clears=("should_epoch_stop",))
    on_epoch_end = _pass_on("on_epoch_end")
    on_step_begin = _pass_on("on_step_begin", clears=("should_log", "should_evaluate", "should_save"))
    on_substep_end = _pass_on("on_substep_end")
    on_pre_optimizer_step = _pass_on("on_pre_optimizer_step")
    on_optimizer_step = _pass_on("on_optimizer_step")
    on_step_end = _pass_on("on_step_end")
    on_prediction_step = _pass_on("on_prediction_step")
    on_evaluate = _pass_on("on_evaluate", clears=("should_evaluate",), keyword="metrics")
    on_predict = _pass_on("on_predict", keyword="metrics")
    on_save = _pass_on("on_save", clears=("should_save",))
    on_log = _pass_on("on_log", clears=("should_log",), keyword="logs")
