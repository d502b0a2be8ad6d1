"""Signals that ask a training to stop, the lock of its folder, and checkpoints that are not what they seem."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_signals import not_ignored
from training_case import ROOT, build, outcome

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from transformers.training.checkpoint import clear_leftovers, verify_checkpoint, writing_checkpoint
from transformers.training.lock import LOCK_NAME, FolderInUseError, locked_folder
from transformers.training.signals import TrainingStopped


class Signalled(TrainerCallback):
    """Sends this process a signal within a step."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_stops_after_a_whole_step(name: str, tmp_path: Path) -> None:
    straight = build(str(tmp_path / "straight"))
    straight.train()
    number = signal.Signals[name]
    stopped = build(str(tmp_path / "stopped"), save_on_preemption=True)
    stopped.add_callback(Signalled(7, number))
    with not_ignored(number):
        with pytest.raises(TrainingStopped) as caught:
            stopped.train()
        assert signal.getsignal(number) is signal.SIG_DFL
    assert caught.value.code == 128 + number
    verify_checkpoint(tmp_path / "stopped" / "checkpoint-7")
    resumed = build(str(tmp_path / "stopped"))
    resumed.train(resume_from_checkpoint=True)
    first, second = outcome(straight), outcome(resumed)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_program_s_own_handler_stays_in_charge(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        trainer = build(str(tmp_path))
        trainer.add_callback(Signalled(7, signal.SIGTERM))
        assert trainer.train().global_step == 20
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_other_threads_train(tmp_path: Path) -> None:
    steps: list[int] = []
    trainer = build(str(tmp_path), max_steps=2)
    thread = threading.Thread(target=lambda: steps.append(trainer.train().global_step))
    thread.start()
    thread.join()
    assert steps == [2]


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from training_case import build\n"
        "from test_signals import Signalled\n"
        "trainer = build(sys.argv[1])\n"
        "for _ in range(2): trainer.add_callback(Signalled(7, signal.SIGTERM))\n"
        "trainer.train()\n"
    )
    done = _run(script, tmp_path)
    assert done.returncode == 143, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "checkpoint-7").exists()


def test_one_run_a_folder(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from transformers.training.lock import locked_folder\n"
        "with locked_folder(sys.argv[1]): print('in', flush=True); input()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    first = subprocess.Popen(
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"in\n"
        with pytest.raises(FolderInUseError, match=f"process {first.pid} on "), locked_folder(tmp_path):
            pass
        with pytest.raises(FolderInUseError):
            build(str(tmp_path)).train()
    finally:
        first.kill()
        first.communicate()
    assert (tmp_path / LOCK_NAME).is_file(), "a killed run leaves it"
    with locked_folder(tmp_path), locked_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_leftover_of_another_form_is_removed(kind: str, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    for number in (5, 7):
        partial = out / f".checkpoint-{number}.partial"
        partial.write_text("x") if kind == "file" else partial.symlink_to(elsewhere)
    with writing_checkpoint(out / "checkpoint-5") as partial:
        (partial / "weights").write_text("w")
    clear_leftovers(out)
    assert [path.name for path in out.iterdir()] == ["checkpoint-5"]
    assert (elsewhere / "kept").exists()


def test_a_checkpoint_without_what_must_be_there_is_not_sealed(tmp_path: Path) -> None:
    def lose() -> None:
        with writing_checkpoint(tmp_path / "checkpoint-5", ["weights", "state"]) as partial:
            (partial / "state").write_text("s")

    with pytest.raises(OSError, match="weights is lacking"):
        lose()
    assert list(tmp_path.iterdir()) == []


def test_a_copy_under_another_name_is_not_the_newest(tmp_path: Path) -> None:
    build(str(tmp_path)).train()
    shutil.copytree(tmp_path / "checkpoint-20", tmp_path / "checkpoint-999")
    assert get_last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-20")


def test_half_a_checkpoint_is_no_model_to_start_from(tmp_path: Path) -> None:
    build(str(tmp_path)).train()
    folder = tmp_path / "checkpoint-20"
    for name in ("manifest.json", "trainer_state.json"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match="not whole"):
        build(str(tmp_path)).train(resume_from_checkpoint=str(folder))


def test_a_lost_best_checkpoint_costs_the_choice_and_not_the_run(tmp_path: Path) -> None:
    settings = {"load_best_model_at_end": True, "eval_steps": 5, "save_steps": 5, "learning_rate": 0.0}
    whole = build(str(tmp_path), **settings)
    whole.train()
    assert whole.state.best_model_checkpoint == str(tmp_path / "checkpoint-5"), "nothing was learned after it"
    shutil.rmtree(tmp_path / "checkpoint-20")
    (tmp_path / "checkpoint-5" / "model.safetensors").write_bytes(b"damaged")
    resumed = build(str(tmp_path), **settings)
    assert resumed.train(resume_from_checkpoint=True).global_step == 20
    assert resumed.state.best_model_checkpoint == str(tmp_path / "checkpoint-20")

    class Damaged(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 20:
                (tmp_path / "again" / "checkpoint-5" / "model.safetensors").unlink()

    again = build(str(tmp_path / "again"), **settings)
    again.add_callback(Damaged())
    assert again.train().global_step == 20


def _environment() -> dict[str, str]:
    folders = (ROOT / "src", ROOT / "tests" / "training", ROOT / "tests" / "support")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}


def _run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=120, check=False)
