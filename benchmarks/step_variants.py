"""What does a LoRA step cost beside full fine-tuning, and what does padding to 512 tokens add?

Steps on the same 16 RTE pairs in one process, in turn: LoRA on query and value with texts padded to the longest of the
batch; the same with texts padded to 512, as the original's launchers ask; and full fine-tuning. The ratio of each is
the median, over all rounds, of its step's time over that of the first in the same round. Models have random weights in
published shapes, dropout 0.1, AdamW. The result is `results/step_variants.json`. Needs the GLUE data
(LORA_SHARED_DATA or ../shared/data)::

    .venv/bin/python benchmarks/step_variants.py roberta-base [--rounds 9] [--threads 2]

The exit code is 1 unless padding to 512 costs at most 3 %, and a LoRA step takes at most 0.62 of a full one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from recorded_products import timed
from step_benchmark import glue_batches
from step_limit import MODELS, make_model, make_step
from transformers.kernels.calls import uses_kernels
from transformers.training.environment import describe_environment

RESULT = Path(__file__).parent / "results" / "step_variants.json"
LONGEST = 512
PADDING_GOAL, FULL_GOAL = 1.03, 0.62


def padded(batch: dict[str, Tensor], pad: int) -> dict[str, Tensor]:
    """Pad texts to `LONGEST` tokens."""
    more = (0, LONGEST - batch["input_ids"].shape[1])
    return {
        "input_ids": functional.pad(batch["input_ids"], more, value=pad),
        "attention_mask": functional.pad(batch["attention_mask"], more),
        "labels": batch["labels"],
    }


def make_steps(name: str) -> dict[str, Callable[[], None]]:
    """Make the three steps."""
    lora, full = (make_model(name, all_linear=False, dtype="float32", apply_lora=wanted) for wanted in (True, False))
    pad = lora.config.pad_token_id or 0
    batch = glue_batches("rte", 1, lora.config.vocab_size, 0, pad, 16)[0]
    return {
        "lora": make_step(lora, batch, evaluate=False),
        "lora, padded to 512": make_step(lora, padded(batch, pad), evaluate=False),
        "full": make_step(full, batch, evaluate=False),
    }


def main() -> int:
    """Measure, write the result, and say whether the goals are reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    steps = make_steps(options.model)
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(options.rounds + 1):
        for name in sorted(steps, reverse=number % 2 == 0):
            seconds = timed(steps[name], "cpu")
            if number:  # the first round warms up
                times[name].append(seconds)
    ratios = {
        name: round(median(own / lora for own, lora in zip(times[name], times["lora"], strict=True)), 3)
        for name in steps
    }
    entries = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    entries[options.model] = {
        "seconds": {name: round(median(values), 4) for name, values in times.items()},
        "padding_to_512": ratios["lora, padded to 512"],
        "lora_over_full": round(1 / ratios["full"], 3),
        "times": {name: [round(value, 4) for value in values] for name, values in times.items()},
        "environment": {**describe_environment("cpu"), "compiled_kernels": uses_kernels()},
        "load_average": os.getloadavg(),
    }
    RESULT.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    entry = entries[options.model]
    print(json.dumps({name: entry[name] for name in ("seconds", "padding_to_512", "lora_over_full")}, indent=1))
    return 0 if entry["padding_to_512"] <= PADDING_GOAL and entry["lora_over_full"] <= FULL_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
