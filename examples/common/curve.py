"""The learning curve: training loss and the main metric over the optimizer's steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging
from transformers.utils.writing import NotWrittenError, replacing

__all__ = ["draw_curve", "read_curves"]

logger = logging.get_logger("transformers.examples.curve")

Points = list[tuple[int, float]]


def read_curves(history: Sequence[Mapping[str, Any]], metric: str) -> tuple[Points, Points]:
    """Read the points of both curves off the Trainer's log.

    A run that was shorter than ``logging_steps`` logged no loss on its way: its mean loss is the one point then. A
    step has one evaluation, the first: what is measured again after the training are the best model's weights, which
    are not those of that step.

    Args:
        history: ``trainer.state.log_history``.
        metric: The main metric's name, without ``eval_``.

    Returns:
        Training losses and evaluations as (step, value), in the order of the steps.
    """
    losses = {row["step"]: float(row["loss"]) for row in history if "loss" in row}
    if not losses:
        losses = {row["step"]: float(row["train_loss"]) for row in history if "train_loss" in row}
    evaluations: dict[int, float] = {}
    for row in history:
        if f"eval_{metric}" in row:
            evaluations.setdefault(row["step"], float(row[f"eval_{metric}"]))
    return sorted(losses.items()), sorted(evaluations.items())


def draw_curve(
    history: Sequence[Mapping[str, Any]], metric: str, title: str, path: Path, best_step: int | None = None
) -> Path | None:
    """Draw both curves into a file.

    Args:
        history: ``trainer.state.log_history``.
        metric: The main metric's name.
        title: Stands above the picture.
        path: The file.
        best_step: The step whose weights the run ended with, where these are not the last; it is marked.

    Returns:
        The file; None without matplotlib, or where nothing was logged or it could not be written.
    """
    losses, evaluations = read_curves(history, metric)
    if not losses and not evaluations:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("No learning curve: matplotlib is not installed (pip install -e '.[demo]').")
        return None
    figure = Figure(figsize=(7, 4))
    figure.subplots_adjust(left=0.1, right=0.9, bottom=0.22, top=0.91)  # a layout that measures texts draws it twice
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel("optimizer step")
    if losses:
        axes.set_ylabel("training loss")
        steps, values = zip(*losses, strict=True)
        axes.plot(steps, values, color="tab:blue", marker="." if len(losses) < 3 else None, label="training loss")
    if evaluations:
        right = axes.twinx()
        right.set_ylabel(metric.replace("_", " "))
        steps, values = zip(*evaluations, strict=True)
        right.plot(steps, values, color="tab:orange", marker="o", label=metric.replace("_", " "))
        best = [(step, value) for step, value in evaluations if step == best_step]
        if best:
            right.plot(
                *zip(*best, strict=True), color="tab:red", marker="*", markersize=14, ls="", label="best, saved"
            )
    figure.legend(loc="lower center", ncols=3)
    try:
        with replacing(path) as beside:
            figure.savefig(beside, dpi=120, format="png")
    except NotWrittenError as error:
        logger.warning("%s The run is complete without the picture.", error)
        return None
    return path
