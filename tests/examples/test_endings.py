"""How run_glue.py ends when training cannot go on: one clear line, exit code 2, and nothing lost."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import run_glue
from common.endings import give_up

SCRIPT = Path(run_glue.__file__)


def _flags(checkpoint: Path, glue: Path, output: Path) -> list[str]:
    words = ["--model_name_or_path", checkpoint, "--task_name", "mrpc", "--glue_dataset", glue, "--do_train"]
    words += ["--max_steps", 6, "--report_to", "none", "--disable_tqdm", "true", "--no_cuda", "--output_dir", output]
    return [str(word) for word in words]


def test_values_that_explode(
    tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*_flags(tiny_checkpoint, tiny_glue, tmp_path / "out"), "--learning_rate", "1e30", "--max_grad_norm", "0"]
    assert run_glue.main(words) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "error: The loss of step" in line or "error: The gradient norm of step" in line
    assert f"The weights were not updated. Its rows are in {tmp_path / 'out' / 'nonfinite_steps.jsonl'}" in line
    assert "Likely: a learning rate that is too high" in line
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_checkpoint_that_cannot_be_resumed(
    tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*_flags(tiny_checkpoint, tiny_glue, tmp_path / "out"), "--resume_from_checkpoint", str(tmp_path / "none")]
    assert run_glue.main(words) == 2
    assert "no such folder" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_full_disk(tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path) -> None:
    """Files of more than 60 kB cannot be written: the model's weights have 94 kB, all else is small."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(SCRIPT.parents[2] / "src")
    for further, words in (
        (["--save_steps", "2"], "checkpoint-2' could not be written"),
        ([], "could not be written"),
    ):
        command = [sys.executable, str(SCRIPT), *_flags(tiny_checkpoint, tiny_glue, tmp_path / "out"), *further]
        ran = subprocess.run(
            [*command, "--overwrite_output_dir"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=limit,
            check=False,
        )
        assert ran.returncode == 2, ran.stderr[-2000:]
        line = ran.stderr.strip().splitlines()[-1]
        assert "run_glue.py: error: " in line
        assert words in line
        assert "Traceback" not in ran.stderr
        assert not list((tmp_path / "out").glob("checkpoint-*")), "no torn checkpoint is left"


def test_too_little_memory_to_import(tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path) -> None:
    """Of real limits (``ulimit -v``) some end in C++'s own message, by chance; this is what Python's imports give."""
    (tmp_path / "torch.py").write_text(
        "raise ImportError('libtorch_cpu.so: failed to map segment from shared object')"
    )
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), *_flags(tiny_checkpoint, tiny_glue, tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(SCRIPT.parents[2] / "src")))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr[-2000:]
    assert ran.stderr.startswith("run_glue.py: error: There is not enough memory.")
    assert len(ran.stderr.splitlines()) == 1


def test_no_bar_is_drawn_below_the_error(
    tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*_flags(tiny_checkpoint, tiny_glue, tmp_path / "out"), "--disable_tqdm", "false"]
    assert run_glue.main([*words, "--learning_rate", "1e30", "--logging_steps", "1"]) == 2
    gc.collect()
    lines = capsys.readouterr().err.strip().splitlines()
    assert any("step/s" in line for line in lines)
    assert "error: " in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("handles", [16, 24])  # too few for the training itself; for the processes that load batches
def test_few_file_handles(handles: int, tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path) -> None:
    """No batch is waited for that a process could not hand over; which of them lacks the first handle is chance."""
    flags = [*_flags(tiny_checkpoint, tiny_glue, tmp_path / "out"), "--dataloader_num_workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        ["bash", "-c", f'ulimit -n {handles}; exec "$@"', "bash", sys.executable, str(SCRIPT), *flags],
        env={**environment, "PYTHONPATH": str(SCRIPT.parents[2] / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr[-2000:]
    (line,) = (line for line in ran.stderr.splitlines() if line.startswith("run_glue.py: error: "))
    assert "There are no more file handles" in line or "A process that loads batches ended" in line
    assert "the same command goes on" in line
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("can't start new thread"), "no more threads"),
        (OSError(24, "Too many open files"), "no more file handles"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "loads batches ended"),
        (RuntimeError("received 0 items of ancdata: Too many open files"), "no more file handles"),
    ],
)
def test_what_the_machine_lacks(error: Exception, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert give_up(error) == 2
    line = capsys.readouterr().err.strip()
    assert words in line
    assert "the same command goes on" in line
    assert "\n" not in line


def test_a_program_that_calls_a_script_keeps_its_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook, sys.excepthook
    assert give_up(ValueError("wrong")) == 2
    assert "wrong" in capsys.readouterr().err
    assert (sys.unraisablehook, sys.excepthook) == before


def test_any_other_runtime_error_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        give_up(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
