"""Sequences whose masks are drawn anew in every epoch, by (seed, epoch, index) alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from transformers import DataCollatorForLanguageModeling
from transformers.data.whole_word_mask import WORD_IDS

if TYPE_CHECKING:
    from datasets import Dataset as Table

__all__ = ["MaskedTexts"]

_BITS = 2**63
_NOT_HIDDEN = -100


class MaskedTexts(Dataset[dict[str, Any]]):
    """Sequences with words hidden and labels of what they were.

    What is hidden of a sequence follows from the seed, the epoch and the sequence's place, so that a resumed run hides
    the same, and so does one on other processes, batches and loaders.

    Args:
        rows: ``input_ids`` with special tokens; with `WORD_IDS` words are hidden whole.
        mask: Draws; of its collating nothing is used.
        seed: Of the run.
        anew: Whether masks change with the epoch; for evaluations they stay what they are.
    """

    def __init__(self, rows: Table, mask: DataCollatorForLanguageModeling, seed: int, anew: bool) -> None:
        self.rows, self.mask, self.seed, self.anew = rows.with_format("numpy"), mask, seed, anew
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the masks of another epoch from now on; the Trainer calls it."""
        self.epoch = epoch if self.anew else 0

    def hide_something(self) -> bool:
        """Say whether a token of any sequence is hidden; of few and short ones it may be that none is.

        Where masks change, this is about the epoch that was set.
        """
        return any(bool((self[index]["labels"] != _NOT_HIDDEN).any()) for index in range(len(self)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Give several sequences: ``input_ids`` with masks, and ``labels``, -100 where nothing was hidden."""
        found = self.rows[indices]
        words = found.get(WORD_IDS, [None] * len(indices))
        return [self._masked(*row) for row in zip(indices, found["input_ids"], words, strict=True)]

    def _masked(self, index: int, ids: np.ndarray[Any, Any], words: np.ndarray[Any, Any] | None) -> dict[str, Any]:
        drawn = np.random.SeedSequence((self.seed % _BITS, self.epoch, index)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0]) % _BITS)
        row = torch.from_numpy(ids.astype(np.int64))[None]
        given = {} if words is None else {"word_ids": torch.from_numpy(words.astype(np.int64))[None]}
        hidden, labels = self.mask.mask_tokens(row, generator=generator, **given)
        return {"input_ids": hidden[0], "labels": labels[0]}
