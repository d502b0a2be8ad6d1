"""Masked language modelling in which a word is hidden whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..tokenization.padding import pad_rows
from .data_collator import DataCollatorForLanguageModeling

__all__ = ["NO_WORD", "WORD_IDS", "DataCollatorForWholeWordMask"]

WORD_IDS = "word_ids"
"""The entry of an example that says which word each token belongs to."""

NO_WORD = -1
"""In `WORD_IDS` for special tokens."""

# How a token shows that a word begins (RoBERTa, SentencePiece) or goes on (BERT) with it.
_BEGINS = ("\u0120", "\u2581")
_GOES_ON = "##"


@dataclass
class DataCollatorForWholeWordMask(DataCollatorForLanguageModeling):
    """`DataCollatorForLanguageModeling` that chooses among words instead of tokens.

    What a word is an example's ``word_ids`` say, as a tokenizer's ``word_ids()`` gives them (None or `NO_WORD` for
    special tokens): neighbours of one number are one word. Without them the tokens say it: ``##`` in front of a token
    goes on with the word (BERT), a sign for a space begins one (RoBERTa, DeBERTa). 4.4.2's could do BERT's alone.
    """

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        """Make a batch with ``labels``.

        Args:
            examples: As of `DataCollatorForLanguageModeling`; all or none have ``word_ids``.

        Returns:
            The batch; ``input_ids`` and ``labels`` of shape (examples, longest).
        """
        if not self.mlm or not all(isinstance(example, Mapping) and WORD_IDS in example for example in examples):
            return super().__call__(examples)
        rows = [[NO_WORD if word is None else word for word in example[WORD_IDS]] for example in examples]
        features = [{name: value for name, value in example.items() if name != WORD_IDS} for example in examples]
        batch: dict[str, Any] = self.tokenizer.pad(  # type: ignore[assignment]
            features, pad_to_multiple_of=self.pad_to_multiple_of, return_tensors="pt"
        )
        special = batch.pop("special_tokens_mask", None)
        words = pad_rows(rows, batch["input_ids"].shape[1], NO_WORD, self.tokenizer.padding_side)
        batch["input_ids"], batch["labels"] = self.mask_tokens(
            batch["input_ids"], special, word_ids=torch.from_numpy(words)
        )
        return batch

    def mask_tokens(
        self,
        inputs: Tensor,
        special_tokens_mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        word_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Choose the words to predict, and hide most of their tokens.

        Args:
            inputs: Ids of shape (examples, length); not changed.
            special_tokens_mask: 1 where a token must stay, same shape; by default wherever a special token stands.
            generator: What the choice is drawn from; PyTorch's own where None.
            word_ids: The word of each token, `NO_WORD` for none, same shape; by default the tokens show it.

        Returns:
            The masked ids and the labels, both of the inputs' shape.
        """
        special = self._special(inputs, special_tokens_mask)
        rows = []
        for number, kept in enumerate(special.tolist()):
            if word_ids is None:
                words = self._words_of_tokens(inputs[number].tolist(), kept)
            else:
                words = _words_of_ids(word_ids[number].tolist(), kept)
            rows.append(self._choose(words, len(kept), generator))
        return self._hide(inputs, torch.tensor(rows, device=inputs.device), generator)

    def _choose(self, words: Sequence[Sequence[int]], length: int, generator: torch.Generator | None) -> list[bool]:
        """Choose words in a random order until their tokens are the share that is wanted, one word at least."""
        wanted = max(1, round(self.mlm_probability * sum(map(len, words)))) if self.mlm_probability else 0
        chosen: set[int] = set()
        for number in torch.randperm(len(words), generator=generator).tolist():
            if len(chosen) + len(words[number]) <= wanted or (not chosen and wanted):
                chosen.update(words[number])
        return [position in chosen for position in range(length)]

    def _words_of_tokens(self, ids: Sequence[int], special: Sequence[bool]) -> list[list[int]]:
        """Give the positions of every word's tokens, as the tokens show it; special tokens are none."""
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


def _words_of_ids(word_ids: Sequence[int], special: Sequence[bool]) -> list[list[int]]:
    """Give the positions of every word's tokens: neighbours with one number; special tokens are none."""
    words: list[list[int]] = []
    before = NO_WORD
    for position, (word, is_special) in enumerate(zip(word_ids, special, strict=True)):
        word = NO_WORD if is_special else word
        if word == before and word != NO_WORD:
            words[-1].append(position)
        elif word != NO_WORD:
            words.append([position])
        before = word
    return words
