"""What do LoRA's options cost a training step, and is a step slower than on an older commit?

A model of RoBERTa-base's shape, fp32, one batch of 16 RTE pairs; every option in a process of its own, the steps in
turn. The ratio of each option is the median of its step's time over that of plain LoRA in the same round. With
``--before`` (the ``src`` folder of another commit's checkout) plain LoRA of that commit takes its turn too. The result
is `results/option_steps.json`::

    .venv/bin/python benchmarks/option_steps.py [--rounds 8] [--before ../older/src]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

from lora_step import RESULTS, SHAPES
from step_benchmark import Side, glue_batches
from transformers.training.environment import describe_environment

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all-linear": {"lora_target_modules": "all-linear"},
    "dora": {"lora_use_dora": True},
    "dropout": {"lora_dropout": 0.1},
    "all biases": {"lora_bias": "all"},
}


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="counted steps of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--before", help="the src folder of another commit")
    options = parser.parse_args()
    shape = SHAPES["roberta-base"]
    torch.manual_seed(0)
    encoder = shape.model(shape.model.config_class(**shape.fields))
    common = {
        "threads": options.threads,
        "seed": 0,
        "r": 8,
        "alpha": 16,
        "head": shape.head,
        "dtype": "float32",
        "device": "cpu",
        "cuda_graphs": False,
    }
    cases: dict[str, tuple[dict[str, Any], str | None]] = {name: (fields, None) for name, fields in OPTIONS.items()}
    if options.before:
        cases["plain, before"] = ({}, options.before)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        encoder.save_pretrained(folder / "model")
        save_file(
            glue_batches("rte", 1, encoder.config.vocab_size, 0, encoder.config.pad_token_id or 0)[0], folder / "batch"
        )
        sides = {
            name: stack.enter_context(
                Side(sys.executable, "own_step.py", folder / "model", {**common, "own_fields": fields}, source)
            )
            for name, (fields, source) in cases.items()
        }
        for number in range(options.rounds + 1):
            for name, side in sides.items():
                taken = side.step(folder / "batch")["seconds"]
                if number > 0:  # the first round warms up
                    seconds[name].append(taken)
    ratios = {
        name: median(own / plain for own, plain in zip(values, seconds["plain"], strict=True))
        for name, values in seconds.items()
    }
    record = {
        "settings": {**common, "rounds": options.rounds, "options": OPTIONS},
        "environment": {**describe_environment("cpu"), "threads": options.threads},
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "ratio_to_plain": ratios,
    }
    (RESULTS / "option_steps.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name, ratio in ratios.items():
        print(f"{name:16} {median(seconds[name]):6.2f} s a step, {ratio:.3f} of plain LoRA")
    return 0


if __name__ == "__main__":
    sys.exit(main())
