"""Tiny models and batches, for every test that needs one.

Letters in shapes: ``B`` batch, ``L`` padded length.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transformers import RobertaConfig, RobertaModel

ROOT = Path(__file__).resolve().parents[2]

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,  # large enough that a mistake shows
}
LORA: dict[str, Any] = {"apply_lora": True, "lora_r": 4, "lora_alpha": 8}


def tiny_config(**changes: Any) -> RobertaConfig:
    """Make a configuration of two layers without dropout."""
    return RobertaConfig(**{**TINY, **changes})


def write_base(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a bare encoder, as a pretrained checkpoint is."""
    torch.manual_seed(seed)
    RobertaModel(tiny_config(**changes), add_pooling_layer=False).save_pretrained(folder)
    return folder


def random_ids(rows: int = 4, length: int = 9, vocab_size: int = TINY["vocab_size"]) -> Tensor:
    """Draw token ids, none of them special. Shape: (B, L)."""
    return torch.randint(5, vocab_size, (rows, length))


def shake(model: nn.Module, seed: int = 1, scale: float = 0.1) -> None:
    """Give every trainable parameter other values, as training would (so that lora_B is not zero)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def values(model: nn.Module) -> dict[str, Tensor]:
    """Copy a model's state, to see later that nothing of it has changed."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Say whether two state dicts are equal in names, dtypes and bits."""
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


def run_python(code: str, *arguments: str | Path, **environment: str) -> str:
    """Run code in a fresh process that sees this package, and give what it printed.

    Raises:
        AssertionError: If it ends with an error, which is shown.
    """
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
