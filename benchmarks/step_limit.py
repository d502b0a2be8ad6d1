"""How far is a LoRA step from the limit of the machine?

A step cannot take less time than its matrix products take: those of the frozen layers (forward, and backward to their
inputs), of LoRA and of attention. They are recorded in one step of plain operations; then steps, and the very same
products alone, take turns in the same process. **Share of the limit**: the products' time alone, without what
attention computes of padding, over the time of the whole step that ran beside them; the median of all rounds. Beside
it the operations, the rate of the products, where the rest of the time goes (PyTorch's profiler), and the peak memory.
Models have random weights in published shapes, r 8, dropout 0.1, AdamW. Ratios to upstream + PEFT: `lora_step.py`.

The result is `results/step_limit.json`, one entry for each setting; those of other settings stay. Needs the GLUE data
(LORA_SHARED_DATA or ../shared/data)::

    .venv/bin/python benchmarks/step_limit.py roberta-base [--text rte|sst2|256] [--batch_size 16] [--all-linear]
        [--dtypes float32 bfloat16] [--evaluate] [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lora_step import SHAPES, Shape, linear_layers
from recorded_products import Product, products_of, time_alone, timed
from step_benchmark import glue_batches
from step_memory import peak_bytes
from transformers import PretrainedConfig, PreTrainedModel
from transformers.kernels.calls import use_kernels, uses_kernels
from transformers.models.auto.configuration_auto import model_class
from transformers.training.environment import describe_environment
from transformers.training.heap import keep_freed_memory

RESULT = Path(__file__).parent / "results" / "step_limit.json"
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
XLARGE = {"hidden_size": 1536, "num_hidden_layers": 24, "num_attention_heads": 24, "intermediate_size": 6144}
ROBERTA, DEBERTA = SHAPES["roberta-base"], SHAPES["deberta-v3-base"]
MODELS = {
    "roberta-base": ROBERTA.fields,
    "roberta-large": {**ROBERTA.fields, **LARGE},
    "deberta-v3-base": DEBERTA.fields,
    "deberta-v2-xlarge": {**DEBERTA.fields, **XLARGE, "conv_kernel_size": 3, "conv_act": "gelu"},
}

# What the profiler calls an operation, by kind; the first that is part of the name.
KINDS = {
    "products": ("mm", "linear", "matmul", "einsum"),
    "dropout masks": ("random_", "bernoulli", "ge.Scalar", "aten::ge"),
    "softmax": ("softmax",),
    "GELU": ("gelu",),
    "LayerNorm": ("layer_norm",),
    "copies and filling": (
        "copy_",
        "cat",
        "clone",
        "contiguous",
        "zero",
        "fill_",
        "index",
        "gather",
        "scatter",
        "embedding",
    ),
    "AdamW": ("_foreach", "_fused_adam", "lerp", "addcdiv", "addcmul", "sqrt"),
    "other element-wise": ("add", "mul", "div", "sub", "sum", "tanh", "where", "neg", "exp"),
}
COMPILED = ("_Attention", "_ResidualNorm", "_Dropped", "_TabulatedGelu")  # as autograd calls what runs kernels


def make_model(name: str, all_linear: bool, dtype: str, apply_lora: bool = True) -> PreTrainedModel:
    """Make a classifier with random weights, with LoRA unless it is to be trained in full."""
    family: Shape = DEBERTA if name.startswith("deberta") else ROBERTA
    config: PretrainedConfig = family.model.config_class(**MODELS[name])  # type: ignore[misc]
    more: dict[str, Any] = {}
    if all_linear:
        with torch.device("meta"):
            more["lora_target_modules"] = linear_layers(family.model(config))
    for field, value in {"apply_lora": apply_lora, "lora_r": 8, "lora_alpha": 16, "num_labels": 2, **more}.items():
        setattr(config, field, value)
    model: PreTrainedModel = model_class(config.model_type, "sequence-classification")(config)
    if dtype != "float32":
        model.cast_frozen_parameters(getattr(torch, dtype))
    return model


def make_step(model: PreTrainedModel, batch: dict[str, Tensor], evaluate: bool) -> Callable[[], None]:
    """Give the step that is measured, as the Trainer makes it."""
    keep_freed_memory(model)
    use_kernels()
    if evaluate:
        model.eval()

        def forward() -> None:
            with torch.no_grad():  # in inference mode the recorder of products would not see what a linear layer does
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])

        return forward
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step() -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def useful_share(products: Counter[Product], mask: Tensor, heads: int) -> float:
    """Give the part of attention's operations that is not of padding, by the squares of the lengths."""
    computed = sum(
        number * each.factors[0].shape[0] / heads * each.factors[0].shape[1] ** 2
        for each, number in products.items()
        if each.is_attention and each.factors[0].shape[1] == each.factors[1].shape[2]
    )
    needed = float((mask.sum(1) ** 2).sum())
    rounds = max(1, round(computed / needed)) if needed else 1  # as often as each row's square is computed
    return min(1.0, rounds * needed / computed) if computed else 1.0


