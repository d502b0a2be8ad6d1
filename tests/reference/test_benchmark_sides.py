"""The other sides of the benchmarks can be imported where upstream is: no script beside them hides a library."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.reference

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


def test_upstreams_sides_import_in_its_environment(reference_python: Path) -> None:
    names = sorted(path.stem for path in BENCHMARKS.glob("upstream_*.py"))
    assert len(names) > 5
    code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import {', '.join(names)}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(reference_python), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
