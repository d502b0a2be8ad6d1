"""Precision, recall and F1 of entities, as the shared tasks count them: an entity is right as a whole, or not.

They equal seqeval's in its default mode, and in its strict mode for IOB2, which a test states with the library itself.
It is no dependency: its last release is of 2020, and what is needed of it is this file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ner_tags import split_tag

__all__ = ["Entity", "find_entities", "metric_names", "score"]

Entity = tuple[str, int, int]
"""An entity's type, its first token, and the token after its last."""

Rows = Sequence[Sequence[str]]


def find_entities(tags: Sequence[str], strict: bool = False) -> list[Entity]:
    """Read the entities off a sentence's tags.

    Args:
        tags: IOB1, IOB2 or BIOES; a tag that does not fit the one before it begins an entity.
        strict: IOB2 only: an entity begins with B and nothing else, and any other tag that does not fit is none.
    """
    found: list[Entity] = []
    begin: int | None = None
    before = ("O", "")
    for place, tag in enumerate((*tags, "O")):
        letter, kind = split_tag(tag)
        goes_on = begin is not None and letter in "IE" and before[0] in "BI" and before[1] == kind
        if begin is not None and not goes_on:
            found.append((before[1], begin, place))
            begin = None
        if letter == "B" or (letter != "O" and not goes_on and not strict):
            begin = place
        before = letter, kind
    return found


def metric_names(labels: Sequence[str], strict: bool) -> tuple[str, ...]:
    """Name what `score` gives for a model's labels, the main one first."""
    types = sorted({kind for kind in (split_tag(label)[1] for label in labels) if kind})
    names = ("f1", "precision", "recall", "accuracy")
    each = tuple(f"{name}_{kind}" for kind in types for name in ("f1", "precision", "recall"))
    return names + (("strict_f1", "strict_precision", "strict_recall") if strict else ()) + each


def score(gold: Rows, predicted: Rows, strict: bool, types: Sequence[str] = ()) -> dict[str, float]:
    """Compare predicted tags with the right ones.

    Args:
        gold: The right tags of each sentence.
        predicted: As many predicted ones.
        strict: Report the figures of strict IOB2 too.
        types: Types of entities to report even where there are none.

    Returns:
        ``precision``, ``recall`` and ``f1`` over all entities and, with the type at the name's end, of each type;
        ``accuracy`` of the tokens; ``strict_…``. What has no denominator is 0.
    """
    pairs = [
        (right == guess)
        for row, other in zip(gold, predicted, strict=True)
        for right, guess in zip(row, other, strict=True)
    ]
    right, guessed, agreed = _count(gold, predicted, strict=False)
    figures = _figures(sum(right.values()), sum(guessed.values()), sum(agreed.values()))
    figures["accuracy"] = sum(pairs) / len(pairs) if pairs else 0.0
    if strict:
        counts = (sum(counted.values()) for counted in _count(gold, predicted, strict=True))
        figures |= {f"strict_{name}": value for name, value in _figures(*counts).items()}
    for kind in sorted({*types, *right, *guessed}):
        of_type = _figures(right[kind], guessed[kind], agreed[kind])
        figures |= {f"{name}_{kind}": value for name, value in of_type.items()}
    return figures


def _count(gold: Rows, predicted: Rows, strict: bool) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count by type the entities there are, those that were predicted, and those in which both agree."""
    counts: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
    for row, other in zip(gold, predicted, strict=True):
        right, guessed = set(find_entities(row, strict)), set(find_entities(other, strict))
        for counter, entities in zip(counts, (right, guessed, right & guessed), strict=True):
            counter.update(kind for kind, _, _ in entities)
    return counts


def _figures(right: int, guessed: int, agreed: int) -> dict[str, float]:
    return {
        "precision": agreed / guessed if guessed else 0.0,
        "recall": agreed / right if right else 0.0,
        "f1": 2 * agreed / (right + guessed) if right + guessed else 0.0,
    }
