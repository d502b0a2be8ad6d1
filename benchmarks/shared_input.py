"""What does it save to compute LoRA's first product of query, key and value at once, and what would their base's save?

RoBERTa-base's sizes: 1,068 tokens (a batch of 16 RTE pairs), width 768, rank 8, fp32. Forward and backward of three
layers that share their input, the ways in turn, medians: each layer by itself; `lora_A` of all as one product, as
`transformers.methods.lora.shared_input` does; and the frozen weights as one product too. Written to
`results/shared_input.json`::

    .venv/bin/python benchmarks/shared_input.py [--rounds 30] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from transformers.methods.lora.layers import LoraLinear
from transformers.methods.lora.shared_input import apply_layers
from transformers.training.environment import describe_environment

RESULTS = Path(__file__).parent / "results" / "shared_input.json"
TOKENS, WIDTH, RANK = 1068, 768, 8


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layers = [LoraLinear(WIDTH, WIDTH, RANK, 16) for _ in range(3)]
    whole = torch.cat([layer.weight.detach() for layer in layers])
    bias = torch.cat([layer.bias.detach() for layer in layers if layer.bias is not None])
    x, gradient = torch.randn(TOKENS, WIDTH, requires_grad=True), torch.randn(TOKENS, WIDTH)

    def all_as_one(x: Tensor) -> list[Tensor]:
        low = functional.linear(x, torch.cat([layer.lora_A for layer in layers])).split(RANK, 1)
        base = functional.linear(x, whole, bias).split(WIDTH, 1)
        parts = zip(base, low, layers, strict=True)
        return [torch.addmm(own, each, layer.lora_B.t(), alpha=layer.scaling) for own, each, layer in parts]

    ways: dict[str, Callable[[Tensor], list[Tensor]]] = {
        "each by itself": lambda x: [layer(x) for layer in layers],
        "lora_A as one": lambda x: apply_layers(x, layers),
        "lora_A and base as one": all_as_one,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 2):
        for name, way in ways.items():
            begin = time.perf_counter()
            torch.autograd.backward(way(x), [gradient] * 3)
            if number > 1:
                seconds[name].append(time.perf_counter() - begin)
            x.grad = None
            for layer in layers:
                layer.zero_grad()
    reference = seconds["each by itself"]
    ratios = {name: median(a / b for a, b in zip(own, reference, strict=True)) for name, own in seconds.items()}
    result = {
        "question": "time of three layers with a shared input, over that of each by itself",
        "ratios": {name: round(value, 4) for name, value in ratios.items()},
        "median_seconds": {name: round(median(own), 5) for name, own in seconds.items()},
        "rounds": options.rounds,
        "threads": options.threads,
        "seed": 0,
        "environment": describe_environment(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(result["ratios"], RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
