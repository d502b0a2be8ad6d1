"""Masked language modelling in which a word is hidden whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .data_collator import DataCollatorForLanguageModeling

__all__ = ["DataCollatorForWholeWordMask"]

# How a token shows that a word begins (RoBERTa, SentencePiece) or goes on (BERT) with it.
_BEGINS = ("\u0120", "\u2581")
_GOES_ON = "##"


@dataclass
class DataCollatorForWholeWordMask(DataCollatorForLanguageModeling):
    """`DataCollatorForLanguageModeling` that chooses among words instead of tokens.

    What a word is the tokens say: ``##`` in front of a token goes on with it (BERT), a sign for a space begins one
    (RoBERTa, DeBERTa). 4.4.2's could do BERT's alone.
    """

    def mask_tokens(self, inputs: Tensor, special_tokens_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Choose the words to predict, and hide most of their tokens.

        Args:
            inputs: Ids of shape (examples, length); not changed.
            special_tokens_mask: 1 where a token must stay, same shape; by default wherever a special token stands.

        Returns:
            The masked ids and the labels, both of the inputs' shape.
        """
        special = self._special(inputs, special_tokens_mask)
        rows = [self._choose(row, kept) for row, kept in zip(inputs.tolist(), special.tolist(), strict=True)]
        return self._hide(inputs, torch.tensor(rows, device=inputs.device))

    def _choose(self, ids: Sequence[int], special: Sequence[bool]) -> list[bool]:
        """Choose words in a random order until their tokens are the share that is wanted, one word at least."""
        words = self._words(ids, special)
        wanted = max(1, round(self.mlm_probability * sum(map(len, words)))) if self.mlm_probability else 0
        chosen: set[int] = set()
        for number in torch.randperm(len(words)).tolist():
            if len(chosen) + len(words[number]) <= wanted or (not chosen and wanted):
                chosen.update(words[number])
        return [position in chosen for position in range(len(ids))]

    def _words(self, ids: Sequence[int], special: Sequence[bool]) -> list[list[int]]:
        """Give the positions of every word's tokens; special tokens are none."""
        tokens: list[str] = self.tokenizer.convert_ids_to_tokens(list(ids))  # type: ignore[attr-defined]
        marks_beginnings = any(token.startswith(_BEGINS) for token in tokens)
        words: list[list[int]] = []
        inside = False
        for position, (token, is_special) in enumerate(zip(tokens, special, strict=True)):
            if is_special:
                inside = False
                continue
            goes_on = not token.startswith(_BEGINS) if marks_beginnings else token.startswith(_GOES_ON)
            if inside and goes_on:
                words[-1].append(position)
            else:
                words.append([position])
            inside = True
        return words
