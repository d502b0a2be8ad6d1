"""Every head of every family, with a batch that fits it.

Letters in shapes: ``B`` batch, ``L`` padded length.
"""

from __future__ import annotations

from typing import Any

import torch
from method_models import batch, make_config
from torch import Tensor

from transformers import PreTrainedModel
from transformers.models.auto.configuration_auto import MODEL_CLASSES, model_class

TYPES = {"roberta": "roberta", "deberta": "deberta-v2"}
TASKS = ("base", "masked-lm", "sequence-classification")
HEADS = [(family, task) for family, model_type in TYPES.items() for task in TASKS if task in MODEL_CLASSES[model_type]]


def make_head(family: str, task: str, **changes: Any) -> PreTrainedModel:
    """Make a tiny model with random weights, in evaluation."""
    torch.manual_seed(0)
    model: PreTrainedModel = model_class(TYPES[family], task)(make_config(family, **changes))
    return model.eval()


def padded_batch(side: str = "right") -> dict[str, Tensor]:
    """Make rows of several lengths, padded on the right or the left, or with holes. Shape of each: (B, L)."""
    inputs = batch()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    if side == "left":
        ids, mask = ids.flip(1), mask.flip(1)
    elif side == "holes":
        ids = torch.where(ids == 1, 9, ids)
        mask = mask.clone()
        mask[3, 1] = mask[4, 3] = 0
    return {"input_ids": ids, "attention_mask": mask}


def labels_for(task: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make labels of a task for a batch."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    if task == "masked-lm":
        return {"labels": torch.where((ids % 2 == 0) & (mask == 1), ids, -100)}
    if task == "sequence-classification":
        return {"labels": torch.arange(len(ids)) % 3}
    return {}


def loss_of(output: Any) -> Tensor:
    """Give the loss; for a bare encoder something that depends on all valid tokens."""
    if output.get("loss") is not None:
        loss: Tensor = output["loss"]
        return loss
    states = output["last_hidden_state"]
    valid = states.detach().any(-1, keepdim=True)
    summed: Tensor = (states * valid * torch.arange(states.numel()).sin().view_as(states)).sum()
    return summed
