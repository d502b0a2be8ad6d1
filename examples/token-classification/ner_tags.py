"""What a tag says: its place in an entity and the entity's type; which of the ways of tagging a file has.

``B-PER`` begins a person and ``I-PER`` goes on with it (IOB2, BIO). In IOB1 ``B-`` only parts neighbours of one type.
In BIOES ``E-`` ends an entity, and ``S-`` is one of a single token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from common.tables import whole_number_of
from ner_files import Sentences
from transformers.utils import logging

__all__ = ["check_tags", "continued", "named_tags", "order_tags", "scheme_of", "split_tag", "tell_misfits"]

logger = logging.get_logger("transformers.examples.ner_tags")

_TAG = re.compile(r"O|[BIES](-.+)?", re.DOTALL)
Rows = Sequence[Sequence[str]]


def split_tag(tag: str) -> tuple[str, str]:
    """Give a tag's letter and its type: ``("B", "PER")``; ``("O", "")`` outside, ``_`` for a letter without type."""
    letter, _, kind = tag.partition("-")
    return letter, kind or ("" if letter == "O" else "_")


def continued(tag: str) -> str:
    """Give the tag of a further piece of a word: ``I-PER`` for ``B-PER``, any other as it is."""
    return f"I{tag[1:]}" if tag[:1] == "B" else tag


def named_tags(sentences: Sentences, names: Sequence[str] | None) -> Sentences:
    """Give tags that are numbers their names.

    Args:
        sentences: As they were read.
        names: The tags in the order of their numbers; None where files hold names.

    Raises:
        ValueError: If tags are numbers and nothing says what they mean, or a number has no name.
    """
    if sentences.tags is None or not all(tag.isdecimal() for row in sentences.tags for tag in row):
        return sentences
    if names is None:
        raise ValueError(
            f"The tags of '{sentences.source}' are numbers; say what they mean with --tag_names, in their order, "
            "such as --tag_names O B-PER I-PER."
        )
    for row, word, tag in sentences.tagged():
        if whole_number_of(tag) not in range(len(names)):
            raise ValueError(
                f"The tag of {sentences.place(row, word)} of '{sentences.source}' is {tag}, and --tag_names has "
                f"{len(names)} names (0 to {len(names) - 1})."
            )
    return sentences.with_tags([[names[int(tag)] for tag in row] for row in sentences.tags])


def check_tags(sentences: Sentences, known: Sequence[str] | None = None, whose: str = "") -> None:
    """Refuse what is no tag, and tags that are not known.

    Args:
        sentences: The sentences.
        known: Those that may be; None for any.
        whose: Says in a message whose these are.

    Raises:
        ValueError: If there is one; the message names it and its place.
    """
    allowed = None if known is None else set(known)
    checked: set[str] = set()
    for row, word, tag in sentences.tagged():
        if tag in checked:
            continue
        where = f"The tag '{tag}' in {sentences.place(row, word)} of '{sentences.source}'"
        if _TAG.fullmatch(tag) is None:
            raise ValueError(f"{where} is none: O was expected, or B-, I-, E- or S- and a type, such as B-PER.")
        if allowed is not None and tag not in allowed:
            raise ValueError(f"{where} is not among {whose}: {', '.join(known or ())}.")
        checked.add(tag)


def order_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Give each tag once: O first, then by type."""
    return tuple(sorted(set(tags), key=lambda tag: (tag != "O", split_tag(tag)[1], tag)))


def scheme_of(rows: Rows) -> str:
    """Find the way of tagging: ``BIOES`` where there is an E or S; ``IOB1`` where B only parts entities; ``IOB2``."""
    if any(tag[:1] in ("E", "S") for tags in rows for tag in tags):
        return "BIOES"
    pairs = [pair for tags in rows for pair in pairwise(map(split_tag, ("O", *tags)))]
    only_parts = all(before[1] == kind for before, (letter, kind) in pairs if letter == "B")
    begins_with_i = any(before[0] == "O" for before, (letter, _) in pairs if letter == "I")
    return "IOB1" if only_parts and begins_with_i else "IOB2"


def tell_misfits(sentences: Sentences, scheme: str) -> int:
    """Count the tags that do not fit the one before them, and say so in one line.

    Args:
        sentences: The sentences.
        scheme: By `scheme_of`.

    Returns:
        How many there are.
    """
    found = [
        (row, word)
        for row, tags in enumerate(sentences.tags or ())
        for word, (before, tag) in enumerate(zip(("O", *tags), tags, strict=False))
        if not _fits(split_tag(before), split_tag(tag), scheme)
    ]
    if found:
        row, word = found[0]
        tags = (sentences.tags or ())[row]
        logger.warning(
            "'%s': %d tags do not fit the one before them (%s), the first in %s: %s after %s. Scores read such a tag "
            "as the beginning of an entity, as seqeval does; strict ones as none.",
            sentences.source,
            len(found),
            scheme,
            sentences.place(row, word),
            tags[word],
            tags[word - 1] if word else "the sentence's beginning",
        )
    return len(found)


def _fits(before: tuple[str, str], tag: tuple[str, str], scheme: str) -> bool:
    inside = before[0] in "BI" and before[1] == tag[1]
    if scheme == "IOB1":
        return tag[0] != "B" or inside
    if scheme == "BIOES" and before[0] in "BI":
        return tag[0] in "IE" and inside
    return tag[0] not in "IE" or inside
