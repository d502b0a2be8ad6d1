"""Does LoRA over a base of 4 or 8 bits learn as LoRA over bf16 does?

MiniLM with LoRA on all linear layers on SST-2, from the same start on the same batches in the same order with the same
dropout; only how the frozen base is kept differs. Compared are the curve of the training's loss (means over windows of
steps) and the loss and accuracy on the dev set at the end, means over the seeds of LoRA's start, the order and
dropout::

    python benchmarks/quantised_loss.py --steps 300 --seeds 0 1 2 3 4
    python benchmarks/quantised_loss.py --steps 300 --fp32    # a CPU without bf16 units

With ``--fp32`` everything computes in fp32, and the base that is compared with is rounded to bf16.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from other_side import ROOT
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, set_seed
from transformers.kernels.calls import uses_kernels
from transformers.training.environment import describe_environment

LORA = {"apply_lora": True, "lora_r": 8, "lora_alpha": 16, "lora_target_modules": "all-linear"}
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
SIDES: dict[str, dict[str, Any] | None] = {
    "bf16": None,
    "nf4, double quantisation": {**NF4, "bnb_4bit_use_double_quant": True},
    "fp4": {**NF4, "bnb_4bit_quant_type": "fp4"},
    "8 bits": {"load_in_8bit": True},
}
BATCH, LONGEST = 16, 64
SHOWN = ("curve", "curve_apart", "dev_loss", "dev_loss_apart", "dev_accuracy")


def read(tokenizer: Any, split: str, count: int | None) -> list[dict[str, Any]]:
    """Read SST-2's sentences and tokenize them.

    Args:
        tokenizer: The model's.
        split: ``train`` or ``validation``.
        count: How many, from the beginning; all where None.
    """
    shared = Path(os.environ.get("LORA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    (file,) = sorted((shared / "glue" / "sst2").glob(f"{split}-*.parquet"))
    rows = pd.read_parquet(file)[:count]
    encoded = tokenizer(list(rows.sentence), truncation=True, max_length=LONGEST)
    return [
        {"input_ids": ids, "attention_mask": mask, "label": int(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], rows.label, strict=True)
    ]


def train(bits: dict[str, Any] | None, seed: int, options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Train one side with one seed.

    Args:
        bits: Fields of `BitsAndBytesConfig`; None for a base in bf16.
        seed: Of the start, the order and dropout.
        options: Steps, window, learning rate.
        folder: For the Trainer.

    Returns:
        The mean loss of each window of steps, and loss and accuracy on the dev set.
    """
    set_seed(seed)
    computing = {"bnb_4bit_compute_dtype": "float32" if options.fp32 else "bfloat16"}
    kept = {} if bits is None else {"quantization_config": {**bits, **computing}}
    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2, **LORA, **kept)
    if bits is None:
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16).to(parameter.dtype)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    arguments = TrainingArguments(
        folder,
        bf16=not options.fp32,
        max_steps=options.steps,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        learning_rate=options.learning_rate,
        warmup_steps=options.steps // 10,
        logging_steps=options.window,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        no_cuda=not options.gpu,
        seed=seed,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=read(tokenizer, "train", options.steps * BATCH),
        eval_dataset=read(tokenizer, "validation", None),
        tokenizer=tokenizer,
        compute_metrics=lambda scored: {"accuracy": float((np.argmax(scored[0], 1) == scored[1]).mean())},
    )
    seconds = trainer.train().metrics["train_runtime"]
    dev = trainer.evaluate()
    curve = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    error = model.quantization_error()
    return {
        "curve": curve,
        "dev_loss": dev["eval_loss"],
        "dev_accuracy": dev["eval_accuracy"],
        "seconds": seconds,
        "weights_differ_by": None if error is None else {"mean": error.mean, "largest": error.largest},
    }


def mean_of(runs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Give the means over the seeds, and the runs."""
    found = list(runs.values())
    return {
        "curve": np.mean([run["curve"] for run in found], axis=0).tolist(),
        **{name: float(np.mean([run[name] for run in found])) for name in ("dev_loss", "dev_accuracy")},
        "runs": runs,
    }


def main() -> int:
    """Train all sides, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--window", type=int, default=30)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--gpu", action="store_true", help="compute on the GPU")
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), help="bf16 among them")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "minilm-roberta")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "quantised_loss.json")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sides:
            results[name] = mean_of({seed: train(SIDES[name], seed, options, folder) for seed in options.seeds})
            usual = results["bf16"]
            apart = [abs(a - b) / b for a, b in zip(results[name]["curve"], usual["curve"], strict=True)]
            results[name]["curve_apart"] = {"largest": max(apart), "mean": sum(apart) / len(apart)}
            results[name]["dev_loss_apart"] = results[name]["dev_loss"] / usual["dev_loss"] - 1
            print(name, json.dumps({key: results[name][key] for key in SHOWN}), flush=True)
    left_out = ("output", "model", "sides")
    settings = {name: value for name, value in vars(options).items() if name not in left_out}
    settings |= {"model": options.model.name, "batch": BATCH, "lora": LORA}
    device = "cuda" if options.gpu else "cpu"
    environment = {**describe_environment(device), "compiled_kernels": uses_kernels()}
    report = {"settings": settings, "results": results, "environment": environment}
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
