"""The number of threads: what quotas allow, what is measured, and what a checkpoint was made with."""

from __future__ import annotations

import logging as python_logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_same_run import make
from training_case import ROOT

from transformers.training import threads
from transformers.training.same_run import threads_of_run
from transformers.training.threads import (
    available_processors,
    choose_threads,
    clearly_fastest,
    keep_threads,
    use_threads,
)


@pytest.fixture(autouse=True)
def threads_of_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    use_threads(before)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 10**6),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "20000 100000"}, 1),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 10**6),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
            },
            1,
        ),
        ({"proc/self/cgroup": "3:cpu:/x", "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1"}, 10**6),
        ({"proc/self/cgroup": "rubbish\n\n::", "sys/fs/cgroup/cpu.max": "0 0"}, 10**6),
    ],
)
def test_a_quota_counts(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert available_processors(tmp_path) == min(expected, allowed)
    assert 1 <= available_processors() <= allowed


def test_fewer_threads_only_where_they_are_clearly_faster() -> None:
    assert clearly_fastest({8: 1.0, 4: 1.3, 2: 2.0, 1: 4.0}) == 8
    assert clearly_fastest({8: 1.0, 4: 0.9, 2: 0.85, 1: 1.5}) == 8
    assert clearly_fastest({8: 9.0, 4: 1.0, 2: 1.1, 1: 2.0}) == 4
    assert clearly_fastest({2: 6.0, 1: 1.3}) == 1


def test_the_number_is_chosen_and_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    logger = python_logging.getLogger("transformers")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(3)
    with caplog.at_level(python_logging.INFO, logger="transformers"):
        choose_threads()
        assert (torch.get_num_threads(), caplog.text) == (3, "")
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        choose_threads()
        assert 1 <= torch.get_num_threads() <= available_processors()
        assert f"Computing with {torch.get_num_threads()} thread" in caplog.text
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
        torch.set_num_threads(3)
        choose_threads()
        assert torch.get_num_threads() == 1
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setattr(threads, "available_processors", lambda: 8)
        choose_threads()  # of what it was before the first choice, not of what that has left
        assert torch.get_num_threads() == 1
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
        torch.set_num_threads(6)
        choose_threads()
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        choose_threads()
        assert torch.get_num_threads() == 3


def test_a_resumed_run_keeps_the_number_that_nobody_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_threads(2)
    make(tmp_path).train()
    checkpoint = tmp_path / "out" / "checkpoint-2"
    assert threads_of_run(checkpoint) == 2
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    choose_threads()
    assert torch.get_num_threads() == 1
    make(tmp_path).train(resume_from_checkpoint=str(checkpoint))
    assert torch.get_num_threads() == 2
    use_threads(1)
    keep_threads(2)
    assert torch.get_num_threads() == 1
    trainer = make(tmp_path)
    trainer.args.num_threads = 2
    type(trainer)(trainer.model, trainer.args)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("given", "expected"), [({}, "1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")])
def test_a_script_lets_waiting_threads_sleep(given: dict[str, str], expected: str) -> None:
    code = "from common.process import behave; behave(); import os; print(os.environ.get('GOMP_SPINCOUNT'))"
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    variables = {**{key: value for key, value in os.environ.items() if key not in names}, **given}
    variables["PYTHONPATH"] = str(ROOT / "examples")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=True)
    assert done.stdout.strip() == expected
