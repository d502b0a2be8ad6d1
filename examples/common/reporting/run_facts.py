"""What the report of any run has: its curves, its settings, and a line that says which run it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .curves import describe_curves

__all__ = ["RunOfReport"]

_FACTS = (
    "seed",
    "global_batch_size",
    "trainable_values",
    "total_values",
    "examples_per_second",
    "holds_adapter",
    "output",
)


@dataclass(frozen=True)
class RunOfReport:
    """A run.

    Attributes:
        title: The task's name for people.
        metrics: Names of the metrics, the main one first.
        record: By `records.describe_results`, with the command.
        history: ``trainer.state.log_history``.
        best_step: The step whose weights the run ended with, where these are not the last.
    """

    title: str
    metrics: tuple[str, ...]
    record: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    best_step: int | None

    def subtitle(self) -> str:
        """Say in a line which run this is."""
        record = self.record
        model = Path(str(record["model_arguments"]["model_name_or_path"])).name
        says = [record["kind"].replace("_", " and "), model, f"seed {record['seed']}"]
        says += [f"{record['metrics']['minutes']:.1f} minutes"] if "minutes" in record["metrics"] else []
        return " · ".join(says)

    def entries(self) -> dict[str, Any]:
        """Give the entries that every report has."""
        record = self.record
        curves = describe_curves(self.history, self.metrics)
        is_drawn = record["kind"] == "train" and (curves["loss"] or curves["evaluations"])
        groups = ("model_arguments", "data_arguments", "training_arguments")
        facts = {name: record[name] for name in _FACTS} | {"quantization": (record["quantization"] or {}).get("words")}
        return {
            **({"curves": {**curves, "best_step": self.best_step}} if is_drawn else {}),
            "command": record["command"],
            "facts": facts | dict(record["metrics"]),
            "environment": record["environment"],
            "settings": {name: record[name] for name in groups},
        }
