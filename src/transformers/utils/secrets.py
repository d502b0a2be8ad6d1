"""What is a secret, and what is shown in its place: records are passed on, and errors are pasted into reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["hide_tokens", "is_secret", "without_secrets"]

_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


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
