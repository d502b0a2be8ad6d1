"""From labels of tokens to entities: tokens to words, words to groups, and groups of overlapping parts of a text.

An entity is a dictionary, as upstream's: ``entity`` (a label) or ``entity_group`` (a label without ``B-`` and ``I-``),
``score``, ``word``, ``start``, ``end``; a token has its ``index`` too.

Letters in shapes: ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["STRATEGIES", "LabelledToken", "as_entities", "grouped", "without_overlaps", "words_of"]

Entity = dict[str, Any]
Join = Callable[[list[str]], str]

STRATEGIES = ("none", "simple", "first", "average", "max")


@dataclass(frozen=True)
class LabelledToken:
    """A token with the probabilities of its labels.

    Attributes:
        word: The token; for one that is unknown, its text.
        scores: Shape: (N,).
        start: Its first character in the text.
        end: The character after its last.
        index: Its place among the tokens.
        goes_on: Whether it goes on with the word of the token before.
    """

    word: str
    scores: np.ndarray
    start: int
    end: int
    index: int
    goes_on: bool


def as_entities(tokens: Sequence[LabelledToken], labels: Mapping[int, str]) -> list[Entity]:
    """Give each token its most probable label."""
    return [
        {
            "entity": labels[int(token.scores.argmax())],
            "score": float(token.scores.max()),
            "index": token.index,
            "word": token.word,
            "start": token.start,
            "end": token.end,
        }
        for token in tokens
    ]


def words_of(tokens: Sequence[LabelledToken], labels: Mapping[int, str], strategy: str, join: Join) -> list[Entity]:
    """Put the tokens of a word together and give the word one label.

    Args:
        tokens: In their order.
        labels: Names of the labels.
        strategy: ``"first"`` takes the first token's scores, ``"max"`` those of the token with the highest score,
            ``"average"`` the mean.
        join: Makes a text of tokens.
    """
    words: list[list[LabelledToken]] = []
    for token in tokens:
        if token.goes_on and words:
            words[-1].append(token)
        else:
            words.append([token])
    found = []
    for word in words:
        scores = _scores_of(word, strategy)
        found.append(
            {
                "entity": labels[int(scores.argmax())],
                "score": float(scores.max()),
                "word": join([token.word for token in word]),
                "start": word[0].start,
                "end": word[-1].end,
            }
        )
    return found


def _scores_of(word: Sequence[LabelledToken], strategy: str) -> np.ndarray:
    """Give the scores of a word. Shape: (N,)."""
    if strategy == "first":
        return word[0].scores
    if strategy == "max":
        return max(word, key=lambda token: float(token.scores.max())).scores
    mean: np.ndarray = np.stack([token.scores for token in word]).mean(axis=0)
    return mean


def grouped(entities: Sequence[Entity], join: Join) -> list[Entity]:
    """Put neighbours of one label together; ``B-`` begins a new group."""
    groups: list[list[Entity]] = []
    for entity in entities:
        begins, name = _parts(entity["entity"])
        if groups and not begins and name == _parts(groups[-1][-1]["entity"])[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return [
        {
            "entity_group": _parts(group[0]["entity"])[1],
            "score": float(np.mean([entity["score"] for entity in group], dtype=np.float32)),
            "word": join([entity["word"] for entity in group]),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _parts(label: str) -> tuple[bool, str]:
    """Say whether a label begins an entity, and name the entity."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def without_overlaps(entities: Sequence[Entity]) -> list[Entity]:
    """Of entities that overlap, as neighbouring parts of a text give them, keep the longest; the surest of equals."""
    found: list[Entity] = []
    for entity in sorted(entities, key=lambda each: each["start"]):
        if not found or entity["start"] >= found[-1]["end"]:
            found.append(entity)
            continue
        sizes = [each["end"] - each["start"] for each in (entity, found[-1])]
        if sizes[0] > sizes[1] or (sizes[0] == sizes[1] and entity["score"] > found[-1]["score"]):
            found[-1] = entity
    return found
