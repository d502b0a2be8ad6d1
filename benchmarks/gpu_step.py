"""What does the Trainer's step do on a GPU: how long is the GPU busy, with what, and does anything wait for it?

A LoRA training by the Trainer on GLUE texts, models with random weights in published shapes. First steps are timed, as
in a run; then PyTorch tells of every wait in some (`torch.cuda.set_sync_debug_mode`), and its profiler records some:
the kernels by kind, how many are launched, and for how much of the time one runs. Where the GPU is idle for long the
host is the limit, and larger batches or fewer operations would help. The result is `results/gpu_step.json`, one entry
for each setting; those of other settings stay. Needs the GLUE data (LORA_SHARED_DATA or ../shared/data), and a GPU
(``--device cpu`` tries the script without one)::

    .venv/bin/python benchmarks/gpu_step.py roberta-base [--text rte|sst2|256] [--batch_size 16] [--all-linear]
        [--cuda_graphs] [--dtypes float32 bfloat16] [--steps 30]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from step_benchmark import glue_batches
from step_limit import make_model, parser_of_settings
from step_memory import peak_bytes
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.training.environment import describe_environment

RESULT = Path(__file__).parent / "results" / "gpu_step.json"
WATCHED = 3  # steps of each way of looking closer
TEXTS = 2400  # of RTE, the smallest

# What a kernel's name says of its kind; the first that is part of it.
KINDS = {
    "attention": ("flash", "fmha", "attention"),
    "products": ("gemm", "gemv", "cutlass", "nvjet", "xmma", "cublas", "splitk", "mm"),
    "softmax": ("softmax",),
    "LayerNorm": ("layer_norm", "layernorm", "GammaBeta"),
    "AdamW and clipping": ("multi_tensor", "fused_adam", "lpnorm"),
    "dropout": ("dropout", "philox", "distribution"),
    "GELU": ("gelu",),
    "copies and filling": ("memcpy", "memset", "copy", "fill", "cat", "index", "gather", "scatter", "embedding"),
    "sums": ("reduce",),
    "element-wise": ("elementwise",),
}


class Watch(TrainerCallback):
    """Times steps, then notes waits, then records.

    Args:
        device: ``"cuda"`` or ``"cpu"``.
        warm_up: Steps before the timed ones.
        steps: How many are timed.
    """

    def __init__(self, device: str, warm_up: int, steps: int) -> None:
        self.on_gpu, self.warm_up = device == "cuda", warm_up
        self.timed_until = warm_up + steps
        self.waits_until = self.timed_until + WATCHED
        self.begin = self.seconds = self.host_seconds = self.profiled_seconds = 0.0
        self.waits: list[str] = []
        activities = [ProfilerActivity.CUDA if self.on_gpu else ProfilerActivity.CPU]
        self.profile = profile(activities=activities)
        self._caught: Any = None

    def _clock(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin what begins with this step."""
        if state.global_step == self.warm_up:
            self.begin = self._clock()
        elif state.global_step == self.timed_until:
            self._caught = warnings.catch_warnings(record=True)
            self.found = self._caught.__enter__()
            warnings.simplefilter("always")
            if self.on_gpu:
                torch.cuda.set_sync_debug_mode("warn")
        elif state.global_step == self.waits_until:
            self.profile.__enter__()
            self.begin = self._clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End what ends with this step."""
        if state.global_step == self.timed_until:
            self.host_seconds = time.perf_counter() - self.begin
            self.seconds = self._clock() - self.begin
        elif state.global_step == self.waits_until:
            if self.on_gpu:
                torch.cuda.set_sync_debug_mode("default")
            self._caught.__exit__(None, None, None)
            self.waits = [f"{Path(each.filename).name}:{each.lineno}" for each in self.found if _is_wait(each)]
        elif state.global_step == self.waits_until + WATCHED:
            self.profiled_seconds = self._clock() - self.begin
            self.profile.__exit__(None, None, None)

    def facts(self) -> dict[str, Any]:
        """Give what was seen, for one step."""
        events = [event for event in self.profile.key_averages() if _seconds(event, self.on_gpu) > 0]
        shares: Counter[str] = Counter()
        for event in events:
            shares[_kind_of(event.key)] += _seconds(event, self.on_gpu)
        busy = sum(shares.values())
        return {
            "waits": Counter(self.waits),
            "profile": {kind: round(value / busy, 3) for kind, value in shares.most_common()} if busy else {},
            "kernels_a_step": round(sum(event.count for event in events) / WATCHED),
            "busy_share": round(busy / self.profiled_seconds, 3),
            "longest": {
                e.key[:120]: round(_seconds(e, self.on_gpu) / WATCHED, 6) for e in _longest(events, self.on_gpu)
            },
        }


def _is_wait(warning: warnings.WarningMessage) -> bool:
    return "synchroniz" in str(warning.message)


def _seconds(event: Any, on_gpu: bool) -> float:
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6


def _longest(events: list[Any], on_gpu: bool) -> list[Any]:
    return sorted(events, key=lambda event: -_seconds(event, on_gpu))[:15]


def _kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part.lower() in lower for part in parts)), "the rest")


def _rows(batches: list[dict[str, Tensor]]) -> list[dict[str, Any]]:
    """Take batches apart, without their padding."""
    return [
        {"input_ids": ids[mask.bool()].tolist(), "label": int(label)}
        for batch in batches
        for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True)
    ]


def _collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    texts = [torch.tensor(row["input_ids"]) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(texts, True, 1)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], True, 0)
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["label"] for row in rows])}


def entry_of(options: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Measure one setting."""
    model = make_model(options.model, options.all_linear, "float32")
    count = max(1, min(48, TEXTS // options.batch_size))  # an epoch of many steps: at its end losses are read
    warm_up = 2 * count if options.cuda_graphs else 5  # a shape is captured when it is met again
    steps = warm_up + options.steps + 2 * WATCHED
    batches = glue_batches(options.text, count, model.config.vocab_size, 0, -1, options.batch_size)
    watch = Watch(options.device, warm_up, options.steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=options.batch_size,
            learning_rate=1e-4,
            bf16=dtype == "bfloat16",
            cuda_graphs=options.cuda_graphs,
            no_cuda=options.device == "cpu",
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(model, arguments, _collate, _rows(batches), callbacks=[watch]).train()
    return {
        "seconds_a_step": round(watch.seconds / options.steps, 6),
        "host_seconds_a_step": round(watch.host_seconds / options.steps, 6),
        "examples_a_second": round(options.steps * options.batch_size / watch.seconds, 1),
        **watch.facts(),
        "peak_bytes": peak_bytes(options.device),
        "environment": describe_environment(options.device),
    }


def main() -> int:
    """Measure, and put the result beside the others."""
    parser = parser_of_settings(__doc__)
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed")
    parser.add_argument("--cuda_graphs", action="store_true", help="launch passes as CUDA graphs")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    entries = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    layers = "all linear layers" if options.all_linear else "query and value"
    layers += ", CUDA graphs" if options.cuda_graphs else ""
    for dtype in options.dtypes:
        entry = entry_of(options, dtype)
        entries[f"{options.model}, {options.text} x {options.batch_size}, {layers}, {dtype}"] = entry
        shown = ("seconds_a_step", "host_seconds_a_step", "busy_share", "kernels_a_step", "waits", "profile")
        print(f"{options.model} {dtype}:", json.dumps({name: entry[name] for name in shown}, indent=1), flush=True)
    options.output.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
