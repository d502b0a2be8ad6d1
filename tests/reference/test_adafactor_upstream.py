"""Every step of Adafactor equals upstream's, whatever its switches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream
from upstream_adafactor import trajectory

pytestmark = pytest.mark.reference

FIXED: dict[str, Any] = {"lr": 1e-2, "relative_step": False}
CASES: list[dict[str, Any]] = [
    {},
    {"warmup_init": True, "weight_decay": 0.1},
    {**FIXED},
    {**FIXED, "scale_parameter": False},
    {**FIXED, "scale_parameter": False, "weight_decay": 0.1, "beta1": 0.9},
    {**FIXED, "scale_parameter": False, "clip_threshold": 0.5, "decay_rate": -0.5, "eps": [1e-4, 1e-2]},
]


def test_every_step_equals_upstream_s(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps(CASES))
    upstream("upstream_adafactor.py", tmp_path / "cases.json", tmp_path / "steps.json")
    theirs = json.loads((tmp_path / "steps.json").read_text())
    for options, expected in zip(CASES, theirs, strict=True):
        torch.testing.assert_close(torch.tensor(trajectory(options)), torch.tensor(expected), rtol=1e-6, atol=1e-9)
