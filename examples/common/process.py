"""What a script owes the shell that started it: signals end it with one line and no traceback, closed streams do not.

A script calls `behave` before the imports that take seconds. Nothing but Python itself is needed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from .lacking import what_is_lacking

__all__ = ["be_silent_afterwards", "behave", "ending_says"]

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_SPINS = "1000"

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class _End:
    """A handler that ends the process at once, as a kill would: whatever is being written is whole or not there."""

    until_training = True  # transformers.training.signals: the Trainer may put its own in place while it trains

    def __init__(self) -> None:
        self.process = os.getpid()
        self.state: Callable[[], str] = lambda: "nothing was trained yet"

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Say in one line what there is to go on from, and end."""
        for name in _SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)  # the end has begun
        if os.getpid() == self.process and os.environ.get("RANK", "0") == "0":  # children, other ranks: no line
            what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
            text = f"{Path(sys.argv[0]).name}: {what}; {self.state()}.\n"
            os.write(2, b"\n" * sys.stderr.isatty() + text.encode(errors="replace"))
        os._exit(128 + number)


_end = _End()


def behave() -> None:
    """Give closed streams a place that takes everything, and let signals end this process with one line.

    So ends one that finds no memory, threads or file handles while it imports. Threads that wait for each other soon
    sleep.
    """
    if not any(name in os.environ for name in _WAITING):  # read when torch is imported
        # Libgomp's own number where it knows that processors are short. Where it thinks that it is alone it takes
        # 300,000, and beside another busy program a step then takes many times as long.
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open_stream(number, name)
    sys.excepthook = _say_what_is_lacking
    for signal_name in _SIGNALS:
        found: int | None = getattr(signal, signal_name, None)
        if found is not None and signal.getsignal(found) is not signal.SIG_IGN:  # nohup's stays
            signal.signal(found, _end)


def ending_says(state: Callable[[], str]) -> None:
    """Let the line of a process that a signal ends say what there is to go on from.

    Args:
        state: Gives it, as it follows "interrupted; ".
    """
    _end.state = state


def _say_what_is_lacking(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line what the machine has too little of, and end; any other error is shown as Python shows it."""
    lacking = what_is_lacking(error, before=True)
    if lacking is None or os.environ.get("TRANSFORMERS_VERBOSITY") == "debug":
        sys.__excepthook__(kind, error, trace)
        return
    said = " ".join(str(error).split())[:200] or kind.__name__
    os.write(2, f"{Path(sys.argv[0]).name}: error: {lacking} ({said})\n".encode(errors="replace"))
    os._exit(2)


def be_silent_afterwards() -> None:
    """Let a script that has said why it ends not add what Python then fails to clean up; a program's hook stays."""
    if sys.excepthook is _say_what_is_lacking:
        sys.unraisablehook = lambda unraisable: None


def _open_stream(number: int, name: str) -> None:
    """Lead a stream that the shell has closed (``2>&-``) into nothing: the next file opened would get its number."""
    try:
        os.fstat(number)
    except OSError:
        mode = os.O_RDONLY if number == 0 else os.O_WRONLY
        nowhere = os.open(os.devnull, mode)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)
    if getattr(sys, name) is None:
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
