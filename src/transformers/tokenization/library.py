"""What the `tokenizers` library must be able to do, checked where it is needed: a release that cannot says nothing."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

__all__ = ["check_keeps_overflow"]


@cache
def check_keeps_overflow() -> None:
    """See that what truncation cuts off is given as parts of their own: 0.23.1 and 0.23.2 lose it.

    Raises:
        ImportError: If the installed release loses it: the rest of every long text would never be read.
    """
    backend = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    backend.pre_tokenizer = Whitespace()
    backend.enable_truncation(2, stride=1)
    if len(backend.encode("a a a a").overflowing) != 2:
        raise ImportError(
            f"tokenizers {version('tokenizers')} loses what is cut off a long text, so its rest would never be read; "
            "pip install 'tokenizers>=0.23.3,<0.24'"
        )
