"""Kills runs of fourteen configurations hundreds of times, and compares each end with the uninterrupted run's.

A series is one run that is killed several times and repeated each time by the same command, until it ends: in every
second series before operations of writing chosen at random, in the others at moments. ``scripts/kill_test.sh`` starts
it, with the folders of the examples and of the tests' helpers on the path.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from example_runs import prepare
from kill_runs import End, command_run, digest, fork_run, leftovers

from transformers.training.environment import describe_environment

ROOT = Path(__file__).resolve().parents[2]
LORA = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4"]
STEPS = ["--max_steps", "6", "--save_steps", "2", "--logging_steps", "1", "--per_device_train_batch_size", "4"]
BEST = ["--evaluation_strategy", "steps", "--eval_steps", "2", "--load_best_model_at_end", "--save_total_limit", "2"]
CONFIGURATIONS: dict[str, list[str]] = {
    "LoRA": LORA,
    "accumulation": [*LORA, "--gradient_accumulation_steps", "2"],
    "groups of like length": [*LORA, "--group_by_length"],
    "best model": [*LORA, *BEST],
    "bf16": [*LORA, "--bf16"],
    "full fine-tuning": ["--save_total_limit", "1"],
    "bottleneck adapters": ["--apply_adapter", "--adapter_type", "houlsby", "--adapter_size", "4"],
    "cutoff": [*LORA, "--consistency", "cutoff", "--reg_loss_wgt", "1.0", "--masking_prob", "0.1"],
    "worker processes": [*LORA, "--dataloader_num_workers", "1"],
    "two processes": LORA,
    "hidden words": LORA,
    "entities": LORA,
    "answers": LORA,
    "endings": LORA,
}
SCRIPTS = {"hidden words": "run_mlm", "entities": "run_ner", "answers": "run_qa", "endings": "run_swag"}
NOT_STARTED_BY_FORK = "command line"


class Case:
    """A configuration: how to run it, and what its uninterrupted run gives.

    Args:
        name: One of ``CONFIGURATIONS``, or ``NOT_STARTED_BY_FORK``.
        folder: For all that it writes.
        common: Flags of every run, by script.
    """

    def __init__(self, name: str, folder: Path, common: dict[str, list[str]]) -> None:
        self.name, self.folder = name, folder
        self.script = SCRIPTS.get(name, "run_glue")
        self.words = [*common[self.script], *STEPS, *CONFIGURATIONS.get(name, LORA)]
        folder.mkdir()
        self.straight = self.run("straight")
        if self.straight.code != 0:
            raise RuntimeError(f"{name}: the uninterrupted run ended with {self.straight.code}; see {folder}")
        self.expected = digest(folder / "straight")

    def run(self, name: str, *, fatal: int = 0, after: float = 0) -> End:
        """Run it into a folder of this name, and kill it if asked to; see ``fork_run``."""
        output = self.folder / name
        words = [*self.words, "--output_dir", str(output)]
        if self.name == NOT_STARTED_BY_FORK:
            return command_run(words, output, after=after)
        processes = 2 if self.name == "two processes" else 1
        port = 20_000 + (os.getpid() * 7 + time.monotonic_ns() // 1000) % 20_000
        return fork_run(self.script, words, output, processes=processes, port=port, fatal=fatal, after=after)

    def series(self, seed: int, kills: int) -> dict[str, Any]:
        """Kill one run so many times, let it end, and compare."""
        generator, name = random.Random(f"{self.name} {seed}"), f"series-{seed}"
        output = self.folder / name
        killed, refused = 0, []
        for _ in range(kills):
            if seed % 2 == 0 and self.name != NOT_STARTED_BY_FORK:
                end = self.run(name, fatal=generator.randint(1, self.straight.writes))
            else:
                end = self.run(name, after=generator.uniform(0.3, 1.0) * self.straight.seconds)
            killed += end.code == -9
            if end.code not in (0, -9):
                refused.append(end.code)
        end = self.run(name)
        found = digest(output)
        different = sorted(path for path in {*found, *self.expected} if found.get(path) != self.expected.get(path))
        result = {
            "configuration": self.name,
            "seed": seed,
            "kills": killed,
            "last_exit_code": end.code,
            "refused": refused,
            "different": different,
            "left_over": leftovers(output),
        }
        if not (end.code or refused or different or result["left_over"]):
            shutil.rmtree(output)
        return result


def main() -> int:
    """Run the series; give 1 where one of them did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="So many at least.")
    parser.add_argument("--minutes", type=float, default=120, help="No further series after so many.")
    parser.add_argument("--seed", type=int, default=0, help="Number of the first series.")
    names = [*CONFIGURATIONS, NOT_STARTED_BY_FORK]
    parser.add_argument("--configurations", nargs="+", choices=names, default=names)
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "kills.json")
    given = parser.parse_args()
    begin, found = time.monotonic(), []
    work = Path(tempfile.mkdtemp(prefix="kills-"))
    common = prepare(work)
    cases = [Case(name, work / name.replace(" ", "-"), common) for name in given.configurations]
    number = given.seed
    while sum(each["kills"] for each in found) < given.kills and time.monotonic() - begin < given.minutes * 60:
        for case in cases:
            if case.name == NOT_STARTED_BY_FORK and number % 5 != given.seed % 5:
                continue
            found.append(case.series(number, kills=5))
            _write(given.result, found, given.seed, time.monotonic() - begin)
            if _fault(found[-1]):
                print(f"{found[-1]}; what it left is in {case.folder}", flush=True)
        number += 1
    if any(_fault(each) for each in found):
        return 1
    shutil.rmtree(work)
    return 0


def _fault(series: dict[str, Any]) -> bool:
    return bool(series["last_exit_code"] or series["refused"] or series["different"] or series["left_over"])


def _write(path: Path, found: list[dict[str, Any]], seed: int, seconds: float) -> None:
    names = dict.fromkeys(each["configuration"] for each in found)
    by_name = {name: [each for each in found if each["configuration"] == name] for name in names}
    result = {
        "kills": sum(each["kills"] for each in found),
        "series": len(found),
        "bit_identical": sum(not each["different"] and each["last_exit_code"] == 0 for each in found),
        "refused_repeats": sum(len(each["refused"]) + (each["last_exit_code"] != 0) for each in found),
        "left_over": sum(len(each["left_over"]) for each in found),
        "configurations": {
            name: {"series": len(series), "kills": sum(each["kills"] for each in series)}
            for name, series in by_name.items()
        },
        "faults": [each for each in found if _fault(each)],
        "first_seed": seed,
        "minutes": round(seconds / 60, 1),
        "environment": describe_environment(),
    }
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
