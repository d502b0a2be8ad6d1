"""The models of the adapters' table of invariants: RoBERTa and DeBERTa with both meanings, fp32 and bf16."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tiny import TINY, shake
from torch import Tensor

from transformers import (
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DebertaV2Model,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)
from transformers.methods.bitfit import accept_fp32_biases

DEBERTA: dict[str, Any] = {
    **TINY,
    "relative_attention": True,
    "pos_att_type": "p2c|c2p",
    "share_att_key": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
}


@dataclass(frozen=True)
class Kind:
    """A row of the table of models.

    Attributes:
        deberta: DeBERTa rather than RoBERTa.
        fields: What the configuration gets beside LoRA.
        dtype: Of the frozen part.
        biases: Biases are trained too.
    """

    deberta: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    biases: bool = False

    @property
    def tolerance(self) -> float:
        """How far two ways of computing the same may be apart."""
        return 1e-5 if self.dtype == torch.float32 else 0.15


KINDS = {
    "roberta": Kind(),
    "roberta-bf16": Kind(dtype=torch.bfloat16),
    "roberta-biases": Kind(biases=True),
    "roberta-biases-bf16": Kind(biases=True, dtype=torch.bfloat16),
    "deberta-base-positions": Kind(deberta=True, fields={"lora_position_query": False}),
    "deberta-adapted-positions": Kind(deberta=True, fields={"lora_position_query": True}),
    "deberta-bf16": Kind(deberta=True, fields={"lora_position_query": False}, dtype=torch.bfloat16),
    "deberta-untied": Kind(deberta=True, fields={"share_att_key": False}),
}


def write_base(kind: Kind, folder: Path, seed: int = 0) -> Path:
    """Write a bare encoder of a kind."""
    torch.manual_seed(seed)
    if kind.deberta:
        shape = {name: value for name, value in kind.fields.items() if name == "share_att_key"}
        DebertaV2Model(DebertaV2Config(**{**DEBERTA, **shape})).save_pretrained(folder)
    else:
        RobertaModel(RobertaConfig(**TINY), add_pooling_layer=False).save_pretrained(folder)
    return folder


def load_base(kind: Kind, base: Path, **changes: Any) -> PreTrainedModel:
    """Load a classifier over a base, without LoRA unless ``changes`` ask for it."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        base, dtype=kind.dtype, **{**kind.fields, **changes}
    )
    return model


def keep_head_in_fp32(model: PreTrainedModel) -> PreTrainedModel:
    """Store the head of a plain model as a LoRA run does."""
    for name, parameter in model.named_parameters():
        if not model.is_base_parameter(name):
            parameter.data = parameter.data.float()
    return model


def make_adapted(kind: Kind, base: Path, seed: int = 1, r: int = 4, num_labels: int = 3) -> PreTrainedModel:
    """Load a LoRA classifier over a base, with values as after training."""
    torch.manual_seed(seed)
    model = load_base(kind, base, apply_lora=True, lora_r=r, lora_alpha=2 * r, num_labels=num_labels)
    if kind.biases:
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.requires_grad_(True)
                parameter.data = parameter.data.float()
        accept_fp32_biases(model.base_model)
    shake(model, seed)
    return model.eval()


def batch() -> dict[str, Tensor]:
    """Make six rows of several lengths, one padded on the left. Shape of each: (6, 11)."""
    generator = torch.Generator().manual_seed(5)
    input_ids = torch.randint(5, TINY["vocab_size"], (6, 11), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 5:] = 0
    attention_mask[2, :3] = 0
    attention_mask[4, 8:] = 0
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def logits(model: PreTrainedModel, **more: Any) -> Tensor:
    """Compute a model's logits on `batch`, in evaluation. Shape: (6, labels)."""
    model.eval()
    with torch.no_grad():
        result: Tensor = model(**batch(), **more).logits
    return result
