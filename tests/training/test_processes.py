"""Several processes train like one with the same global batch, and evaluate every example exactly once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_case import ROOT, build, examples, outcome, read_outcome, run_in_process

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]

SETTINGS: dict[str, Any] = {"dropout": 0.0, "save_strategy": "no"}


@pytest.mark.parametrize(
    "several",
    [
        {"processes": 2, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 1},
        {"processes": 2, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 3, "group_by_length": True},
        {"processes": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1},
        {"processes": 2, "gradient_accumulation_steps": 1, "older": True, "save_strategy": "epoch"},
    ],
    ids=["two", "two-accumulating-and-grouped", "three", "two-with-a-trainer-of-2021"],
)
def test_processes_do_not_change_the_training(
    several: dict[str, Any], request: pytest.FixtureRequest, run_forked: Run, tmp_path: Path
) -> None:
    same = {name: True for name in ("group_by_length", "older") if name in several}
    alone = build(str(tmp_path / "alone"), **SETTINGS, **same)  # 6 examples a step, and 1 in an epoch's last
    alone.train()
    expected = outcome(alone)
    run = run_in_process if request.node.callspec.id == "two" else run_forked  # once by torchrun
    ran = run(tmp_path / "result", output_dir=str(tmp_path / "several"), **{**SETTINGS, **several})
    assert ran.returncode == 0, ran.stderr[-3000:]
    if "older" in several:  # the checkpoint is sealed with what each process wrote into it
        sealed = json.loads((tmp_path / "several" / "checkpoint-20" / "manifest.json").read_text())["files"]
        assert {"model.safetensors", "process-0.txt", "process-1.txt"} <= set(sealed)
    found = read_outcome(tmp_path / "result")
    torch.testing.assert_close(found["history"], expected["history"], atol=1e-5, rtol=1e-5)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)
    prediction = alone.predict(alone.eval_dataset)
    torch.testing.assert_close(found["predictions"], torch.from_numpy(prediction.predictions), atol=1e-5, rtol=1e-5)
    assert found["labels"].tolist() == [example["labels"] for example in examples(17, seed=2)]
    metrics = json.loads((tmp_path / "result" / "metrics.json").read_text())
    assert metrics["eval_loss"] == pytest.approx(alone.evaluate()["eval_loss"], abs=1e-5)


def test_an_error_in_all_processes_ends_them_with_its_own_message(tmp_path: Path) -> None:
    several: dict[str, Any] = {"processes": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e30}
    ran = run_in_process(tmp_path / "never", output_dir=str(tmp_path / "out"), **several)
    assert ran.returncode == 1
    assert "FloatingPointError" in ran.stderr
    assert "SIGABRT" not in ran.stderr


def test_two_processes_resume_exactly(run_forked: Run, tmp_path: Path) -> None:
    several: dict[str, Any] = {"processes": 2, "gradient_accumulation_steps": 1, "save_steps": 8}
    for name, stop in (("straight", {}), ("killed", {"kill_at": 12})):
        ran = run_forked(tmp_path / name, output_dir=str(tmp_path / f"{name}-out"), **several, **stop)
        assert (ran.returncode == 0) is (name == "straight"), ran.stderr[-3000:]
    resumed = run_forked(tmp_path / "resumed", output_dir=str(tmp_path / "killed-out"), resume=True, **several)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    first, second = read_outcome(tmp_path / "straight"), read_outcome(tmp_path / "resumed")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_one_process_goes_on_with_what_two_began(run_forked: Run, tmp_path: Path) -> None:
    two: dict[str, Any] = {"processes": 2, "gradient_accumulation_steps": 1, "dropout": 0.0, "max_steps": 20}
    killed = run_forked(tmp_path / "never", output_dir=str(tmp_path / "out"), kill_at=14, **two)
    assert killed.returncode != 0
    resumed = build(str(tmp_path / "out"), dropout=0.0)
    resumed.train(resume_from_checkpoint=True)
    straight = build(str(tmp_path / "straight"), dropout=0.0)
    straight.train()
    torch.testing.assert_close(outcome(resumed)["history"], outcome(straight)["history"], atol=1e-5, rtol=1e-5)


ENDING = """
import atexit, sys, torch
from transformers.training.devices import end_process, process_state
process_state(no_cuda=True)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
model(torch.ones(1, 2)).sum().backward()
atexit.register(lambda: print("registered for the end", file=sys.stderr))
end_process(int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 7])
def test_a_script_ends_with_its_own_code(code: int, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(ENDING)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [*launcher, str(tmp_path / "script.py"), str(code)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (ran.returncode == 0) is (code == 0), ran.stderr[-3000:]
    assert "registered for the end" in ran.stderr
    if code:
        assert re.search(rf"exitcode +: {code} ", ran.stderr), ran.stderr[-3000:]
