"""What is a secret, and what is shown in its place: records are passed on, and errors are pasted into reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["file_with_secret", "hide_tokens", "is_secret", "without_secrets"]

_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
_AT_ONCE = 2**20  # bytes of a file that are looked at together


def is_secret(name: str) -> bool:
    """Say whether a flag or field of this name holds an access token: it is called ``…_token`` or ``token``."""
    return name == "token" or name.endswith("_token")


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give values by name, with ``<NAME>`` in the place of every access token given as a text.

    Args:
        values: Flags or fields by their names.
    """
    return {
        name: f"<{name.upper()}>" if is_secret(name) and isinstance(value, str) and value else value
        for name, value in values.items()
    }


def hide_tokens(text: str, *known: object) -> str:
    """Take access tokens out of a text that others may read: a message, a log, a record.

    Args:
        text: The text.
        *known: Tokens of any form that were in use; what is no text is passed over. The hub's own are found by theirs.
    """
    for token in known:
        if isinstance(token, str) and token.strip():
            for form in (repr(token)[1:-1], token.strip()):  # as a library quotes it, and as it is
                text = text.replace(form, "…")
    return _TOKEN.sub("hf_…", text)


def file_with_secret(paths: Iterable[Path], *known: object) -> Path | None:
    """Find a file that holds an access token; None where no file does.

    Args:
        paths: The files.
        *known: Tokens of any form that are in use; what is no text is passed over. The hub's own are found by theirs.

    Raises:
        OSError: If a file cannot be read.
    """
    tokens = {token.strip() for token in known if isinstance(token, str) and token.strip()}
    secret = re.compile(b"|".join([_TOKEN.pattern.encode(), *(re.escape(token.encode()) for token in tokens)]))
    longest = max(map(len, tokens), default=0) + 64
    for path in paths:
        with path.open("rb") as file:
            before = b""
            while piece := file.read(_AT_ONCE):
                if secret.search(before + piece):
                    return path
                before = piece[-longest:]  # a token may stand across the border
    return None
