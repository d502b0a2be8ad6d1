"""Median and spread of a launcher's seeds, printed and written beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from glue_runs import TASKS, read_run, summarize

__all__ = ["write_summary"]


def write_summary(folder: Path, seeds: Sequence[Path]) -> str:
    """Summarize finished seeds in ``seeds.json``.

    Args:
        folder: The launcher's folder, which the file goes into.
        seeds: The seeds' folders.

    Returns:
        The same for people.
    """
    runs = [run for run in map(read_run, seeds) if run is not None]
    if not runs:
        return "No seed of a GLUE task was evaluated, so there is nothing to summarize."
    summary = summarize(runs)
    task = TASKS[runs[0].task]
    record = {
        "task": runs[0].task,
        "metric": task.main_metric,
        "median": summary.median,
        "spread": summary.spread,
        "seeds": {str(run.seed): {"score": run.score, "best_epoch": run.best_epoch} for run in summary.runs},
        "partial": summary.partial,
    }
    (folder / "seeds.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    lines = [f"{task.title}, {task.main_metric.replace('_', ' ')} in percent, best epoch of each seed:"]
    for run in summary.runs:
        epoch = "" if run.best_epoch is None else f"   epoch {run.best_epoch:g}"
        lines.append(f"  seed {run.seed:<6} {run.score:6.2f}{epoch}")
    spread = "" if summary.spread is None else f" ± {summary.spread:.2f} (standard deviation)"
    lines.append(f"  median      {summary.median:6.2f}{spread}")
    if summary.partial:
        lines.append("  These runs saw only a part of the examples.")
    return "\n".join(lines)
