"""The command line under signals, closed streams, a second run, and kills before its first checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plain_signals import not_ignored

import run_glue
from transformers.training.checkpoint import list_checkpoints
from transformers.training.lock import LOCK_NAME

SCRIPT = Path(run_glue.__file__)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]

pytestmark = pytest.mark.slow


@pytest.fixture
def words(tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path) -> list[str]:
    """Start an endless LoRA run, by its command line."""
    model = ["--model_name_or_path", tiny_checkpoint, "--apply_lora", "--lora_r", 2, "--lora_alpha", 4]
    task = ["--task_name", "sst2", "--glue_dataset", tiny_glue, "--do_train", "--max_steps", 100_000]
    quiet = ["--disable_tqdm", "true", "--no_cuda", "--logging_steps", 10_000, "--save_steps", 100_000]
    return [str(word) for word in (*model, *task, *quiet, "--output_dir", tmp_path / "out")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the script in a process of its own, which ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start_one(words: list[str], launcher: list[str] | None = None) -> subprocess.Popen[str]:
        folders = (SCRIPT.parents[2] / "src",)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, folders))
        command = [sys.executable, *(launcher or []), str(SCRIPT), *words]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        with not_ignored(signal.SIGINT, signal.SIGHUP):
            started.append(subprocess.Popen(command, env=environment, start_new_session=True, **pipes))
        return started[-1]

    yield start_one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def wait_for_training(process: subprocess.Popen[str]) -> str:
    """Read what a run says until it trains."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "Training on" in line:
            time.sleep(1)
            return said
    raise AssertionError(said[-3000:])


def test_sigterm_a_second_run_and_the_same_command_again(
    words: list[str], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = start(words)
    wait_for_training(first)
    assert run_glue.main(words) == 2, "the first is under way"
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == 143, said[-3000:]
    assert said.count("Stopped by SIGTERM") == 1
    assert "Traceback" not in said
    [checkpoint] = list_checkpoints(tmp_path / "out")
    assert not (tmp_path / "out" / LOCK_NAME).exists()
    again = start(words)
    assert f"Going on from {checkpoint}" in wait_for_training(again)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew(
    words: list[str], start: Callable[..., subprocess.Popen[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start(words)
    wait_for_training(first)
    first.kill()
    first.communicate()
    [logs] = (tmp_path / "out" / "runs").iterdir()
    (tmp_path / "out" / ".checkpoint-5.partial").mkdir()
    assert run_glue.main([*words, "--lora_r", "3"]) == 2
    assert "holds the beginning of another run: --lora_r was 2 and is 3" in capsys.readouterr().err
    assert run_glue.main([*words, "--max_steps", "2"]) == 0
    assert not logs.exists()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_during_the_imports(name: str, words: list[str], start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(words)
    deadline = time.monotonic() + 30
    while b"libtorch" not in Path(f"/proc/{process.pid}/maps").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.Signals[name])
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.Signals[name], said[-2000:]
    assert said.splitlines()[-1].startswith("run_glue.py: "), said
    assert "Traceback" not in said


def test_closed_streams(words: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2] / "src")}
    shell = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, str(SCRIPT), *words, "--max_steps", "2"]
    done = subprocess.run(shell, env=environment, check=False, timeout=120)
    assert done.returncode == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])  # where it dies alone the ranks get SIGTERM
def test_signals_to_torchrun(
    name: str, words: list[str], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    launcher = start([*words, "--report_to", "none"], TORCHRUN)
    wait_for_training(launcher)
    launcher.send_signal(signal.Signals[name])
    said = launcher.communicate(timeout=90)[1]  # the ranks hold the stream: they have ended too
    assert launcher.returncode != 0
    assert said.count("Stopped by") == 1, said[-3000:]
    assert len(list_checkpoints(tmp_path / "out")) == 1
