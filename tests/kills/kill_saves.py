"""Kills a small training before every single writing operation, and lets each go on; a script, for `test_kills`.

It takes a folder and prints a JSON object: the operations of a run, and what did not end as the uninterrupted run.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from kill_runs import count_writes
from safetensors.torch import load_file, save_file
from training_case import build, outcome

from transformers.trainer_utils import get_last_checkpoint

SETTINGS = {"max_steps": 4, "save_steps": 2, "eval_steps": 2, "gradient_accumulation_steps": 1, "save_total_limit": 1}


def train(folder: Path, result: Path) -> None:
    """Train from the newest checkpoint, or from the start, and write down every number."""
    trainer = build(str(folder), logging_strategy="no", **SETTINGS)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    trainer.save_model()
    save_file(outcome(trainer), result)


def files_in(folder: Path) -> set[str]:
    """Name all that a run leaves, hidden files too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked child; give its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(folder: Path, result: Path, fatal: int) -> Callable[[], None]:
    """Give a training that dies before its n-th writing operation."""

    def work() -> None:
        count_writes(folder, fatal, folder.with_suffix(".writes"))
        train(folder, result)

    return work


def main() -> None:
    torch.set_num_threads(1)
    here = Path(sys.argv[1])
    build(str(here / "never"), **SETTINGS).create_optimizer_and_scheduler(1)  # imports what every child needs
    gc.collect()
    gc.freeze()  # no garbage in the children
    code = in_child(killed(here / "straight", here / "straight.result", 0))
    expected = load_file(here / "straight.result")
    writes, faults = int((here / "straight.writes").read_text()), []
    for fatal in range(1, writes + 1):
        folder, result = here / str(fatal), here / f"{fatal}.result"
        codes = [in_child(killed(folder, result, fatal)), in_child(lambda f=folder, r=result: train(f, r))]
        found = load_file(result) if result.is_file() else {}
        same = found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
        left = sorted(files_in(folder) ^ files_in(here / "straight"))
        if codes != [-9, 0] or not same or left:
            faults.append({"before": fatal, "codes": codes, "same": same, "left_over": left})
    print(json.dumps({"code": code, "writes": writes, "faults": faults}))


if __name__ == "__main__":
    main()
