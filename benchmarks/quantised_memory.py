"""How much memory does a training take: of everything, with LoRA, and with LoRA over a base of 8 and 4 bits?

Each side is a process of its own that loads a classifier with random weights from a file and trains a few steps on a
small batch, so that weights, gradients and the optimizer's averages count, and activations hardly do. Noted are the
bytes of its parameters and buffers, and the largest resident set beyond that of the imports, from loading on. The same
bytes are reckoned from the shapes alone, for all sides; one that would not fit into this machine's memory is not
measured. Sides of few bits are measured
a second time with ``MALLOC_MMAP_THRESHOLD_`` set: glibc else keeps what made a weight full for the moment::

    python benchmarks/quantised_memory.py
    python benchmarks/quantised_memory.py --models roberta-base
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from other_side import ROOT
from step_memory import peak_bytes
from transformers import (
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    DebertaV2Config,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    TrainingArguments,
)
from transformers.layers.quantized import packed_bytes
from transformers.modeling.quantizing import layers_for_bits
from transformers.optimization import create_optimizer
from transformers.training.environment import describe_environment

RESULTS = ROOT / "benchmarks" / "results" / "quantised_memory.json"
ROBERTA: dict[str, Any] = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
XXL = {"hidden_size": 1536, "num_hidden_layers": 48, "num_attention_heads": 24, "intermediate_size": 6144}
CONFIGS: dict[str, PretrainedConfig] = {
    "roberta-base": RobertaConfig(**ROBERTA),
    "roberta-large": RobertaConfig(**ROBERTA, **LARGE),
    "deberta-v2-xxlarge": DebertaV2Config(
        **XXL,
        relative_attention=True,
        position_buckets=256,
        share_att_key=True,
        pos_att_type="p2c|c2p",
        conv_act="gelu",
    ),
}
PEAK_SHARE = 1.5  # what a peak may take of the bytes that are reckoned
LORA = {"apply_lora": True, "lora_r": 8, "lora_alpha": 16}
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
SIDES: dict[str, dict[str, Any]] = {
    "full": {},
    "full, AdamW of 8 bits": {"optim": "adamw_8bit"},
    "LoRA, fp32": {"fields": LORA},
    "LoRA, bf16": {"fields": LORA, "bf16": True},
    "LoRA over 8 bits": {"fields": LORA, "bits": {"load_in_8bit": True}},
    "LoRA over 4 bits, AdamW of 8 bits": {"fields": LORA, "bits": NF4, "optim": "adamw_8bit"},
}
STEPS, ROWS, LENGTH = 2, 2, 32
MMAP, MMAP_BYTES = "MALLOC_MMAP_THRESHOLD_", "1048576"


def resident_bytes() -> int:
    """Give the process's resident set now, and count its peak from here on."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux's way to say so
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def kept_bytes(model: nn.Module) -> dict[str, int]:
    """Count the bytes of a model's parameters and buffers, those of the linear layers of the encoder by themselves."""
    tensors = {id(tensor): (name, tensor) for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    linear = {path for path, layer in model.base_model.named_modules() if isinstance(layer, nn.Linear)}  # type: ignore[union-attr]
    linear = {f"{model.base_model_prefix}.{path}" for path in linear}
    of_linear = {name for name, _ in tensors.values() if name.rpartition(".")[0] in linear and ".lora_" not in name}
    return {
        "model": sum(tensor.nbytes for _, tensor in tensors.values()),
        "linear_layers": sum(tensor.nbytes for name, tensor in tensors.values() if name in of_linear),
        "trained": sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad),
    }


def run_side(folder: str, side: Mapping[str, Any]) -> dict[str, Any]:
    """Load and train one side in this process, after a tiny model has made everything be imported."""
    with tempfile.TemporaryDirectory() as tiny:
        sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        RobertaModel(RobertaConfig(vocab_size=100, type_vocab_size=1, **sizes)).save_pretrained(tiny)
        _train(_load(tiny, side), side)
    gc.collect()
    before = resident_bytes()
    model = _load(folder, side)
    peak = peak_bytes("cpu") - before
    after = resident_bytes() - before
    _train(model, side)
    return {
        "bytes": kept_bytes(model),
        "loading_peak_bytes": peak,
        "after_loading_bytes": after,
        "training_peak_bytes": peak_bytes("cpu") - before,
    }


