"""What a script's own Trainer class overrides, and which of that would have no effect here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..utils import logging

__all__ = ["overrides", "takes", "warn_of_methods_without_effect"]

logger = logging.get_logger(__name__)

# Methods that the Trainer of 4.4.2 or a later one calls, and this one does not.
_NEVER_CALLED = (
    "_inner_training_loop",
    "_load_best_model",
    "_load_from_checkpoint",
    "_load_optimizer_and_scheduler",
    "_maybe_log_save_evaluate",
    "_nested_gather",
    "_prepare_input",
    "_rotate_checkpoints",
    "_save_optimizer_and_scheduler",
    "_sorted_checkpoints",
    "_wrap_model",
    "get_batch_samples",
    "store_flos",
)


def overrides(trainer: Any, name: str, owner: type) -> bool:
    """Say whether a method is another one than a class's own.

    Args:
        trainer: The object.
        name: Name of the method.
        owner: The class that has the package's own.
    """
    return getattr(getattr(trainer, name), "__func__", None) is not getattr(owner, name)


def takes(function: Callable[..., Any], argument: str) -> bool:
    """Say whether a function can be given an argument by its name."""
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(item.kind is item.VAR_KEYWORD for item in parameters.values())


def warn_of_methods_without_effect(trainer: Any) -> None:
    """Name the methods of a script's Trainer class that nobody calls here."""
    defined = [name for name in _NEVER_CALLED if hasattr(trainer, name)]
    if defined:
        logger.warning(
            "%s defines %s, which Transformers' own Trainer calls and this one never does: no effect. Methods that it "
            "calls: training_step, compute_loss, prediction_step, prediction_loop, evaluate, save_model, log, "
            "create_optimizer, create_scheduler, get_train_dataloader, get_eval_dataloader and the like.",
            type(trainer).__name__,
            ", ".join(defined),
        )
