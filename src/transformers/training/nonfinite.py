"""What becomes of a step whose loss or gradient is not finite, and which rows it was made of.

The rows are written down, so that whoever looks for a broken label or text finds it: a line of JSON for each step.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..data.samplers import GlobalBatchSampler
from ..trainer_utils import OnNonfinite
from ..utils import logging
from .state import TrainerState

__all__ = ["ROWS_NAME", "describe_step", "report_step", "rows_of_step", "write_step"]

logger = logging.get_logger(__name__)

ROWS_NAME = "nonfinite_steps.jsonl"
"""The file in ``output_dir``."""


def rows_of_step(loader: Any, state: TrainerState) -> list[int] | None:
    """Give the rows of the training data that the step at hand is made of, in all processes.

    Args:
        loader: The loader of the training data.
        state: The state before the step.

    Returns:
        Their indices; None where another loader than the Trainer's own made the batches.
    """
    sampler = getattr(loader, "batch_sampler", None)
    if not isinstance(sampler, GlobalBatchSampler):
        return None
    return [int(row) for row in sampler.global_batches(state.current_epoch)[state.epoch_steps_done]]


def describe_step(
    state: TrainerState, loader: Any, *, loss: float, gradient_norm: float, learning_rate: float
) -> dict[str, Any]:
    """Say what is known of a step: its number, its figures as text, and its rows.

    Args:
        state: The state before the step.
        loader: The loader of the training data.
        loss: Its loss.
        gradient_norm: The norm of its gradient.
        learning_rate: The rate that it would have been made with.
    """
    return {
        "step": state.global_step + 1,
        "epoch": state.current_epoch,
        "loss": str(loss),  # JSON knows neither NaN nor infinity
        "gradient_norm": str(gradient_norm),
        "learning_rate": learning_rate,
        "rows": rows_of_step(loader, state),
    }


def write_step(folder: Path, step: dict[str, Any]) -> str:
    """Add a step to the file.

    Returns:
        Where it is written, as a sentence; where that failed, why.
    """
    path = folder / ROWS_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(step) + "\n")
    except OSError as error:  # what is to be said is more than where it could not be written
        return f"Its rows could not be written down: {error}."
    return f"Its rows are in {path}." if step["rows"] is not None else f"It is noted in {path}."


def report_step(step: dict[str, Any], where: str, choice: OnNonfinite) -> None:
    """Stop, or say that the training goes on.

    Args:
        step: As of `describe_step`.
        where: As of `write_step`.
        choice: What the run asked for.

    Raises:
        FloatingPointError: If the run is to stop.
    """
    what = "loss" if not math.isfinite(float(step["loss"])) else "gradient norm"
    value = step["loss"] if what == "loss" else step["gradient_norm"]
    said = f"The {what} of step {step['step']} (epoch {step['epoch']}) is {value}, at a learning rate of "
    said += f"{step['learning_rate']:.2e}."
    if choice is OnNonfinite.SKIP:
        logger.warning("%s The step is skipped: the weights stay as they were. %s", said, where)
        return
    if choice is OnNonfinite.WARN:
        logger.warning("%s The weights are updated with it all the same. %s", said, where)
        return
    raise FloatingPointError(
        f"{said} The weights were not updated. {where} Likely: a learning rate that is too high, no clipping "
        "(max_grad_norm), fp16 (bf16 is safer), examples whose labels or inputs are broken, or, with a loss of your "
        "own, a batch in which no label counts: a mean over nothing is NaN. --on_nonfinite skip leaves such steps out."
    )
