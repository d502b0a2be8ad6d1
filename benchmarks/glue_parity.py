"""Does run_glue.py learn real GLUE tasks as well as upstream Transformers + PEFT do?

Both sides fine-tune the converted MiniLM on the same examples with the same settings, starting values and order of the
data; only dropout's random numbers differ. Each run is a process of its own. The result, with every seed's figures, is
`results/glue_parity.json`. Needs the GLUE data (LORA_SHARED_DATA or ../shared/data) and both environments
(bash scripts/test.sh makes them)::

    .venv/bin/python benchmarks/glue_parity.py [--tasks rte mrpc sst2] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForSequenceClassification, set_seed
from transformers.data.samplers import epoch_order
from transformers.training.environment import describe_environment

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "glue_parity.json"
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 16,
    "warmup_ratio": 0.06,
    "max_seq_length": 128,
    "lora_r": 8,
    "lora_alpha": 16,
    "bf16": True,  # on both sides: frozen weights stored in bf16 here, autocast upstream
}
# Epochs and the number of training examples (None: all).
TASKS: dict[str, tuple[int, int | None]] = {"rte": (2, None), "mrpc": (2, None), "sst2": (1, 10000)}
_model_lock = threading.Lock()
LABELS = {
    "rte": ("entailment", "not_entailment"),
    "mrpc": ("not_equivalent", "equivalent"),
    "sst2": ("negative", "positive"),
}


def main() -> int:
    """Run all pairs and write the result; the exit code is 1 where a task is more than a point behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--parallel", type=int, default=2, help="pairs of runs at once")
    parser.add_argument("--anew", action="store_true", help="forget the runs that the result file has")
    options = parser.parse_args()
    rows = [] if options.anew or not RESULTS.is_file() else json.loads(RESULTS.read_text())["runs"]
    done = {(row["task"], row["seed"]) for row in rows}
    with ThreadPoolExecutor(max_workers=options.parallel) as pool:  # each run is a process of one thread
        pairs = [(task, seed) for seed in options.seeds for task in options.tasks if (task, seed) not in done]
        for row in pool.map(lambda pair: compare(*pair), pairs):
            rows.append(row)
            print(json.dumps(row), flush=True)
            write(rows)
    return 0 if all(row["difference"] >= -0.01 for row in write(rows)) else 1


def compare(task: str, seed: int) -> dict[str, Any]:
    """Train one task with one seed on both sides."""
    epochs, limit = TASKS[task]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _model_lock:  # starting values come from the process's one generator
            start = make_start(task, seed, folder)
        places = {"model": str(model_folder()), "data": str(glue_folder()), "start": str(start)}
        job = {**SETTINGS, **places, "task": task, "seed": seed, "epochs": epochs, "limit": limit}
        ours = run_ours(job, folder / "ours")
        theirs = run_upstream(job, folder)
    return {"task": task, "seed": seed, "ours": ours, "upstream": theirs["accuracy"]}


def model_folder() -> Path:
    """Where the converted MiniLM lies."""
    return Path(os.environ.get("LORA_MINILM", ROOT / "models" / "minilm-roberta"))


def glue_folder() -> Path:
    """Where the GLUE data lies."""
    return Path(os.environ.get("LORA_SHARED_DATA", ROOT.parent / "shared" / "data")) / "glue"


def make_start(task: str, seed: int, folder: Path) -> Path:
    """Write the adapter and the head that both sides start from."""
    set_seed(seed)
    config = AutoConfig.from_pretrained(
        model_folder(),
        id2label=dict(enumerate(LABELS[task])),
        apply_lora=True,
        lora_r=SETTINGS["lora_r"],
        lora_alpha=SETTINGS["lora_alpha"],
    )
    AutoModelForSequenceClassification.from_pretrained(model_folder(), config=config).save_adapter(folder / "start")
    return folder / "start"


def run_ours(job: Mapping[str, Any], output: Path) -> float:
    """Train with run_glue.py; gives the accuracy after the last epoch."""
    words = ["--lora_path", job["start"], "--warmup_ratio", str(job["warmup_ratio"])]
    run_quietly([*run_glue_command(job, output), *words, "--save_strategy", "no", "--report_to", "none"])
    accuracy: float = json.loads((output / "eval_results.json").read_text())["eval_accuracy"]
    return accuracy


def run_glue_command(job: Mapping[str, Any], output: Path) -> list[str]:
    """Write what upstream's side is told too as the command line of run_glue.py."""
    command = [
        sys.executable,
        str(ROOT / "examples/text-classification/run_glue.py"),
        *("--model_name_or_path", job["model"], "--task_name", job["task"], "--glue_dataset", job["data"]),
        *("--apply_lora", "--do_train", "--do_eval", "--learning_rate", str(job["learning_rate"])),
        *("--per_device_train_batch_size", str(job["batch_size"]), "--per_device_eval_batch_size", "64"),
        *("--num_train_epochs", str(job["epochs"]), "--max_seq_length", str(job["max_seq_length"])),
        *("--seed", str(job["seed"]), "--disable_tqdm", "true", "--output_dir", str(output)),
    ]
    command += ["--bf16"] if job["bf16"] else []
    return command + (["--max_train_samples", str(job["limit"])] if job["limit"] else [])


def run_upstream(job: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Train with upstream's Trainer and PEFT."""
    size = job["limit"] or train_size(job["task"])
    steps = job["epochs"] * math.ceil(size / job["batch_size"])
    more = {
        "output": str(folder / "upstream"),
        "warmup_steps": math.ceil(job["warmup_ratio"] * steps),
        "order": [epoch_order(size, job["seed"], epoch) for epoch in range(job["epochs"])],
    }
    (folder / "job.json").write_text(json.dumps({**job, **more}))
    python = ROOT / ".venv-reference" / "bin" / "python"
    run_quietly([str(python), str(ROOT / "benchmarks" / "upstream_glue.py"), str(folder / "job.json")])
    result: dict[str, float] = json.loads((folder / "upstream" / "result.json").read_text())
    return result


def train_size(task: str) -> int:
    """Count a task's training examples."""
    from datasets import load_dataset

    return len(load_dataset(str(glue_folder()), task, split="train"))


def run_quietly(command: list[str]) -> None:
    """Run a command; show what it printed only where it failed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def write(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write all runs and the means of each task; gives the means."""
    means = []
    for task in dict.fromkeys(row["task"] for row in rows):
        runs = [row for row in rows if row["task"] == task]
        ours, upstream = (sum(run[side] for run in runs) / len(runs) for side in ("ours", "upstream"))
        means.append(
            {
                "task": task,
                "runs": len(runs),
                "ours": round(ours, 4),
                "upstream": round(upstream, 4),
                "difference": round(ours - upstream, 4),
            }
        )
    record = {
        "question": "dev accuracy of run_glue.py against upstream 5.23.0 + PEFT 0.21.2, same settings and start",
        "settings": SETTINGS,
        "epochs_and_examples": {task: TASKS[task] for task in dict.fromkeys(row["task"] for row in rows)},
        "means": means,
        "runs": rows,
        "environment": describe_environment(),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    return means


if __name__ == "__main__":
    sys.exit(main())
