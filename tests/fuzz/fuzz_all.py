"""Runs all fuzz targets in processes with bounds of memory and time, and writes what came of it as JSON.

Started by ``scripts/fuzz.sh``. Each batch of inputs has a process of its own, so that an abort or a lack of memory
costs one batch, and is counted with the seed that did it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fuzz_run import BYTES, HERE, ROOT, SECONDS, TARGETS

BATCH = 1000
_REPEAT = "python tests/fuzz/fuzz_run.py --reader {reader} --repeat {seed} --keep /tmp/fault"


def run_batch(reader: str, first: int, count: int, described: bool) -> dict[str, Any]:
    """Run one batch in a process of its own; where that dies or hangs, the seed at work is the fault."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        progress = Path(folder, "seed")
        command = [sys.executable, str(HERE / "fuzz_run.py"), "--reader", reader, "--first", str(first)]
        command += ["--count", str(count), "--progress", str(progress), *(["--described"] if described else [])]
        try:
            limit = 300 + count * 0.5  # all of them; a single one that takes long is a fault of its own
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=ROOT, check=False)
            if done.returncode == 0:
                found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
                return found
            story = f"the process ended with {done.returncode}: {done.stderr[-1200:]}"
        except subprocess.TimeoutExpired:
            story = "the process hung"
        seed = int(progress.read_text()) if progress.is_file() else first
    lost = 0 if described else seed - first + 1
    return {"inputs": lost, "fault": 1, "crashed": True, "faults": [{"reader": reader, "seed": seed, "fault": story}]}


def run_reader(reader: str, first: int, count: int) -> dict[str, Any]:
    """Run one target: an eighth of the inputs from descriptions where it has any, the others damaged."""
    counts: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest, start = 0.0, time.monotonic()
    shapes = len(TARGETS[reader].shapes or {})
    described = count // 8 if shapes else 0
    batches = [(first + at, min(500, described - at), True) for at in range(0, described, 500)]
    batches += [(first + at, min(BATCH, count - described - at), False) for at in range(0, count - described, BATCH)]
    for seed, size, from_shapes in batches:
        found = run_batch(reader, seed, max(1, size // shapes) if from_shapes else size, from_shapes)
        faults += found.pop("faults")
        slowest = max(slowest, found.pop("slowest_s", 0.0))
        counts.update({name: int(number) for name, number in found.items()})
    seconds = round(time.monotonic() - start, 1)
    print(f"{reader}: {dict(counts)}, {seconds} s", flush=True)
    return {**counts, "slowest_s": slowest, "seconds": seconds, "faults": faults}


def main() -> None:
    """Run the targets, write the result, and print each fault with the command that repeats it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="over all readers")
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed of each reader")
    parser.add_argument("--readers", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    args = parser.parse_args()
    each = -(-args.inputs // len(args.readers))
    readers: dict[str, Any] = {}
    for reader in args.readers:
        readers[reader] = run_reader(reader, args.first, each)
        args.result.write_text(json.dumps(_summary(args, readers), indent=2) + "\n", encoding="utf-8")
    faults = [fault for found in readers.values() for fault in found["faults"]]
    for fault in faults:
        print(f"\nFAULT  {_REPEAT.format(**fault)}\n{fault['fault']}")
    print(f"\n{sum(found['inputs'] for found in readers.values()):,} inputs, {len(faults)} faults; {args.result}")
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
