"""A whole tiny checkpoint, model and tokenizer, for tests that run scripts."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch

from transformers import RobertaConfig, RobertaModel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_tiny_checkpoint(folder: Path, **changes: object) -> Path:
    """Write a RoBERTa of two layers whose WordPiece vocabulary is letters and a few words.

    Args:
        folder: A new folder.
        **changes: Fields of the configuration.
    """
    words = ["good", "bad", "fine", "awful", "the", "film", "was", "very", "not"]
    vocabulary = [*SPECIAL, *words, *string.ascii_lowercase, *string.digits]
    vocabulary += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    fields: dict[str, object] = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 65,
        "pad_token_id": 0,
        "tokenizer_class": "BertTokenizer",
        **changes,
    }
    torch.manual_seed(0)
    RobertaModel(RobertaConfig(**fields)).save_pretrained(folder)  # type: ignore[arg-type]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
