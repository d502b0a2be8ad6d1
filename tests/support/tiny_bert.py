"""A tiny BERT checkpoint, written as published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "\u2028", "good"]
SIZES: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}


def _bert_shapes() -> dict[str, tuple[int, ...]]:
    """Name the tensors of a tiny BERT as its checkpoints do."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), 16),
        "embeddings.position_embeddings.weight": (20, 16),
        "embeddings.token_type_embeddings.weight": (2, 16),
        "embeddings.LayerNorm.gamma": (16,),
        "embeddings.LayerNorm.beta": (16,),
        "pooler.dense.weight": (16, 16),
        "pooler.dense.bias": (16,),
    }
    for layer in range(2):
        at = f"encoder.layer.{layer}"
        dense = {f"attention.self.{name}": (16, 16) for name in ("query", "key", "value")}
        dense |= {"attention.output.dense": (16, 16), "intermediate.dense": (24, 16), "output.dense": (16, 24)}
        for name, shape in dense.items():
            shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}
        for name in ("attention.output", "output"):
            shapes |= {f"{at}.{name}.LayerNorm.weight": (16,), f"{at}.{name}.LayerNorm.bias": (16,)}
    return shapes


def write_bert(folder: Path) -> Path:
    """Write a BERT with a prefix, a head, a range of positions, and old names for the embeddings' LayerNorm."""
    folder.mkdir()
    tensors = {f"bert.{name}": torch.randn(shape) * 0.2 for name, shape in _bert_shapes().items()}
    tensors |= {
        "bert.embeddings.position_ids": torch.arange(20)[None],
        "cls.predictions.bias": torch.zeros(len(WORDS)),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(SIZES))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder
