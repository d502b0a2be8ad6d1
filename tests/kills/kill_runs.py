"""Runs of an example's script that are killed: at a boundary of writing, or at some moment; and what each leaves.

A run is a forked child of a process that has imported everything, so that hundreds are cheap: it has its own memory,
files and end, and ``kill -9`` ends it as any other. ``command`` starts the same by its command line.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "text-classification" / "run_glue.py"

_WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}


class Boundaries:
    """Counts the writing operations of this process below a folder, and kills it before the n-th.

    Python tells of each (``sys.addaudithook``) but ``fsync``, which is wrapped. Before the next one is after this one.

    Args:
        folder: The output folder.
        fatal: The number of the operation to die before; 0 counts only.
        tell: Is given the number of operations so far.
    """

    def __init__(self, folder: Path, fatal: int, tell: Callable[[int], object]) -> None:
        self.folder, self.fatal, self.tell, self.count = str(folder), fatal, tell, 0
        sys.addaudithook(self._heard)
        flush = os.fsync

        def flushing(descriptor: int) -> None:
            self._passed()
            flush(descriptor)

        os.fsync = flushing

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and mode[:1] in "wxa+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        else:
            path, writes = arguments[0] if arguments else None, event in _WRITES
        if writes and isinstance(path, str | os.PathLike) and str(path).startswith(self.folder):
            self._passed()

    def _passed(self) -> None:
        self.count += 1
        self.tell(self.count)
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def count_writes(folder: Path, fatal: int, counter: Path) -> None:
    """Count this process's writing operations below a folder from now on, into a file; see `Boundaries`."""
    told = os.open(counter, os.O_WRONLY | os.O_CREAT)
    Boundaries(folder, fatal, lambda count: os.pwrite(told, str(count).encode(), 0))


@dataclass(frozen=True)
class End:
    """How a run ended: the exit code (of the first process), how often it wrote, and how long it took."""

    code: int
    writes: int
    seconds: float


def fork_run(
    script: str,
    words: Sequence[str],
    folder: Path,
    *,
    processes: int = 1,
    port: int = 0,
    fatal: int = 0,
    after: float = 0,
) -> End:
    """Run a script in forked children.

    Args:
        script: Its module.
        words: Its flags.
        folder: Its output folder.
        processes: How many train together.
        port: Where they meet.
        fatal: The first process dies before its n-th writing operation; 0: never.
        after: All die after so many seconds; 0: never.
    """
    begin = time.monotonic()
    counter = folder.parent / f".{folder.name}.writes"
    counter.unlink(missing_ok=True)
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            _be_run(script, words, folder, rank, processes, port, fatal if rank == 0 else 0, counter)
        children.append(child)
    codes = _wait(children, begin + after if after else None)
    writes = int(counter.read_text() or 0) if counter.is_file() else 0
    return End(codes[0], writes, time.monotonic() - begin)


def _be_run(
    script: str,
    words: Sequence[str],
    folder: Path,
    rank: int,
    processes: int,
    port: int,
    fatal: int,
    counter: Path,
) -> None:
    """Be the run, in the child; never returns."""
    code = 99
    try:
        speak_into(folder.parent / f"{folder.name}.{rank}.log")
        if processes > 1:
            shared = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in shared.items()})
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1")
        if rank == 0:
            count_writes(folder, fatal, counter)
        code = importlib.import_module(script).main(list(words))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def speak_into(log: Path) -> None:
    """Let what this process says go into a file."""
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)


def _wait(children: Sequence[int], deadline: float | None) -> list[int]:
    """Wait for all; kill them at the deadline, and the others a while after the first has died."""
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in children:
            if child not in codes:
                found, status = os.waitpid(child, os.WNOHANG)
                if found:
                    codes[child] = os.waitstatus_to_exitcode(status)
        dead = any(code != 0 for code in codes.values())  # a launcher stops the rest
        if dead or (deadline is not None and time.monotonic() >= deadline):
            for child in children:
                if child not in codes:
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.005)
    return [codes[child] for child in children]


def command_run(words: Sequence[str], folder: Path, *, after: float = 0) -> End:
    """Run the command line itself; kill it after so many seconds (0: not)."""
    begin = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with (folder.parent / f"{folder.name}.command.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, str(SCRIPT), *words], env=environment, stdout=log, stderr=log)
        try:
            process.wait(after or None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return End(process.returncode, 0, time.monotonic() - begin)


_TIMES = ("runtime", "per_second", "mem_", "minutes", "_time", "best_model_checkpoint", "output_dir", "logging_dir")


def digest(folder: Path) -> dict[str, str]:
    """Give the hash of everything that a run left and that two equal runs share; times and places are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.startswith("runs/") or path.name in ("manifest.json", "run_record.json"):
            continue
        if path.suffix == ".safetensors":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name in ("trainer_state.json", "scheduler.json", "rng_state.json", "optimizer.json", "config.json"):
            content = _without_times(json.loads(path.read_text(encoding="utf-8")))
            found[name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        else:
            found[name] = "is there"
    return found


def _without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            key: _without_times(value)
            for key, value in content.items()
            if not any(word in key for word in _TIMES) and key != "train_loss"
        }
    return [_without_times(item) for item in content] if isinstance(content, list) else content


def leftovers(folder: Path) -> list[str]:
    """Name what a run that has ended should not leave: hidden files and folders, and temporary ones."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return [name for name in names if any(part.startswith(".") or part.endswith(".tmp") for part in name.split("/"))]


def moments(writes: int, kills: int, seed: int) -> list[int]:
    """Choose operations to die before, spread over all of a run's."""
    generator = random.Random(seed)
    return sorted(generator.sample(range(1, writes + 1), min(kills, writes)))
