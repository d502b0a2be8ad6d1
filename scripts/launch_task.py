"""What a launcher's task is: of GLUE, for run_glue.py, or SQuAD, for run_qa.py, and where its data lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from glue_runs import ROOT, TASKS
from launch_flags import Flags

__all__ = ["RUN_GLUE", "RUN_QA", "Task", "find_task"]

RUN_GLUE = ROOT / "examples" / "text-classification" / "run_glue.py"
RUN_QA = ROOT / "examples" / "question-answering" / "run_qa.py"
SQUAD = "squad"
SQUAD_FILES = {"train_file": "train", "validation_file": "dev"}


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        title: Its name for people.
        main_metric: By which the best evaluation is chosen.
        script: The example that trains it.
    """

    title: str
    main_metric: str
    script: Path


def find_task(flags: Flags) -> Task:
    """Find the task that the flags name; of SQuAD put its files in the name's place.

    Raises:
        ValueError: If there is no such task, or SQuAD's files are not there.
    """
    name = " ".join(flags["task_name"]).lower()
    if name == SQUAD:
        del flags["task_name"]
        flags.pop("glue_dataset", None)
        for flag, path in _squad_files(flags).items():
            flags.setdefault(flag, [path])
        return Task("SQuAD", "f1", RUN_QA)
    if name not in TASKS:
        raise ValueError(f"--task_name '{name}' is no GLUE task; choose from {', '.join(TASKS)}.")
    task = TASKS[name]
    return Task(task.title, task.main_metric, RUN_GLUE)


def _squad_files(flags: Flags) -> dict[str, str]:
    """Find what the user did not name in the folder that ``SQUAD`` names."""
    if SQUAD_FILES.keys() <= flags.keys():
        return {}
    folder = os.environ.get("SQUAD")
    if not folder:
        raise ValueError(
            "SQuAD's files must be named: set SQUAD to the folder that holds train-v1.1.json and dev-v1.1.json (or "
            "the hub's train-*.parquet and validation-*.parquet), or leave squad out of TASKS."
        )
    return {flag: _in_folder(Path(folder).expanduser(), name) for flag, name in SQUAD_FILES.items()}


def _in_folder(folder: Path, name: str) -> str:
    """Find one file: SQuAD's own, or the hub's."""
    patterns = [f"{name}*.json", f"{'validation' if name == 'dev' else name}-*.parquet"]
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if len(found) != 1:
        raise ValueError(
            f"SQUAD is '{folder}', where one file {' or '.join(patterns)} was expected, not {len(found)}."
        )
    return str(found[0].absolute())
