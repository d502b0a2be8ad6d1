"""What a script hands over for the report, and what keeps an evaluation's outputs until then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import EvalPrediction

__all__ = ["Evaluations", "Examined"]


@dataclass(frozen=True)
class Examined:
    """How a task is reported; nothing is counted before it is asked for.

    Attributes:
        figures: Counts: entries of the report by the names of `sections.SECTIONS`, ``metrics`` and ``examples`` among
            them where something was evaluated.
        rows: Gives every evaluated example with its probabilities; None where that is not to be written.
    """

    figures: Callable[[], Mapping[str, Any]]
    rows: Callable[[], Iterable[Mapping[str, Any]]] | None = None


class Evaluations:
    """Computes metrics as a function does, and keeps the outputs of the last evaluation of each split.

    Args:
        compute_metrics: The function.
    """

    def __init__(self, compute_metrics: Callable[[EvalPrediction], dict[str, float]]) -> None:
        self._compute_metrics = compute_metrics
        self._last: EvalPrediction | None = None
        self.by_split: dict[str, EvalPrediction] = {}

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Compute the metrics of an evaluation."""
        self._last = prediction
        return self._compute_metrics(prediction)

    def keep(self, split: str) -> None:
        """Keep what the last evaluation gave, as this split's."""
        if self._last is not None:
            self.by_split[split] = self._last
            self._last = None
