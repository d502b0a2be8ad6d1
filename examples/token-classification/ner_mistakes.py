"""Entities that were found wrongly: which right one each belongs to, and what kind of mistake it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ner_scores import Entity, find_entities

__all__ = ["KINDS", "Pair", "pair_entities"]

KINDS = ("wrong type", "wrong borders", "wrong type and borders", "missed", "invented")


class Pair(NamedTuple):
    """A right entity and the predicted one that belongs to it; None where there is none.

    Attributes:
        right: The entity in the data.
        guess: The predicted one.
    """

    right: Entity | None
    guess: Entity | None

    @property
    def kind(self) -> str:
        """Name the mistake by one of `KINDS`; nothing where both agree."""
        if self.right is None or self.guess is None:
            return "missed" if self.guess is None else "invented"
        same_type, same_borders = self.right[0] == self.guess[0], self.right[1:] == self.guess[1:]
        if same_borders:
            return "" if same_type else "wrong type"
        return "wrong borders" if same_type else "wrong type and borders"


def pair_entities(right: Sequence[str], guessed: Sequence[str]) -> list[Pair]:
    """Pair the entities of a sentence: each right one with the predicted one that shares most words with it.

    Those that agree as a whole belong together, and each predicted one to one right one at most.

    Args:
        right: The right tags.
        guessed: The predicted ones.
    """
    rights, guesses = find_entities(right), find_entities(guessed)
    pairs = [Pair(each, each) for each in rights if each in guesses]
    open_rights = [each for each in rights if each not in guesses]
    open_guesses = [each for each in guesses if each not in rights]
    overlaps = sorted(_overlaps(open_rights, open_guesses), reverse=True)
    for _, number, other in overlaps:
        one, guess = open_rights[-number], open_guesses[-other]
        if any(pair.right == one or pair.guess == guess for pair in pairs):
            continue
        pairs.append(Pair(one, guess))
    taken = {pair.right for pair in pairs}, {pair.guess for pair in pairs}
    pairs += [Pair(each, None) for each in open_rights if each not in taken[0]]
    pairs += [Pair(None, each) for each in open_guesses if each not in taken[1]]
    return pairs


def _overlaps(rights: Sequence[Entity], guesses: Sequence[Entity]) -> Iterator[tuple[int, int, int]]:
    """Give shared words of each two that share some, with their numbers below zero, so that the first come first."""
    for number, (_, begin, end) in enumerate(rights):
        for other, (_, first, last) in enumerate(guesses):
            shared = min(end, last) - max(begin, first)
            if shared > 0:
                yield shared, -number, -other
