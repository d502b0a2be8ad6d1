#!/usr/bin/env python
r"""Puts finished runs of several tasks, GLUE's and SQuAD, into one table: score, what was trained, how long it took.

`lora_from_scratch.sh` ends with it. For example::

    python scripts/tasks_table.py output/lora_from_scratch_*
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_runs import TASKS, read_run
from glue_table import COLUMNS, PUBLISHED

__all__ = ["Row", "main", "read_row", "to_markdown"]

WEIGHTS = "adapter_model.safetensors"
_IN_ENCODER = re.compile(r"\b(roberta|deberta)\.")


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        task: For people, with the seed where there are several.
        score: For people, in percent.
        published: The LoRA paper's figure for the same model; empty where it has none.
        trained: Values that were trained in the encoder, without the head.
        share: Of all values of the model, head included.
        megabytes: Of these values on the disk.
        minutes: Of the run.
        partial: Whether it saw only a part of the examples.
    """

    task: str
    score: str
    published: str
    trained: int
    share: float
    megabytes: float
    minutes: float
    partial: bool


def read_row(folder: Path) -> Row | None:
    """Read a run; None where there is no finished evaluation of GLUE or SQuAD in that folder.

    Raises:
        ValueError: If a file is damaged.
    """
    path = folder / "run_record.json"
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    metrics, run = record["metrics"], read_run(folder)
    if run is not None:
        task, score = TASKS[run.task].title, f"{run.score:.1f}"
    elif "eval_f1" in metrics and "eval_exact_match" in metrics:
        task, score = "SQuAD", f"{metrics['eval_f1']:.1f} F1, {metrics['eval_exact_match']:.1f} exact"
    else:
        return None
    trained, size = _in_encoder(folder / WEIGHTS)
    return Row(
        task=f"{task}, {folder.name}" if folder.name.startswith("seed-") else task,
        score=score,
        published=_published(run.model, run.task) if run is not None else "",
        trained=trained,
        share=trained / record["total_values"],
        megabytes=size / 1e6,
        minutes=metrics["minutes"],
        partial=any(record["data_arguments"].get(name) for name in ("max_train_samples", "max_val_samples")),
    )


def _published(model: str, task: str) -> str:
    row = PUBLISHED.get(model)
    return "" if row is None or task not in COLUMNS else f"{row.figures[COLUMNS.index(task)][0]:.1f}"


def _in_encoder(path: Path) -> tuple[int, int]:
    """Count the values, and their bytes, that an adapter holds of the encoder."""
    from safetensors import safe_open

    if not path.is_file():
        return 0, 0
    with safe_open(path, framework="pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys() if _IN_ENCODER.search(name)]  # noqa: SIM118
    return sum(tensor.numel() for tensor in tensors), sum(tensor.nbytes for tensor in tensors)


def to_markdown(rows: Sequence[Row]) -> str:
    """Write the table."""
    lines = ["| task | score | LoRA paper | trained without head | share | adapter without head | minutes |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        cells = [row.task, row.score + "†" * row.partial, row.published, f"{row.trained:,}", f"{row.share:.2%}"]
        lines.append(f"| {' | '.join([*cells, f'{row.megabytes:.2f} MB', f'{row.minutes:.1f}'])} |")
    lines += [
        "",
        "Percent on the validation set, best epoch; the paper's are medians of five seeds with other values.",
    ]
    if any(row.partial for row in rows):
        lines.append("†: on a part of the examples, so not comparable.")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code: 0, or 2 where there is nothing to show or a file is damaged.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="runs, or folders of seeds")
    args = parser.parse_args(words)
    try:
        places = [place for folder in args.folders for place in (folder, *sorted(folder.glob("seed-*")))]
        rows = [row for place in places if (row := read_row(place)) is not None]
        if not rows:
            raise ValueError(f"no finished run was found in {', '.join(map(str, args.folders))}.")
    except (ValueError, OSError) as error:
        print(f"{Path(__file__).name}: error: {error}", file=sys.stderr)
        return 2
    print(to_markdown(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
