"""What is said to a client whose request is not answered: a status and one plain sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

__all__ = ["Refusal", "one_line", "unknown_adapter"]


class Refusal(Exception):
    """A request that is not answered, for a reason that its sender is told.

    Args:
        status: HTTP's.
        sentence: What is wrong, and what to do.
        headers: Further headers, such as ``Retry-After``.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})


def one_line(error: BaseException) -> str:
    """Give an exception's message as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def unknown_adapter(name: str, known: Iterable[str]) -> Refusal:
    """Make the refusal of an adapter that is not there, with the names that are near."""
    near = difflib.get_close_matches(name[:200], list(known), n=3)
    hint = f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else " GET /adapters lists them."
    return Refusal(404, f"There is no adapter {_shown(name)}.{hint}")


def _shown(name: str) -> str:
    return repr(name if len(name) < 100 else f"{name[:97]}…")
