"""Runs a fuzz target on many damaged inputs; each is made from the target's name and one seed, which repeats it.

    python tests/fuzz/fuzz_run.py --reader spm-model --first 0 --count 1000     in a process with bounds
    python tests/fuzz/fuzz_run.py --reader spm-model --repeat 17 --keep folder  one input again, kept in a folder

`run` is the part that the suite uses too. `scripts/fuzz.sh` runs all targets and writes the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_FOLDERS = [ROOT / "src", HERE, HERE.parent / "support", HERE.parent / "reference", ROOT / "examples"]
sys.path[:0] = [str(folder) for folder in (*_FOLDERS, *(ROOT / "examples").glob("*-*"))]

from fuzz_described import nearly_fitting  # noqa: E402
from fuzz_mutations import mutated  # noqa: E402
from fuzz_readers import TARGETS, Target  # noqa: E402

PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # in memory: a disk would take most of the time
SECONDS, BYTES = 10.0, 2**30
"""What one input may take: time of the processor, and memory beyond what the process holds before the first."""


class Damaged:
    """The folder of a target, whose files are damaged and mended again.

    Args:
        target: The target.
        folder: An empty folder.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.folder, self.target = folder, target
        target.make(folder)
        self._whole = {name: (folder / name).read_bytes() for name in target.files}
        target.use(folder)  # else all that follows would be refused for nothing

    def write(self, file: str, content: object) -> None:
        """Put one file's content into the folder, beside whole ones."""
        for name, whole in self._whole.items():
            (self.folder / name).write_bytes(whole)
        text = json.dumps({**json.loads(self._whole[file]), **content} if isinstance(content, dict) else content)
        (self.folder / file).write_text(text, encoding="utf-8")

    def damage(self, name: str, number: int) -> None:
        """Put the input of a seed into the folder."""
        random = Random(f"{name}:{number}")
        files = random.sample(self.target.files, k=min(len(self.target.files), random.choice((1, 1, 1, 2))))
        for file, content in self._whole.items():
            (self.folder / file).write_bytes(mutated(file, content, random) if file in files else content)


def fault_of(target: Target, folder: Path) -> tuple[str, str | None]:
    """Read and use what is in a folder.

    Returns:
        ``"accepted"``, ``"refused"`` or ``"fault"``, and for a fault its traceback.
    """
    start = time.process_time()  # other programs on the machine do not count
    try:
        target.use(folder)
        verdict = "accepted"
    except (ValueError, OSError):
        verdict = "refused"
    except KeyboardInterrupt:
        raise
    except BaseException:  # the library's panics are no Exception
        return "fault", traceback.format_exc()
    seconds = time.process_time() - start
    return (verdict, None) if seconds < SECONDS else ("fault", f"took {seconds:.1f} s")


def run(name: str, seeds: Iterable[int], progress: Path | None = None) -> dict[str, Any]:
    """Run a target on the inputs of some seeds.

    Args:
        name: The target's.
        seeds: One for each input.
        progress: A file that holds the seed at work, for whoever finds the process dead.

    Returns:
        Counts by verdict, the longest time in seconds, and each fault with its seed.
    """
    counts: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=PLACE) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        damaged = Damaged(TARGETS[name], Path(folder))
        for number in seeds:
            if progress is not None:
                progress.write_text(str(number))
            damaged.damage(name, number)
            start = time.process_time()
            verdict, story = fault_of(TARGETS[name], damaged.folder)
            slowest = max(slowest, time.process_time() - start)
            counts[verdict] += 1
            if story is not None:
                faults.append({"reader": name, "seed": number, "fault": story[-1500:]})
    return {"inputs": sum(counts.values()), **counts, "slowest_s": round(slowest, 2), "faults": faults}


def run_described(name: str, number: int, count: int) -> dict[str, Any]:
    """Run a target on contents made from the descriptions of its JSON files, one field of which may be anything.

    Args:
        name: The target's.
        number: The seed that repeats the inputs, all of them.
        count: How many.

    Returns:
        As of `run`; a fault shows the smallest file that hypothesis finds for it.
    """
    counts: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    for file, shape in (TARGETS[name].shapes or {}).items():
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=PLACE) as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            story = _first_fault(
                Damaged(TARGETS[name], Path(folder)), file, nearly_fitting(shape), number, count, counts
            )
        if story is not None:
            faults.append({"reader": name, "file": file, "seed": number, "fault": story[-2500:]})
    return {"inputs": sum(counts.values()), **counts, "faults": faults}


def _first_fault(
    damaged: Damaged, file: str, contents: SearchStrategy[Any], number: int, count: int, counts: Counter[str]
) -> str | None:
    """Try a file's contents; give the first fault in its smallest form, with the content."""

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(contents)
    def check(content: dict[str, Any]) -> None:
        damaged.write(file, content)
        verdict, story = fault_of(damaged.target, damaged.folder)
        counts[verdict] += 1
        if story is not None:
            raise AssertionError(f"{json.dumps(content)[:600]}\n{story}")

    try:
        check()
    except AssertionError as error:
        return str(error)
    return None


def bound_memory() -> None:
    """Let this process take `BYTES` more than it holds, and write no image of its memory when it dies."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + BYTES, held + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Run one target from the command line, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", required=True, choices=TARGETS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--described", action="store_true", help="inputs from descriptions; --first is their seed")
    parser.add_argument("--progress", type=Path)
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    from transformers import logging

    logging.set_verbosity_error()
    if args.repeat is None:
        run(args.reader, [0])  # what is imported late is there before the bound
        bound_memory()
        if args.described:
            found = run_described(args.reader, args.first, args.count)
        else:
            found = run(args.reader, range(args.first, args.first + args.count), args.progress)
        print(json.dumps(found))
        return
    shutil.rmtree(args.keep, ignore_errors=True)
    args.keep.mkdir(parents=True)
    Damaged(TARGETS[args.reader], args.keep).damage(args.reader, args.repeat)
    print(*fault_of(TARGETS[args.reader], args.keep), sep="\n")


if __name__ == "__main__":
    main()
