"""Runs of an example's script in which the n-th writing system call fails, and what each leaves behind.

A run is a forked child of a process that has imported everything and was started with the shim of `failing_calls.c` in
``LD_PRELOAD``. Every call of every library is seen, Rust's too.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kill_runs import digest, leftovers, speak_into

from transformers.trainer_utils import get_last_checkpoint
from transformers.training.checkpoint import verify_checkpoint

SOURCE = Path(__file__).with_name("failing_calls.c")
# By name: the error, and whether all later calls fail too.
FAULTS = {
    "no space left": (errno.ENOSPC, True),
    "input/output error": (errno.EIO, False),
    "quota": (errno.EDQUOT, True),
    "read-only": (errno.EROFS, True),
}


def build_shim(folder: Path) -> Path:
    """Compile the shim; give the library."""
    library = folder / "failing_calls.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        code: The exit code.
        calls: Writing calls below the output folder, as far as it came.
        failed: The call that failed.
        said: What it wrote to its streams.
    """

    code: int
    calls: int
    failed: str
    said: str


def run(script: str, words: Sequence[str], folder: Path, n: int = 0, fault: str = "no space left") -> Ending:
    """Run a script in a forked child.

    Args:
        script: Its module.
        words: Its flags; the output folder is added.
        folder: The output folder.
        n: The call that fails; 0: none.
        fault: A key of `FAULTS`.
    """
    log, told = folder.parent / f"{folder.name}.log", folder.parent / f"{folder.name}.calls"
    log.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _be_run(script, [*words, "--output_dir", str(folder)], folder, n, fault, log, told)
    _, status = os.waitpid(child, 0)
    calls, failed = json.loads(told.read_text())
    return Ending(os.waitstatus_to_exitcode(status), calls, failed, log.read_text(encoding="utf-8", errors="replace"))


def _be_run(script: str, words: Sequence[str], folder: Path, n: int, fault: str, log: Path, told: Path) -> None:
    """Be the run, in the child; never returns."""
    code, shim = 99, ctypes.CDLL(None)
    shim.fail_name.restype = ctypes.c_char_p
    try:
        speak_into(log)
        error, goes_on = FAULTS[fault]
        shim.fail_calls(str(folder).encode(), n, error, int(goes_on))
        code = importlib.import_module(script).main(list(words))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        told.write_text(json.dumps([shim.fail_count(), shim.fail_name().decode()]))
        os._exit(code)


def flaws(ending: Ending, folder: Path, expected: dict[str, str], repeat: Callable[[], Ending]) -> list[str]:
    """Say what is not as it should be after a fault, and when the command is repeated without one.

    Args:
        ending: Of the run that met the fault.
        folder: Its output folder.
        expected: What an undisturbed run leaves, by `kill_runs.digest`.
        repeat: Repeats the command.
    """
    found = []
    if ending.code not in (0, 2):
        found.append(f"exit code {ending.code}")
    if "Traceback" in ending.said:
        found.append(f"a traceback: {ending.said[-600:]}")
    lines = ending.said.strip().splitlines()
    if ending.code == 2 and not (lines and re.search(r"error: .{20,}", lines[-1])):
        found.append(f"no line that says what was wrong: {lines[-1:]}")
    told = ending.failed in ("", "mkdir")  # a folder that is there already is all that was wanted
    if ending.code == 0 and not told and not re.search(r"could not be|not written|No space|error", ending.said):
        found.append(f"a failed {ending.failed}, and not a word of it")
    if folder.is_dir():
        last = get_last_checkpoint(str(folder))
        if last is not None:
            verify_checkpoint(last)
    again = repeat()
    if again.code != 0:
        found.append(f"the repeated command ended with {again.code}: {again.said[-400:]}")
    left = digest(folder) if folder.is_dir() else {}
    different = sorted(name for name in {*left, *expected} if left.get(name) != expected.get(name))
    if different:
        found.append(f"other than an undisturbed run's: {', '.join(different[:4])}")
    if leftovers(folder):
        found.append(f"left over: {', '.join(leftovers(folder)[:4])}")
    return found


def with_shim() -> Path:
    """Start this program anew with the shim preloaded, unless it was; give a folder for all that it writes."""
    if "failing_calls" in os.environ.get("LD_PRELOAD", ""):
        return Path(os.environ["LD_PRELOAD"]).parent
    work = Path(tempfile.mkdtemp(prefix="faults-"))
    environment = {**os.environ, "LD_PRELOAD": str(build_shim(work))}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
