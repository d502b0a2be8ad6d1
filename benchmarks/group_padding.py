"""How much padding should a group of rows take on a GPU? Steps of one model under several bounds.

`transformers.layers.packing` puts rows of like length into a group, whose attention is computed at once. Few groups
save launches, many save padding. RTE pairs in batches of several sizes, LoRA r 8 on query and value, a base in bf16.
The result is ``results/group_padding_gpu.json``. Needs a GPU and the GLUE data (LORA_SHARED_DATA or ../shared/data)::

    .venv/bin/python benchmarks/group_padding.py [--steps 6]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch
from torch import Tensor

from lora_step import RESULTS, SHAPES, Shape
from step_benchmark import glue_batches
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.layers import packing
from transformers.training.environment import describe_environment

BOUNDS = (512, 2048, 8192, 10**9)
SIZES = (16, 64, 128)


def build(shape: Shape) -> PreTrainedModel:
    """Make a classifier with LoRA over a random base in bf16, on the GPU, in training."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {**shape.fields, "num_labels": 2, "apply_lora": True, "lora_r": 8, "lora_alpha": 16}
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(shape.model.config_class(**fields))
    model.cast_frozen_parameters(torch.bfloat16)
    return model.cuda().train()


def seconds_per_step(model: PreTrainedModel, batch: dict[str, Tensor], steps: int) -> float:
    """Take the mean of some steps, after three that warm up."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    begin = 0.0
    for number in range(steps + 3):
        if number == 3:
            torch.cuda.synchronize()
            begin = time.perf_counter()
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / steps


def main() -> int:
    """Measure every model, batch size and bound, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    steps = parser.parse_args().steps
    rows = []
    for name, shape in SHAPES.items():
        model = build(shape)
        for size in SIZES:
            batch = glue_batches("rte", 1, model.config.vocab_size, 0, model.config.pad_token_id or 0, size)[0]
            batch = {key: value.cuda() for key, value in batch.items()}
            for bound in BOUNDS:
                packing.GPU_GROUP_PADDING = bound
                torch.cuda.reset_peak_memory_stats()
                row: dict[str, Any] = {"model": name, "batch_size": size, "padded_length": batch["input_ids"].shape[1]}
                row["valid_tokens"] = int(batch["attention_mask"].sum())
                row["padding_tokens_allowed"] = bound
                row["groups"] = len(packing.PackedLayout.from_mask(batch["attention_mask"]).groups)
                row["seconds_per_step"] = round(seconds_per_step(model, batch, steps), 5)
                row["peak_bytes"] = torch.cuda.max_memory_allocated()
                rows.append(row)
                print(row, flush=True)
    record = {"environment": describe_environment("cuda"), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    (RESULTS / "group_padding_gpu.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
