"""A side of a benchmark: a script of this folder in a process that stays alive and answers line by line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["REFERENCE", "ROOT", "LiveProcess", "OtherSide"]

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = os.environ.get("LORA_REFERENCE_PYTHON", str(ROOT / ".venv-reference" / "bin" / "python"))


class LiveProcess:
    """A process whose answers are lines of JSON.

    Args:
        python: The interpreter of its environment.
        script: In this folder.
        words: Its arguments.
        variables: Beside those of this process; its module search path is its environment's alone unless given here.

    Attributes:
        about: What it said of itself: versions.
    """

    def __init__(self, python: Path | str, script: str, words: list[str], variables: dict[str, str]) -> None:
        command = [str(python), str(ROOT / "benchmarks" / script), *words]
        environment = {**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1", **variables}
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class OtherSide(LiveProcess):
    """A process of the reference environment.

    Args:
        script: In this folder.
        words: Its arguments.
        threads: CPU threads, its last argument too.
    """

    def __init__(self, script: str, words: list[str], threads: int) -> None:
        super().__init__(REFERENCE, script, [*words, str(threads)], {"OMP_NUM_THREADS": str(threads)})
