"""From texts to sequences of tokens that are as long as the model reads; no token is lost.

Texts follow each other with the separator between them; what does not fit goes on in the next sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlm_files import Piece
from transformers import PreTrainedTokenizerBase
from transformers.data.whole_word_mask import NO_WORD

__all__ = ["Tokens", "pack", "tokenize"]

_PIECES, _CHARACTERS = 1_000, 1_000_000
"""How much is tokenized at once, at most."""

_WORDS = 2**30
"""Words are counted modulo this, which fits into 32 bits; what counts is that neighbours differ."""


@dataclass
class Tokens:
    """The tokens of a piece of a text, or of a sequence, without special ones at its ends.

    Attributes:
        ids: Their ids.
        words: The word of each: neighbours of one number are one word, `NO_WORD` is none. Empty where words are not
            asked for.
        ends: Whether a text ends with the last of them.
    """

    ids: list[int]
    words: list[int]
    ends: bool


def tokenize(pieces: Iterable[Piece], tokenizer: PreTrainedTokenizerBase, with_words: bool) -> Iterator[Tokens]:
    """Tokenize pieces of texts, many at once.

    Args:
        pieces: The texts.
        tokenizer: The model's.
        with_words: Whether words are asked for.
    """
    for batch in _batches(pieces):
        texts = [piece.text for piece in batch]
        encoded = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
        for row, (piece, ids) in enumerate(zip(batch, encoded["input_ids"], strict=True)):
            words = [NO_WORD if word is None else word for word in encoded.word_ids(row)] if with_words else []
            yield Tokens(ids, words, piece.ends)


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text)
        if len(batch) == _PIECES or size >= _CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def pack(tokens: Iterable[Tokens], room: int, separator: int, joined: bool) -> Iterator[Tokens]:
    """Fill up sequences.

    Args:
        tokens: Of the texts, piece by piece.
        room: The most tokens of a sequence, without those at its ends.
        separator: The id that stands between two texts of one sequence.
        joined: Whether a sequence holds several texts; otherwise each text begins one.

    Yields:
        The content of each sequence. None is empty, and none begins or ends with a separator between texts.
    """
    held = Tokens([], [], ends=True)  # ends: there is no token after the last text's separator
    next_word = 0
    for piece in tokens:
        held.ids += piece.ids
        held.words += [word if word == NO_WORD else word + next_word for word in piece.words]
        held.ends = held.ends and not piece.ids
        next_word = (next_word + max(piece.words, default=-1) + 1) % _WORDS
        while len(held.ids) > room:
            yield Tokens(held.ids[:room], held.words[:room], ends=False)
            held.ids, held.words = held.ids[room:], held.words[room:]
        if not piece.ends or held.ends:
            continue
        if not joined or len(held.ids) + 2 > room:  # no room for a separator and a token after it
            yield Tokens(held.ids, held.words, ends=True)
            held = Tokens([], [], ends=True)
            continue
        held.ids.append(separator)
        held.words += [NO_WORD] * bool(held.words)
        held.ends = True
    if held.ids:
        last = len(held.ids) - held.ends
        yield Tokens(held.ids[:last], held.words[:last], ends=True)
