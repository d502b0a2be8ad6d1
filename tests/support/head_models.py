"""Every head of every family, with a batch that fits it.

Letters in shapes: ``B`` batch, ``C`` choices, ``L`` padded length.
"""

from __future__ import annotations

from typing import Any

import torch
from method_models import batch, make_config
from torch import Tensor

from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import model_class
from transformers.models.table import MODEL_TYPES

TYPES = {"roberta": "roberta", "deberta": "deberta-v2"}
TASKS = (
    *("base", "masked-lm", "causal-lm", "sequence-classification", "token-classification"),
    *("question-answering", "multiple-choice"),
)
HEADS = [(family, task) for family, model_type in TYPES.items() for task in TASKS if task in MODEL_TYPES[model_type]]


def head_config(family: str, task: str, **changes: Any) -> PretrainedConfig:
    """Make the tiny configuration of a head."""
    needed = {"causal-lm": {"is_decoder": True}, "question-answering": {"num_labels": 2}}.get(task, {})
    return make_config(family, **{**needed, **changes})


def make_head(family: str, task: str, **changes: Any) -> PreTrainedModel:
    """Make a tiny model with random weights, in evaluation."""
    torch.manual_seed(0)
    model: PreTrainedModel = model_class(TYPES[family], task)(head_config(family, task, **changes))
    return model.eval()


def padded_batch(side: str = "right", task: str = "") -> dict[str, Tensor]:
    """Make rows of several lengths, padded on the right or the left, or with holes.

    Args:
        side: ``"right"``, ``"left"`` or ``"holes"``.
        task: For ``"multiple-choice"`` the rows are three choices of two examples.

    Returns:
        Ids and mask. Shape of each: (B, L), or (B, C, L).
    """
    inputs = batch()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    if side == "left":
        ids, mask = ids.flip(1), mask.flip(1)
    elif side == "holes":
        ids = torch.where(ids == 1, 9, ids)
        mask = mask.clone()
        mask[3, 1] = mask[4, 3] = 0
    if task == "multiple-choice":
        ids, mask = ids.unflatten(0, (2, 3)), mask.unflatten(0, (2, 3))
    return {"input_ids": ids, "attention_mask": mask}


def labels_for(task: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make labels of a task for a batch."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    if task in ("masked-lm", "causal-lm"):
        return {"labels": torch.where((ids % 2 == 0) & (mask == 1), ids, -100)}
    if task == "sequence-classification":
        return {"labels": torch.arange(len(ids)) % 3}
    if task == "token-classification":
        return {"labels": torch.where((ids % 4 > 0) & (mask == 1), ids % 3, -100)}
    if task == "question-answering":
        start = mask.argmax(1)
        return {"start_positions": start, "end_positions": start + 2}
    if task == "multiple-choice":
        return {"labels": torch.tensor([2, 0])}
    return {}


def loss_of(output: Any) -> Tensor:
    """Give the loss; for a bare encoder something that depends on all valid tokens."""
    if output.get("loss") is not None:
        loss: Tensor = output["loss"]
        return loss
    states = output["last_hidden_state"]
    valid = states.detach().any(-1, keepdim=True)
    summed: Tensor = (states * valid * torch.arange(states.numel(), device=states.device).sin().view_as(states)).sum()
    return summed
