"""Lets every n-th writing system call of a run with three checkpoints fail, and repeats the command each time.

Started by ``scripts/fault_test.sh`` (all calls), or by the suite (some). Writes the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_FOLDERS = [ROOT / name for name in ("src", "examples", "tests/support", "tests/kills", "tests/faults")]
sys.path[:0] = [str(folder) for folder in (*_FOLDERS, *(ROOT / "examples").glob("*-*"))]

from example_runs import FOLDERS, prepare  # noqa: E402
from fault_runs import FAULTS, Ending, flaws, run, with_shim  # noqa: E402
from kill_all import LORA  # noqa: E402
from kill_runs import digest  # noqa: E402

from transformers.training.environment import describe_environment  # noqa: E402

RUN = [*LORA, "--max_steps", "6", "--save_steps", "2", "--per_device_train_batch_size", "4", "--do_eval"]


def main() -> int:
    """Go through the calls, write the result, and give 1 where one was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="every so many-th call")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--script", choices=FOLDERS, default="run_glue")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--minutes", type=float, default=600, help="no further call after so many")
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "machine_faults.json")
    given = parser.parse_args()
    work, script = with_shim(), given.script
    begin, words = time.monotonic(), [*prepare(work)[script], *RUN]
    straight = run(script, words, work / "straight")
    if straight.code != 0:
        print(straight.said, file=sys.stderr)
        return 1
    expected = digest(work / "straight")
    found: dict[str, dict[str, Any]] = {name: {"calls": 0, "codes": {}, "faults": []} for name in given.faults}
    for place, n in enumerate(range(given.first, straight.calls + 1, given.every)):
        names = given.faults if given.every == 1 else [given.faults[place % len(given.faults)]]
        for name in names:
            if time.monotonic() - begin < 60 * given.minutes:
                folder = work / "run"
                ending = run(script, words, folder, n, name)
                wrong = flaws(ending, folder, expected, lambda: run(script, words, work / "run"))
                _note(found[name], n, ending, wrong)
                shutil.rmtree(folder, ignore_errors=True)
    result = {
        "script": script,
        "calls_of_a_run": straight.calls,
        "tried": sum(each["calls"] for each in found.values()),
        "not_as_they_should_be": sum(len(each["faults"]) for each in found.values()),
        "by_fault": found,
        "every": given.every,
        "minutes": round((time.monotonic() - begin) / 60, 1),
        "environment": describe_environment(),
    }
    given.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, each in found.items():
        for fault in each["faults"]:
            print(f"{name}, call {fault['n']} ({fault['call']}): {'; '.join(fault['flaws'])}")
    print(f"{result['tried']} faults, {result['not_as_they_should_be']} not as they should be; {given.result}")
    shutil.rmtree(work)
    return 1 if result["not_as_they_should_be"] else 0


def _note(found: dict[str, Any], n: int, ending: Ending, wrong: list[str]) -> None:
    found["calls"] += 1
    code = str(ending.code)
    found["codes"][code] = found["codes"].get(code, 0) + 1
    if wrong:
        found["faults"].append({"n": n, "call": ending.failed, "flaws": wrong})


if __name__ == "__main__":
    sys.exit(main())
