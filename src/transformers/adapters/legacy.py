"""The original's adapter files: one ``.bin`` with LoRA matrices and a head, and nothing that describes them.

Neither r, alpha, labels nor base are inside. r can be read off the shapes; the rest is known for the files that were
published, and must be given for any other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..modeling.weights import read_tensors
from ..utils.writing import replacing

__all__ = ["LegacyAdapter", "published_settings", "read_legacy_adapter", "save_legacy_adapter"]

# r and alpha of the released files (microsoft/LoRA, README of examples/NLU). With alpha 8 instead of 16 the RoBERTa
# MNLI file gives 66.6 instead of 87.5, and no error (microsoft/LoRA, issue 151).
_PUBLISHED = {
    "roberta_base": ("roberta-base", 8, 16),
    "roberta_large": ("roberta-large", 8, 16),
    "deberta_v2_xxlarge": ("microsoft/deberta-v2-xxlarge", 16, 32),
}
_TASKS = ("mnli", "sst2", "mrpc", "cola", "qnli", "qqp", "rte", "stsb")
# In these two task's files labels stand in GLUE's order; for the others there is nothing to say but a number.
_LABELS = {
    "mnli": ("entailment", "neutral", "contradiction"),
    "rte": ("entailment", "not_entailment"),
    "qnli": ("entailment", "not_entailment"),
    "mrpc": ("not_equivalent", "equivalent"),
    "qqp": ("not_duplicate", "duplicate"),
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
}


@dataclass(frozen=True)
class LegacyAdapter:
    """An original adapter file.

    Attributes:
        tensors: LoRA matrices and head under this package's names, which are the file's.
        r: The rank, read off the shapes.
        lora_alpha: Known for a published file; None otherwise.
        base: Hub id of the base; None where the file is not a published one.
        labels: Names of the classes in the head's order; None where unknown.
    """

    tensors: dict[str, Tensor]
    r: int
    lora_alpha: int | None
    base: str | None
    labels: tuple[str, ...] | None


def published_settings(path: str | os.PathLike[str]) -> tuple[str, int, int, tuple[str, ...] | None] | None:
    """Give base, r, alpha and labels of a published file, which its name tells; None for any other name."""
    match = re.fullmatch(rf"({'|'.join(_PUBLISHED)})_lora_({'|'.join(_TASKS)})\.bin", Path(path).name)
    if match is None:
        return None
    base, r, alpha = _PUBLISHED[match[1]]
    return base, r, alpha, _LABELS.get(match[2])


def read_legacy_adapter(path: str | os.PathLike[str]) -> LegacyAdapter:
    """Read an original adapter file, weights-only.

    Args:
        path: The ``.bin`` file.

    Returns:
        What is in it, and what its name tells.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is damaged, wants to run code, or holds no LoRA matrices of one rank.
    """
    if not Path(path).is_file():
        raise OSError(f"'{path}' does not exist; an adapter's folder or an original .bin file was expected.")
    tensors = read_tensors(path)
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".lora_A") and tensor.dim() == 2}
    if len(ranks) != 1:
        found = "no LoRA matrices" if not ranks else f"LoRA matrices of several ranks ({sorted(ranks)})"
        raise ValueError(f"'{path}' holds {found}; an original adapter file (….query.lora_A, …) was expected.")
    r = ranks.pop()
    known = published_settings(path)
    if known is None:
        return LegacyAdapter(tensors, r, None, None, None)
    base, published_r, alpha, labels = known
    if r != published_r:
        raise ValueError(f"'{path}' holds matrices of rank {r}, but the published one has {published_r}.")
    return LegacyAdapter(tensors, r, alpha, base, labels)


def save_legacy_adapter(tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write an original adapter file, for scripts that still read one. It describes nothing: prefer the folder.

    Args:
        tensors: Matrices and head under this package's names.
        path: A file; written under a temporary name first.

    Raises:
        OSError: If it cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside)
