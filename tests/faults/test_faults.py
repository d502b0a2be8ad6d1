"""The n-th writing system call of a run fails: one line, exit code 2, the last checkpoint whole, and it goes on.

Some calls of a run, the kinds of faults in turn; ``scripts/fault_test.sh`` goes through all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, which makes the shim")
def test_some_calls_of_a_run_fail(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "fault_all.py"), "--every", "41", "--first", "7"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [*command, "--result", str(tmp_path / "result.json")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["tried"] == len(range(7, result["calls_of_a_run"] + 1, 41)) >= 8
    codes = {code for each in result["by_fault"].values() for code in each["codes"]}
    assert codes <= {"0", "2"}
    assert "2" in codes
