"""How long does the Trainer take to evaluate a dev set, against upstream's Trainer + PEFT?

MiniLM with a LoRA adapter of random values, on the tokenised dev sets of SST-2 and MRPC: from the call of ``evaluate``
to the figures. Both sides evaluate with the adapter as it is and merged into the weights, each in its own process, in
turn; ratios are those of the medians. The result is ``results/evaluation.json``. Needs the GLUE data
(LORA_SHARED_DATA or ../shared/data), the converted MiniLM and the reference environment (bash scripts/test.sh makes
both)::

    .venv/bin/python benchmarks/evaluation.py [--rounds 5] [--threads 2] [--dtypes float32 bfloat16]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from glue_parity import glue_folder, model_folder
from other_side import ROOT, OtherSide
from transformers import AutoModelForSequenceClassification, AutoTokenizer, EvalPrediction, Trainer, TrainingArguments
from transformers.kernels.calls import uses_kernels
from transformers.training.environment import describe_environment

RESULT = ROOT / "benchmarks" / "results" / "evaluation.json"
COLUMNS = {"sst2": ("sentence",), "mrpc": ("sentence1", "sentence2")}
BATCH_SIZE = 64
KINDS = ("plain", "merged")


def main() -> int:
    """Measure, write the result, and say whether both sides found the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = []
    for task in COLUMNS:
        for dtype in options.dtypes:
            with tempfile.TemporaryDirectory() as name:
                results.append(measure(Path(name), task, dtype, options))
            print(json.dumps({each: results[-1][each] for each in ("task", "dtype", "ratios", "seconds")}), flush=True)
    record = {
        "question": "seconds of Trainer.evaluate on a dev set, against upstream's Trainer + PEFT",
        "batch_size": BATCH_SIZE,
        "results": results,
        "environment": {**describe_environment("cpu"), "threads": options.threads, "compiled_kernels": uses_kernels()},
        "load_average": os.getloadavg(),
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if all(each["same"] for each in results) else 1


def measure(folder: Path, task: str, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """Let both sides evaluate in turn."""
    job = {"model": str(model_folder()), "batch_size": BATCH_SIZE, "bf16": dtype == "bfloat16"}
    rows = dev_set(task, job["model"])
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "rows.json").write_text(json.dumps(rows))
    write_adapter(folder / "adapter", job["model"])
    trainers = {kind: make_trainer(folder, job, kind == "merged") for kind in KINDS}
    seconds: dict[str, list[float]] = {f"{side} {kind}": [] for side in ("ours", "upstream") for kind in KINDS}
    losses: dict[str, float] = {}
    with OtherSide("upstream_evaluation.py", [str(folder)], options.threads) as upstream:
        for number in range(options.rounds + 1):
            for kind in KINDS:
                begin = time.perf_counter()
                ours = trainers[kind].evaluate(rows)
                found = {"ours": time.perf_counter() - begin}
                theirs = upstream.ask(kind)
                found["upstream"] = theirs["seconds"]
                losses |= {f"ours {kind}": ours["eval_loss"], f"upstream {kind}": theirs["loss"]}
                for side, each in found.items() if number else ():  # the first round warms up
                    seconds[f"{side} {kind}"].append(round(each, 4))
    medians = {name: median(times) for name, times in seconds.items()}
    least = min(losses.values())
    return {
        "task": task,
        "dtype": dtype,
        "examples": len(rows),
        "ratios": {
            "plain": round(medians["upstream plain"] / medians["ours plain"], 2),
            "merged": round(medians["upstream merged"] / medians["ours merged"], 2),
            "ours merged, upstream plain": round(medians["upstream plain"] / medians["ours merged"], 2),
        },
        "seconds": seconds,
        "losses": losses,
        "same": all(abs(loss - least) < (1e-2 if job["bf16"] else 1e-4) for loss in losses.values()),
        "upstream": upstream.about,
    }


def dev_set(task: str, model: str) -> list[dict[str, Any]]:
    """Tokenise a dev set."""
    import pandas as pd

    tokenizer = AutoTokenizer.from_pretrained(model)
    table = pd.read_parquet(glue_folder() / task / "validation-00000-of-00001.parquet")
    texts = [[str(text) for text in table[column]] for column in COLUMNS[task]]
    encoded = tokenizer(*texts, truncation=True, max_length=128)
    labels = [int(label) for label in table["label"]]
    return [{**{name: encoded[name][row] for name in encoded}, "labels": label} for row, label in enumerate(labels)]


def write_adapter(folder: Path, model: str) -> None:
    """Write an adapter whose update is not zero."""
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=2, apply_lora=True, lora_r=8, lora_alpha=16
    )
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    made.save_adapter(folder)


def make_trainer(folder: Path, job: dict[str, Any], merged: bool) -> Trainer:
    """Load base and adapter, merged or not."""
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=2)
    model.load_adapter(folder / "adapter")
    if merged:
        model.merge_adapter()
    arguments = TrainingArguments(
        str(folder / "ours"),
        per_device_eval_batch_size=job["batch_size"],
        bf16_full_eval=job["bf16"],
        report_to="none",
        disable_tqdm=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    return Trainer(model, arguments, tokenizer=tokenizer, compute_metrics=accuracy)


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Give the accuracy."""
    return {"accuracy": float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}


if __name__ == "__main__":
    sys.exit(main())
