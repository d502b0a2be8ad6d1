"""The models of the tests of bottleneck adapters, BitFit and consistency: RoBERTa and DeBERTa, every choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny import LORA, TINY, random_ids
from torch import Tensor

from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

FAMILIES: dict[str, tuple[type[PretrainedConfig], type[PreTrainedModel], type[PreTrainedModel], dict[str, Any]]] = {
    "roberta": (RobertaConfig, RobertaForSequenceClassification, RobertaModel, {}),
    "deberta": (
        DebertaV2Config,
        DebertaV2ForSequenceClassification,
        DebertaV2Model,
        {
            "relative_attention": True,
            "pos_att_type": "p2c|c2p",
            "share_att_key": True,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "conv_kernel_size": 3,
            "pad_token_id": 1,
        },
    ),
}
HOULSBY: dict[str, Any] = {"apply_adapter": True, "adapter_type": "houlsby", "adapter_size": 8}
PFEIFFER: dict[str, Any] = {"apply_adapter": True, "adapter_type": "pfeiffer", "adapter_size": 16}
BITFIT: dict[str, Any] = {"apply_bitfit": True}
CHOICES: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "houlsby": HOULSBY,
    "pfeiffer": PFEIFFER,
    "bitfit": BITFIT,
    "houlsby-lora": {**HOULSBY, **LORA},
    "bitfit-lora": {**BITFIT, **LORA},
    "pfeiffer-bitfit": {**PFEIFFER, **BITFIT},
    "houlsby-bitfit-lora": {**HOULSBY, **BITFIT, **LORA},
}


def make_config(family: str, **changes: Any) -> PretrainedConfig:
    """Make a tiny configuration without dropout."""
    config_class, _, _, fields = FAMILIES[family]
    return config_class(**{**TINY, "num_labels": 3, **fields, **changes})


def make_model(family: str, **changes: Any) -> PreTrainedModel:
    """Make a tiny classifier with random weights, in evaluation."""
    return FAMILIES[family][1](make_config(family, **changes)).eval()


def write_encoder(family: str, folder: Path, **changes: Any) -> Path:
    """Write a bare encoder, as a pretrained checkpoint is."""
    torch.manual_seed(5)
    FAMILIES[family][2](make_config(family, **changes)).save_pretrained(folder)
    return folder


def batch(rows: int = 6, length: int = 9) -> dict[str, Tensor]:
    """Make rows of several lengths with their mask. Shape of each: (B, L)."""
    torch.manual_seed(7)
    lengths = torch.arange(rows) % (length - 2) + 3
    mask = (torch.arange(length) < lengths[:, None]).long()
    return {"input_ids": torch.where(mask.bool(), random_ids(rows, length), 1), "attention_mask": mask}
