"""What do compiled kernels save of a training step on the CPU, and of its pieces?

Training steps and evaluations of RoBERTa-base's and DeBERTa-v3-base's shapes on 16 RTE pairs, with kernels and with
plain operations, in turn in one process; and each piece, forward and backward, on tensors of such a step. A ratio is
the median over the rounds of the time with kernels over that without in the same round. The result is
`results/compiled_kernels.json`. Needs g++, and the GLUE data (LORA_SHARED_DATA or ../shared/data)::

    .venv/bin/python benchmarks/compiled_kernels.py [--rounds 7] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from recorded_products import timed
from step_benchmark import glue_batches
from step_limit import make_model, make_step
from transformers.kernels.calls import use_kernels
from transformers.layers.activations import gelu
from transformers.layers.attention import grouped_attention
from transformers.layers.dropout import Dropout, dropout
from transformers.layers.packing import PackedLayout
from transformers.layers.residual_norm import residual_norm
from transformers.models.deberta_v2.disentangled_attention import disentangled_attention
from transformers.training.environment import describe_environment

RESULT = Path(__file__).parent / "results" / "compiled_kernels.json"
ROWS, LENGTH, HEADS, SIZE = 16, 72, 12, 64


def step_of(name: str, dtype: str, evaluate: bool) -> Callable[[], None]:
    """Give a model's training step, or the forward pass of an evaluation."""
    model = make_model(name, all_linear=False, dtype=dtype)
    batch = glue_batches("rte", 1, model.config.vocab_size, 0, model.config.pad_token_id or 0, 16)[0]
    return make_step(model, batch, evaluate)


def pieces(dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """Give the pieces of a layer, each with its gradient."""
    layout = PackedLayout.from_mask(torch.ones(ROWS, LENGTH))
    norm = nn.LayerNorm(HEADS * SIZE).requires_grad_(False).to(dtype)
    x, residual, outer = (torch.randn(ROWS * LENGTH, HEADS * SIZE).to(dtype) for _ in range(3))
    heads = [torch.randn(ROWS * LENGTH, HEADS, SIZE).to(dtype).requires_grad_() for _ in range(3)]
    tables = [torch.randn(2 * LENGTH - 1, HEADS, SIZE).to(dtype) for _ in range(2)]
    wide, outer_wide = (torch.randn(ROWS * LENGTH, 4 * HEADS * SIZE).to(dtype) for _ in range(2))
    x.requires_grad_(), residual.requires_grad_(), wide.requires_grad_(), tables[1].requires_grad_()
    drop = Dropout(0.1)

    def of_norm() -> None:
        torch.autograd.grad(residual_norm(x, residual, nn.Identity(), drop, norm), (x, residual), outer)

    def of_dropout() -> None:
        torch.autograd.grad(dropout(x, 0.1, training=True), x, outer)

    def of_attention() -> None:
        torch.autograd.grad(grouped_attention(*heads, layout, dropout_prob=0.1)[0], heads, outer)

    def of_disentangled_attention() -> None:
        result, _ = disentangled_attention(*heads, *tables, layout, dropout_prob=0.1)
        torch.autograd.grad(result, [*heads, tables[1]], outer)

    def of_gelu() -> None:
        torch.autograd.grad(gelu(wide), wide, outer_wide)

    found = {
        "dropout": of_dropout,
        "dropout, residual and norm": of_norm,
        "attention": of_attention,
        "disentangled attention": of_disentangled_attention,
    }
    return found | ({"GELU": of_gelu} if dtype == torch.bfloat16 else {})


def compare(compute: Callable[[], None], rounds: int) -> dict[str, Any]:
    """Let both ways take turns."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for kernels in (number % 2 == 0, number % 2 == 1):
            use_kernels(kernels)
            seconds = timed(compute, "cpu")
            if number:  # the first round warms up
                times[kernels].append(seconds)
    ratios = [with_them / without for with_them, without in zip(times[True], times[False], strict=True)]
    return {
        "ratio": round(median(ratios), 3),
        "milliseconds": {
            "kernels": round(1000 * median(times[True]), 2),
            "plain": round(1000 * median(times[False]), 2),
        },
        "ratios": [round(value, 3) for value in ratios],
    }


def main() -> int:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of steps; pieces are measured thirty times")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if not use_kernels():
        print("There is no C++ compiler here.", file=sys.stderr)
        return 1
    results: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        for name in ("roberta-base", "deberta-v3-base"):
            for kind in ("training", "evaluation"):
                step = step_of(name, dtype, kind == "evaluation")
                results[f"step, {kind}, {name}, {dtype}"] = compare(step, options.rounds)
        for name, piece in pieces(getattr(torch, dtype)).items():
            results[f"{name}, {dtype}"] = compare(piece, 30)
    for name, found in results.items():
        print(f"{name}: {found['ratio']} {found['milliseconds']}", flush=True)
    record = {"results": results, "environment": describe_environment("cpu"), "load_average": os.getloadavg()}
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