def measure(
    step: Callable[[], None], products: Counter[Product], rounds: int, share: float, device: str
) -> dict[str, Any]:
    """Let the step and its products alone take turns."""
    attention = Counter({each: number for each, number in products.items() if each.is_attention})
    parts = {
        "step": lambda: timed(step, device),
        "layers": time_alone(products - attention, device),
        "attention": time_alone(attention, device),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        order = sorted(parts, reverse=number % 2 == 0)  # in turns, so that a machine that slows down favours neither
        found = {name: parts[name]() for name in order}
        for name, seconds in found.items() if number else ():  # the first round warms up
            times[name].append(seconds)
    middle = {name: median(values) for name, values in times.items()}
    rows = zip(times["step"], times["layers"], times["attention"], strict=True)
    shares = [(layers + share * within) / whole for whole, layers, within in rows]
    operations = sum(each.operations * number for each, number in products.items())
    return {
        "share_of_limit": round(median(shares), 3),
        "shares": [round(value, 3) for value in shares],
        "seconds": {name: round(value, 4) for name, value in middle.items()},
        "operations": operations,
        "gigaflops": round(operations / (middle["layers"] + middle["attention"]) / 1e9, 1),
        "attention_without_padding": round(share, 3),
        "times": {name: [round(value, 4) for value in values] for name, values in times.items()},
    }


def profiled(step: Callable[[], None]) -> dict[str, float]:
    """Give the share of each kind of operation in a step's time, and of what is none: Python and dispatching."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        begin = time.perf_counter()
        step()
        whole = time.perf_counter() - begin
    shares: Counter[str] = Counter()
    for event in recorded.key_averages():
        name = event.key.removeprefix("aten::").removeprefix("mkldnn::")
        kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "the rest")
        kind = "compiled kernels" if name.removesuffix("Backward") in COMPILED else kind
        if event.key.startswith(("aten::", "mkldnn::")) or kind == "compiled kernels":
            shares[kind] += event.self_cpu_time_total / 1e6
    shares["Python and dispatching"] = max(0.0, whole - sum(shares.values()))
    return {kind: round(seconds / whole, 3) for kind, seconds in shares.most_common()}


def plain_products(step: Callable[[], None]) -> Counter[Product]:
    """Record a step's products as plain operations compute them: those within a compiled kernel are not seen."""
    compiled = uses_kernels()
    use_kernels(False)
    products = products_of(step)
    use_kernels(compiled)
    return products


def check_recorded(products: Counter[Product], model: PreTrainedModel, tokens: int) -> None:
    """Refuse products that cannot be all.

    Raises:
        RuntimeError: If they are fewer than half of those of the layers' weights with all tokens.
    """
    layers = (each for each in model.base_model.encoder.modules() if isinstance(each, nn.Linear))
    needed = 2 * tokens * sum(each.weight.numel() for each in layers)
    found = sum(each.operations * number for each, number in products.items())
    if found < needed / 2:
        raise RuntimeError(
            f"Of {needed:,} operations of the linear layers {found:,} were recorded: recorded_products.py does not "
            "know what multiplies here."
        )


def entry_of(options: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Measure one setting."""
    model = make_model(options.model, options.all_linear, dtype).to(options.device)
    vocabulary, pad = model.config.vocab_size, model.config.pad_token_id or 0
    batch = glue_batches(options.text, 1, vocabulary, 0, pad, options.batch_size)[0]
    batch = {name: values.to(options.device) for name, values in batch.items()}
    step = make_step(model, batch, options.evaluate)
    step()
    peak = peak_bytes(options.device)  # before plain operations, and the products alone, take more
    products = plain_products(step)
    check_recorded(products, model, int(batch["attention_mask"].sum()))
    share = useful_share(products, batch["attention_mask"].cpu(), model.config.num_attention_heads)
    return {
        **measure(step, products, options.rounds, share, options.device),
        "profile": profiled(step) if options.device == "cpu" else None,
        "peak_bytes": peak,
        "tokens": int(batch["attention_mask"].sum()),
        "environment": {**describe_environment(options.device), "compiled_kernels": uses_kernels()},
        "load_average": os.getloadavg(),
    }


def parser_of_settings(description: str | None) -> argparse.ArgumentParser:
    """Make a parser of what a step is of: model, texts, LoRA and dtypes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("--text", default="rte", help="rte, sst2, or a number of tokens that all texts have")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--all-linear", action="store_true", help="LoRA in all linear layers of the encoder")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    return parser


def main() -> int:
    """Measure, and put the result beside the others."""
    parser = parser_of_settings(__doc__)
    parser.add_argument("--evaluate", action="store_true", help="forward passes instead of training steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    if len(options.dtypes) > 1:  # in processes of their own: each has its own peak of memory
        own = [[sys.executable, __file__, *sys.argv[1:], "--dtypes", dtype] for dtype in options.dtypes]
        return max(subprocess.run(command, check=False).returncode for command in own)
    (dtype,) = options.dtypes
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    entries = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    layers = "all linear layers" if options.all_linear else "query and value"
    kind = "evaluation" if options.evaluate else "training"
    entry = entry_of(options, dtype)
    entries[f"{options.model}, {options.text} x {options.batch_size}, {layers}, {kind}, {dtype}"] = entry
    print(f"{options.model} {kind} {dtype}: {entry['share_of_limit']:.0%} of the limit", flush=True)
    print(json.dumps({name: entry[name] for name in ("seconds", "gigaflops", "profile")}, indent=1), flush=True)
    options.output.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
