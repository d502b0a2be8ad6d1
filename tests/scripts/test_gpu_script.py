"""What can be said of ``benchmarks/gpu.sh`` without a GPU: it refuses in a line, and what it would run is there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _run(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **({} if path is None else {"PATH": path})}
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_help_says_how_it_is_called() -> None:
    ran = _run("--help")
    assert ran.returncode == 0
    assert "bash benchmarks/gpu.sh --quick" in ran.stdout


def test_without_a_gpu_it_refuses_in_a_line(tmp_path: Path) -> None:
    none = tmp_path / "nvidia-smi"  # the driver's own program where there is a driver and no GPU
    none.write_text("#!/bin/sh\nexit 9\n")
    none.chmod(0o755)
    ran = _run(path=f"{tmp_path}:{os.environ['PATH']}")
    assert ran.returncode == 2
    assert ran.stderr == "gpu.sh: error: this machine has no NVIDIA GPU (nvidia-smi lists none)\n"
    assert _run("--fast").returncode == 2


def test_what_it_would_run_is_there() -> None:
    quick, whole = _run("--dry-run", "--quick"), _run("--dry-run")
    commands = [line.removeprefix("== ").split() for line in whole.stdout.splitlines() if line]
    assert {command[0] for command in commands} == {
        f"benchmarks/{name}.py" for name in ("gpu_tests", "gpu_step", "step_limit", "lora_step")
    }
    assert all((ROOT / command[0]).is_file() for command in commands)
    assert len(quick.stdout) < len(whole.stdout)
