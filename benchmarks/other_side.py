"""The other side of a benchmark: a script in the reference environment that stays alive and answers line by line."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from step_benchmark import ROOT

__all__ = ["OtherSide"]


class OtherSide:
    """A process with upstream in it.

    Args:
        script: In this folder.
        words: Its arguments.
        threads: CPU threads, the last argument too.

    Attributes:
        about: What it said of itself: versions.
    """

    def __init__(self, script: str, words: list[str], threads: int) -> None:
        python = os.environ.get("LORA_REFERENCE_PYTHON", ROOT / ".venv-reference" / "bin" / "python")
        command = [str(python), str(ROOT / "benchmarks" / script), *words, str(threads)]
        environment = {**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.about = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}; run it by hand to see why.")

    def ask(self, line: object) -> dict[str, Any]:
        """Send a line and give the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
