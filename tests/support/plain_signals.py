"""Signals as a program of a terminal has them.

Whoever starts the tests in the background has some of them ignored, and children inherit that.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["not_ignored"]


@contextmanager
def not_ignored(*numbers: signal.Signals) -> Iterator[None]:
    """Give signals their default handling inside the ``with``, for this process and those that it starts."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
