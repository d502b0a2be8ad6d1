"""A small LoRA training of each family, on the examples of `training_case`."""

from __future__ import annotations

from typing import Any

from head_models import make_head
from tiny import LORA
from torch import Tensor
from training_case import examples, pad

from transformers import Trainer, TrainingArguments


def lora_trainer(family: str, args: TrainingArguments, **fields: Any) -> Trainer:
    """Build the Trainer: 23 examples to learn, 9 to evaluate on; fields are the configuration's."""
    model = make_head(family, "sequence-classification", **{**LORA, **fields})
    return Trainer(model, args, _pad, _examples(23), _examples(9))


def _examples(count: int) -> list[dict[str, Any]]:
    rows = [{key: row[key] for key in ("input_ids", "labels")} for row in examples(count)]
    return [{**row, "input_ids": [0, *(word + 4 for word in row["input_ids"]), 2]} for row in rows]


def _pad(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    batch = pad(features)
    return {**batch, "attention_mask": batch["attention_mask"].long()}
