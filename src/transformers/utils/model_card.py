"""The model card: ``README.md`` in a saved folder, in the hub's metadata form.

A card is a by-product: whatever goes wrong with it, the model is saved all the same. Its last line holds a digest of
what stands above it, so a card that a person has changed is known, and kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import logging
from .secrets import hide_tokens
from .writing import reason_of, write_bytes

__all__ = ["CARD_NAME", "CardContent", "as_table", "is_own_card", "render_card", "write_card"]

CARD_NAME = "README.md"
_SEAL = "<!-- Written by transformers {digest}: a card that was changed by hand is kept as it is. -->"
_SEALED = re.compile(rb"(?s)(.*\n)<!-- Written by transformers ([0-9a-f]{64}): [^\n]*-->\n?")

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class CardContent:
    """What a card says.

    Attributes:
        title: Its heading.
        metadata: Arguments of ``huggingface_hub.ModelCardData``; what is None or empty is left out.
        sections: Heading and Markdown of each part, in order.
    """

    title: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sections: Sequence[tuple[str, str]] = ()


def render_card(content: CardContent) -> str:
    """Give a card's text: metadata between lines of ``---``, the sections, and the line with the digest.

    Raises:
        ValueError: If the metadata is not what the hub takes.
    """
    from huggingface_hub import ModelCardData

    stated = {name: value for name, value in content.metadata.items() if value not in (None, [], "")}
    metadata = ModelCardData(**stated)
    parts = [f"---\n{metadata.to_yaml()}\n---", f"# {content.title}"]
    parts += [f"## {heading}\n\n{text}" for heading, text in content.sections]
    text = hide_tokens("\n\n".join(parts)) + "\n\n"
    return text + _SEAL.format(digest=_digest(text.encode())) + "\n"


def is_own_card(text: bytes) -> bool:
    """Say whether a card is as it was written here, and not one that a person (or another program) has made of it."""
    found = _SEALED.fullmatch(text.replace(b"\r\n", b"\n"))
    return found is not None and _digest(found[1]).encode() == found[2]


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def write_card(folder: Path, describe: Callable[[], CardContent]) -> None:
    """Write a folder's card, unless a person's stands there; a card that cannot be written is a warning.

    Args:
        folder: The folder, which exists.
        describe: Gives what the card says.
    """
    path = folder / CARD_NAME
    try:
        if path.exists() and not is_own_card(path.read_bytes()):
            logger.info("'%s' was changed by hand, so it is kept as it is.", path)
            return
        write_bytes(path, render_card(describe()).encode())
    except Exception as error:  # of any kind: the model beside it is what counts
        logger.warning("The model card '%s' could not be written (%s); all else is saved.", path, reason_of(error))


def as_table(rows: Mapping[str, object]) -> str:
    """Give names and values as a table in Markdown; what is None is left out."""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _cell(value: object) -> str:
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;")
