"""Runs all fuzz targets in processes with bounds of memory and time, and writes what came of it as JSON.

Started by ``scripts/fuzz.sh``. Each batch of inputs has a process of its own, so that an abort or a lack of memory
costs one batch, and is counted with the seed that did it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fuzz_run import BYTES, ROOT, SECONDS, TARGETS, bound_memory, run, run_described

from transformers import logging

BATCH = 1000
_FORKED = multiprocessing.get_context("fork")  # imports are shared: they took more time than the inputs
_REPEAT = "python tests/fuzz/fuzz_run.py --reader {reader} --repeat {seed} --keep /tmp/fault"


def run_batch(reader: str, first: int, count: int, described: bool) -> dict[str, Any]:
    """Run one batch in a process of its own; where that dies or hangs, the seed at work is the fault."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        progress, result = Path(folder, "seed"), Path(folder, "result.json")
        child = _FORKED.Process(target=_work, args=(reader, first, count, described, progress, result))
        child.start()
        child.join(300 + count * 0.5)  # all of them; a single one that takes long is a fault of its own
        if result.is_file():
            child.join()
            found: dict[str, Any] = json.loads(result.read_text())
            return found
        story = f"the process ended with {child.exitcode}" if child.exitcode is not None else "the process hung"
        child.kill()
        child.join()
        seed = int(progress.read_text()) if progress.is_file() else first
    lost = 0 if described else seed - first + 1
    return {"inputs": lost, "fault": 1, "crashed": True, "faults": [{"reader": reader, "seed": seed, "fault": story}]}


def _work(reader: str, first: int, count: int, described: bool, progress: Path, result: Path) -> None:
    """Run a batch within the bounds of memory, and write what came of it."""
    logging.set_verbosity_error()
    run(reader, [0])  # what is imported late is there before the bound
    bound_memory()
    seeds = range(first, first + count)
    found = run_described(reader, first, count) if described else run(reader, seeds, progress)
    unfinished = result.with_suffix(".partial")
    unfinished.write_text(json.dumps(found))
    unfinished.rename(result)


def run_round(reader: str, number: int, first: int, found: dict[str, Any]) -> None:
    """Run one batch of a target, and count what came of it; every eighth batch is made from descriptions."""
    start = time.monotonic()
    shapes = len(TARGETS[reader].shapes or {})
    described = bool(shapes) and number % 8 == 7
    batch = run_batch(reader, first + number * BATCH, BATCH // shapes if described else BATCH, described)
    found["faults"] += batch.pop("faults")
    found["slowest_s"] = max(found["slowest_s"], batch.pop("slowest_s", 0.0))
    for name, count in batch.items():
        found[name] = found.get(name, 0) + int(count)
    found["seconds"] = round(found["seconds"] + time.monotonic() - start, 1)


def main() -> None:
    """Run the targets in turn, write the result, and print each fault with the command that repeats it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="over all readers")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="stop after these, however many there were")
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed of each reader")
    parser.add_argument("--readers", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    readers: dict[str, Any] = {name: {"slowest_s": 0.0, "seconds": 0.0, "faults": []} for name in args.readers}
    for number in range(-(-args.inputs // (BATCH * len(args.readers)))):
        for reader in args.readers:
            if time.monotonic() < end:
                run_round(reader, number, args.first, readers[reader])
        total = _summary(args, readers)
        args.result.write_text(json.dumps(total, indent=2) + "\n", encoding="utf-8")
        print(f"round {number + 1}: {total['total']}", flush=True)
        if time.monotonic() >= end:
            break
    faults = [fault for found in readers.values() for fault in found["faults"]]
    for fault in faults:
        print(f"\nFAULT  {_REPEAT.format(**fault)}\n{fault['fault']}")
    count = sum(found.get("inputs", 0) for found in readers.values())
    print(f"\n{count:,} inputs, {len(faults)} faults; {args.result}")
    sys.exit(1 if faults else 0)


def _summary(args: argparse.Namespace, readers: dict[str, Any]) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False).stdout
    names = ("inputs", "accepted", "refused", "fault", "crashed")
    return {
        "total": {name: sum(int(found.get(name, 0)) for found in readers.values()) for name in names},
        "bounds": {"seconds_an_input": SECONDS, "bytes_beyond_the_start": BYTES},
        "first_seed": args.first,
        "commit": commit.strip(),
        "versions": {name: version(name) for name in ("torch", "tokenizers", "safetensors", "hypothesis")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, one core",
        "readers": readers,
    }


if __name__ == "__main__":
    main()
