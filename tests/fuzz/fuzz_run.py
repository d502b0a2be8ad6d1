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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "src"), str(HERE), str(HERE.parent / "support"), str(HERE.parent / "reference")]

from fuzz_mutations import mutated  # noqa: E402
from fuzz_readers import TARGETS, Target  # noqa: E402

SECONDS, BYTES = 10.0, 2**30
"""What one input may take: time, and memory beyond what the process holds before the first."""


class Damaged:
    """The folder of a target, whose files are damaged and mended again.

    Args:
        target: The target.
        folder: An empty folder.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.folder, self._target = folder, target
        target.make(folder)
        self._whole = {name: (folder / name).read_bytes() for name in target.files}
        target.use(folder)  # else all that follows would be refused for nothing

    def damage(self, name: str, seed: int) -> None:
        """Put the input of a seed into the folder."""
        random = Random(f"{name}:{seed}")
        files = random.sample(self._target.files, k=min(len(self._target.files), random.choice((1, 1, 1, 2))))
        for file, content in self._whole.items():
            (self.folder / file).write_bytes(mutated(file, content, random) if file in files else content)


def fault_of(target: Target, folder: Path) -> tuple[str, str | None]:
    """Read and use what is in a folder.

    Returns:
        ``"accepted"``, ``"refused"`` or ``"fault"``, and for a fault its traceback.
    """
    start = time.monotonic()
    try:
        target.use(folder)
        verdict = "accepted"
    except (ValueError, OSError):
        verdict = "refused"
    except KeyboardInterrupt:
        raise
    except BaseException:  # the library's panics are no Exception
        return "fault", traceback.format_exc()
    seconds = time.monotonic() - start
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
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        damaged = Damaged(TARGETS[name], Path(folder))
        for seed in seeds:
            if progress is not None:
                progress.write_text(str(seed))
            damaged.damage(name, seed)
            start = time.monotonic()
            verdict, story = fault_of(TARGETS[name], damaged.folder)
            slowest = max(slowest, time.monotonic() - start)
            counts[verdict] += 1
            if story is not None:
                faults.append({"reader": name, "seed": seed, "fault": story[-1500:]})
    return {"inputs": sum(counts.values()), **counts, "slowest_s": round(slowest, 2), "faults": faults}


def _bound_memory() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + BYTES, held + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Run one target from the command line, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", required=True, choices=TARGETS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--progress", type=Path)
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    from transformers import logging

    logging.set_verbosity_error()
    if args.repeat is None:
        run(args.reader, [0])  # what is imported late is there before the bound
        _bound_memory()
        print(json.dumps(run(args.reader, range(args.first, args.first + args.count), args.progress)))
        return
    shutil.rmtree(args.keep, ignore_errors=True)
    args.keep.mkdir(parents=True)
    Damaged(TARGETS[args.reader], args.keep).damage(args.reader, args.repeat)
    print(*fault_of(TARGETS[args.reader], args.keep), sep="\n")


if __name__ == "__main__":
    main()
