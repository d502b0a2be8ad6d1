"""What the Trainer logged on its way, as figures over the optimizer's steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..curve import Points, read_curves

__all__ = ["describe_curves"]

_MOST = 1000


def describe_curves(history: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, Any]:
    """Give training losses, learning rates, and each metric that was evaluated on the way.

    Args:
        history: ``trainer.state.log_history``.
        metrics: Names of the metrics, the main one first.

    Returns:
        Lists of ``[step, value]``: ``loss``, ``learning_rate``, and ``evaluations`` by name.
    """
    losses, _ = read_curves(history, "")
    rates: Points = [(row["step"], float(row["learning_rate"])) for row in history if "learning_rate" in row]
    evaluations = {name: read_curves(history, name)[1] for name in dict.fromkeys((*metrics, "loss"))}
    return {
        "loss": _thinned(losses),
        "learning_rate": _thinned(rates),
        "evaluations": {name: _thinned(points) for name, points in evaluations.items() if points},
    }


def _thinned(points: Points) -> Points:
    """Leave so many points as a picture shows, the last one too."""
    every = -(-len(points) // _MOST) or 1
    return points[::-1][::every][::-1]
