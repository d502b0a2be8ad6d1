"""How long does a whole run take, from the command to the table, against upstream Transformers + PEFT?

Both sides fine-tune the converted MiniLM with LoRA on MRPC and on 10,000 sentences of SST-2: starting Python,
importing, tokenising (nothing cached), training, a checkpoint where it is due, saving, evaluating. Both have the same
threads, batches and precision. Runs alternate until the time is up; ratios are those of the medians. The result is
`results/whole_runs.json`, of bf16 `whole_runs_bf16.json`. Needs the GLUE data (LORA_SHARED_DATA or ../shared/data) and
both environments (bash scripts/test.sh makes them)::

    .venv/bin/python benchmarks/whole_runs.py [--minutes 10] [--threads 2] [--dtype fp32] [--examples 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from glue_parity import glue_folder, model_folder, run_glue_command
from other_side import REFERENCE, ROOT
from transformers.training.environment import describe_environment

FOLDER = ROOT / "benchmarks" / "results"
RESULTS = {"fp32": FOLDER / "whole_runs.json", "bf16": FOLDER / "whole_runs_bf16.json"}
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 32,
    "max_seq_length": 128,
    "lora_r": 8,
    "lora_alpha": 16,
    "seed": 0,
}
TASKS: dict[str, tuple[int, int | None]] = {"sst2": (1, 10_000), "mrpc": (3, None)}
"""Epochs, and the number of training examples (None: all)."""
SIDES = ("ours", "upstream")


def main() -> None:
    """Run both sides in turn until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="a run that takes longer is ended, and left out")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--dtype", choices=("bf16", "fp32"), default="fp32", help="bf16 only where the processor has it"
    )
    parser.add_argument("--epochs", type=int, help="in place of each task's own number")
    parser.add_argument("--examples", type=int, help="train on so few, to try the script; writes no result")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    runs: list[dict[str, Any]] = []
    while True:
        for task in options.tasks:
            for side in SIDES:
                before = [run["seconds"] for run in runs if (run["task"], run["side"]) == (task, side)]
                left = end - time.monotonic()
                done = run(task, side, options, left) if left > max(before, default=0.0) else None
                if done is None:
                    show(runs)
                    if options.examples is None:
                        write(runs, options)
                    return
                runs.append(done)
                print(json.dumps(done), flush=True)


def run(task: str, side: str, options: argparse.Namespace, left: float) -> dict[str, Any] | None:
    """Do one run in a process of its own, with an empty cache; give its time and its figures, None if it is late."""
    epochs, limit = options.epochs or TASKS[task][0], TASKS[task][1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {
            **SETTINGS,
            "task": task,
            "epochs": epochs,
            "limit": options.examples or limit,
            "bf16": options.dtype == "bf16",
            "threads": options.threads,
            "model": str(model_folder()),
            "data": str(glue_folder()),
            "output": str(folder / "output"),
        }
        (folder / "job.json").write_text(json.dumps(job))
        theirs = [REFERENCE, str(ROOT / "benchmarks" / "upstream_whole_run.py"), str(folder / "job.json")]
        command = our_command(job) if side == "ours" else theirs
        names = ("OMP_NUM_THREADS", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
        if side == "ours":
            environment["PYTHONPATH"] = str(ROOT / "src")
        start = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            return None
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        facts = {"task": task, "side": side, "epochs": epochs, "dtype": options.dtype, "threads": options.threads}
        return {**facts, "seconds": round(seconds, 2), **figures(folder / "output", seconds)}


def our_command(job: dict[str, Any]) -> list[str]:
    """Write a job as the command line of run_glue.py."""
    words = ["--lora_r", str(job["lora_r"]), "--lora_alpha", str(job["lora_alpha"])]
    return [*run_glue_command(job, Path(job["output"])), *words, "--num_threads", str(job["threads"])]


def figures(output: Path, seconds: float) -> dict[str, float]:
    """Read what a run says of itself: training, evaluation, accuracy; the rest is everything else."""
    found = json.loads((output / "all_results.json").read_text())
    training, evaluation = found["train_runtime"], found["eval_runtime"]
    return {
        "training": round(training, 2),
        "evaluation": round(evaluation, 2),
        "rest": round(seconds - training - evaluation, 2),
        "accuracy": round(found["eval_accuracy"], 4),
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the medians of each task, and upstream's over ours."""
    rows = []
    for task in dict.fromkeys(run["task"] for run in runs):
        row: dict[str, Any] = {"task": task}
        for side in SIDES:
            mine = [run for run in runs if (run["task"], run["side"]) == (task, side)]
            row[f"{side}_runs"] = len(mine)
            for name in ("seconds", "training", "evaluation", "rest"):
                row[f"{side}_{name}"] = round(statistics.median(run[name] for run in mine), 2) if mine else None
        if row["ours_seconds"] and row["upstream_seconds"]:
            row["ratio"] = round(row["upstream_seconds"] / row["ours_seconds"], 2)
        rows.append(row)
    return rows


def show(runs: list[dict[str, Any]]) -> None:
    """Print the medians."""
    for row in summary(runs):
        print(json.dumps(row), flush=True)


def write(runs: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write all runs and their medians; what is there of other tasks stays."""
    result = RESULTS[options.dtype]
    before = json.loads(result.read_text())["runs"] if result.is_file() else []
    runs = [run for run in before if run["task"] not in options.tasks] + runs
    versions = subprocess.run(
        [
            REFERENCE,
            "-c",
            "import transformers, peft, torch; print(transformers.__version__, peft.__version__, torch.__version__)",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    record = {
        "question": "a whole run, from the command to the table: run_glue.py against upstream's Trainer + PEFT",
        "settings": SETTINGS,
        "examples": {task: limit for task, (_, limit) in TASKS.items()},
        "medians": summary(runs),
        "runs": runs,
        "upstream": dict(zip(("transformers", "peft", "torch"), versions.stdout.split()[-3:], strict=True)),
        "environment": describe_environment(),
    }
    result.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
