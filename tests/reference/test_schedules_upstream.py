"""Every learning rate of every schedule equals upstream's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream

from transformers import get_scheduler

pytestmark = pytest.mark.reference

CASES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("constant", 0, 10, {}),
    ("constant_with_warmup", 4, 12, {}),
    *(("linear", warmup, total, {}) for warmup, total in ((0, 10), (1, 10), (7, 30), (5, 5))),
    *(("cosine", warmup, 30, kwargs) for warmup in (0, 7) for kwargs in ({}, {"num_cycles": 1.5})),
    *(("cosine_with_restarts", warmup, 30, kwargs) for warmup in (0, 7) for kwargs in ({}, {"num_cycles": 3})),
    *(("polynomial", warmup, 30, kwargs) for warmup in (0, 7) for kwargs in ({}, {"power": 2.0, "lr_end": 1e-5})),
]


def rates(name: str, warmup: int, total: int, kwargs: dict[str, Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_scheduler(name, optimizer, warmup, total, kwargs or None)
    seen = []
    for _ in range(total + 3):  # also beyond the end
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


def test_learning_rates_equal_upstream_s(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps(CASES))
    upstream("upstream_schedules.py", tmp_path / "cases.json", tmp_path / "rates.json")
    theirs = json.loads((tmp_path / "rates.json").read_text())
    for case, expected in zip(CASES, theirs, strict=True):
        assert rates(*case) == pytest.approx(expected, rel=1e-12, abs=1e-18), case
