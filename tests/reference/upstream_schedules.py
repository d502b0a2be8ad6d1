"""Runs upstream's schedules on the cases of a JSON file; runs in the reference environment.

Called with the file of cases, a list of ``[name, warmup, total, kwargs]``, and the file to write the rates into.
"""

import json
import sys
from pathlib import Path

import torch

from transformers import get_scheduler


def rates(name: str, warmup: int, total: int, kwargs: dict, learning_rate: float = 3e-4) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=learning_rate)
    schedule = get_scheduler(name, optimizer, warmup, total, kwargs or None)
    seen = []
    for _ in range(total + 3):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([rates(*case) for case in cases]))
