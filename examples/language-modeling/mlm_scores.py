"""How well hidden words are found, over all hidden tokens of an evaluation, however they lie in batches.

Letters in shapes: ``B`` batch, ``L`` padded length, ``V`` vocabulary size, ``M`` hidden tokens of the batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from transformers import EvalPrediction

__all__ = ["METRICS", "compute_metrics", "figures_of_rows"]

METRICS = ("perplexity", "mask_accuracy")

_NOT_HIDDEN = -100


def figures_of_rows(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum up each sequence, so that an evaluation keeps three numbers of it in place of its scores.

    Args:
        logits: The scores, of all tokens or of the hidden ones alone. Shape: (B, L, V) or (M, V).
        labels: What was hidden; -100 elsewhere. Shape: (B, L).

    Returns:
        The sum of the hidden tokens' losses, how many were found, and how many there are. Shape: (B, 3).
    """
    hidden = labels != _NOT_HIDDEN
    scores, truth = (logits[hidden] if logits.dim() == 3 else logits).float(), labels[hidden]
    losses = functional.cross_entropy(scores, truth, reduction="none")
    found = (scores.argmax(-1) == truth).float()
    each = torch.stack([losses, found, torch.ones_like(found)], dim=1)
    rows = hidden.nonzero()[:, 0]
    return each.new_zeros((len(labels), 3)).index_add_(0, rows, each)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Give loss, perplexity and accuracy over all hidden tokens.

    Args:
        prediction: With what `figures_of_rows` gave as its predictions, of texts of which something is hidden.
    """
    loss, found, number = np.asarray(prediction.predictions, dtype=np.float64).sum(axis=0).tolist()
    mean = loss / number
    perplexity = math.exp(mean) if mean < 700 else math.inf  # beyond what a float holds
    return {"perplexity": perplexity, "mask_accuracy": found / number, "loss": mean}
