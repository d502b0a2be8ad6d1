"""Ctrl-C while libraries load."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["INTERRUPTED", "SAID", "ending_at_once"]

INTERRUPTED = 130
SAID = "transformers-cli: interrupted."


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process at once: a library that is being imported may swallow the exception."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: object) -> None:
    os.write(2, f"{SAID}\n".encode())
    os._exit(INTERRUPTED)
