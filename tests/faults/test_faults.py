"""The n-th writing system call of a run fails, or its disk is too small.

Then: one line, exit code 2, the last checkpoint whole, and the command goes on. Here for some calls, the kinds of
faults in turn, and some sizes; ``scripts/fault_test.sh`` and ``scripts/disk_test.sh`` go through all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


NEEDS_COMPILER = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, which makes the shim")


def may_mount() -> bool:
    """Say whether this user may mount disks in a name space of its own."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def result_of(program: str, flags: list[str], folder: Path) -> dict[str, Any]:
    """Run a program of this folder to its end, and give its result."""
    command = [sys.executable, str(HERE / program), *flags, "--result", str(folder / "result.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
@NEEDS_COMPILER
def test_some_calls_of_a_run_fail(tmp_path: Path) -> None:
    result = result_of("fault_all.py", ["--every", "41", "--first", "7"], tmp_path)
    assert result["tried"] == len(range(7, result["calls_of_a_run"] + 1, 41)) >= 8
    codes = {code for each in result["by_fault"].values() for code in each["codes"]}
    assert codes <= {"0", "2"}
    assert "2" in codes


@pytest.mark.slow
@NEEDS_COMPILER
@pytest.mark.skipif(not may_mount(), reason="needs a user name space in which disks can be mounted")
def test_disks_of_some_sizes(tmp_path: Path) -> None:
    result = result_of("full_disks.py", ["--first", "3", "--every", "41"], tmp_path)
    assert result["enough"]
    assert result["codes"].keys() == {"0", "2"}