def _load(folder: str, side: Mapping[str, Any]) -> PreTrainedModel:
    bits = {"quantization_config": side["bits"]} if side.get("bits") else {}
    fields = side.get("fields", {})
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, **fields, **bits)
    if side.get("bf16"):
        model.cast_frozen_parameters(torch.bfloat16)
    return model.train()


def _train(model: PreTrainedModel, side: Mapping[str, Any]) -> None:
    args = TrainingArguments("unused", optim=side.get("optim", "adamw_torch"), learning_rate=1e-4, no_cuda=True)
    optimizer = create_optimizer(args, model)
    for _ in range(STEPS):
        ids = torch.randint(5, model.config.vocab_size, (ROWS, LENGTH))
        model(ids, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def reckon_side(config: PretrainedConfig, side: Mapping[str, Any]) -> dict[str, Any]:
    """Reckon one side's bytes from the shapes: nothing is made."""
    fields = {**config.to_dict(), **side.get("fields", {})}
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(type(config)(**fields))
    if side.get("bf16"):
        model.cast_frozen_parameters(torch.bfloat16)
    kept = kept_bytes(model)
    bits = side.get("bits")
    if bits:
        quantization = BitsAndBytesConfig(**bits)
        for layer in layers_for_bits(model, quantization).values():
            saved = layer.weight.nbytes - packed_bytes(layer.in_features, layer.out_features, quantization)
            kept["model"], kept["linear_layers"] = kept["model"] - saved, kept["linear_layers"] - saved
    averages = 2 if "8bit" in side.get("optim", "") else 8  # bytes a value
    return {"bytes": kept, "with_gradients_and_optimizer": kept["model"] + kept["trained"] * (4 + averages) // 4}


def main() -> int:
    """Measure all sides, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.side:
        print(json.dumps(run_side(options.folder, SIDES[options.side])))
        return 0
    results: dict[str, Any] = {}
    for name in options.models:
        reckoned = {side: reckon_side(CONFIGS[name], how) for side, how in SIDES.items()}
        fitting = [side for side, found in reckoned.items() if PEAK_SHARE * _all_bytes(found) < _available_bytes()]
        measured = _measure(name, fitting)
        results[name] = {"reckoned": reckoned, "measured": measured, "environment": describe_environment()}
        print(name, json.dumps(results[name]["measured"], indent=1), flush=True)
    settings = {"steps": STEPS, "rows": ROWS, "length": LENGTH, "lora": LORA, "sides": SIDES, "seed": 0}
    before = json.loads(options.output.read_text())["results"] if options.output.is_file() else {}
    report = {"settings": settings, "results": {**before, **results}}
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _all_bytes(reckoned: Mapping[str, Any]) -> int:
    found: int = reckoned["with_gradients_and_optimizer"]
    return found


def _available_bytes() -> int:
    """Give the memory that a new process may take."""
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    return 1024 * int(line.split()[1])


def _measure(name: str, sides: Sequence[str]) -> dict[str, Any]:
    """Write a model with random weights, and let each side be a process."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForSequenceClassification.from_config(CONFIGS[name]).base_model.save_pretrained(folder)
        ctypes.CDLL(None).malloc_trim(0)
        for side in sides:
            measured[side] = _run(side, folder, {})
            if SIDES[side].get("bits"):
                measured[f"{side}, {MMAP}"] = _run(side, folder, {MMAP: MMAP_BYTES})
    return measured


def _run(side: str, folder: str, variables: dict[str, str]) -> dict[str, Any]:
    words = [sys.executable, __file__, "--side", side, "--folder", folder]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **variables})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
