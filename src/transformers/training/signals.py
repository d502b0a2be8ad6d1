"""Signals that ask a training to stop: it finishes the step, writes a checkpoint, and ends with one line.

``SIGTERM`` and ``SIGHUP`` ask for it, with ``save_on_preemption`` also ``SIGUSR1``, and among several processes
``SIGINT``, which alone interrupts at once as ever. A second one ends the process on the spot. Handlers are there while
``train`` runs in the main thread and are put back afterwards; one that a program has installed itself stays in charge,
unless it has the attribute ``until_training``. What is ignored (``nohup``) stays ignored.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["StopRequest", "TrainingStopped", "listening_for_stop"]

_SAME_REQUEST = 2.0
"""Seconds in which several processes get one request twice: a terminal sends Ctrl-C to all, and so does a launcher."""


class TrainingStopped(SystemExit):
    """A training has stopped because a signal asked for it; a script that does not catch it ends with its code.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.exit_code = 128 + number
        self.signal_name = signal.Signals(number).name


class StopRequest:
    """What signals have asked of this process.

    Args:
        processes: How many train together.
    """

    def __init__(self, processes: int = 1) -> None:
        self.number: int | None = None
        self._process, self._processes, self._since = os.getpid(), processes, 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; end the process where it is the second one, or this is a child that has inherited it."""
        repeated = self._processes > 1 and time.monotonic() - self._since < _SAME_REQUEST
        if os.getpid() != self._process or (self.number is not None and not repeated):
            os._exit(128 + number)
        if self.number is None:
            self.number, self._since = number, time.monotonic()


@contextmanager
def listening_for_stop(args: TrainingArguments) -> Iterator[StopRequest]:
    """Take signals that ask a training to stop as such while the block runs, and put earlier handlers back after it.

    Args:
        args: Say how many processes there are, and whether ``save_on_preemption`` is set.

    Yields:
        What has been asked; nothing ever in another thread than the main one, which alone may handle signals.
    """
    request, earlier = StopRequest(args.world_size), {}
    if threading.current_thread() is threading.main_thread():
        for number in _wanted(args):
            handler = signal.getsignal(number)
            if _gives_way(handler):
                earlier[number] = handler
                signal.signal(number, request)
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if request.number is not None:  # it came too late for a step: whoever was in charge before decides
        signal.raise_signal(request.number)


def _wanted(args: TrainingArguments) -> list[int]:
    names = ["SIGTERM", "SIGHUP"]  # Windows lacks some
    if args.world_size > 1:
        names.append("SIGINT")
    if args.save_on_preemption:
        names.append("SIGUSR1")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _gives_way(handler: Any) -> bool:
    """Say whether nobody has decided what a signal does."""
    standard = handler in (signal.SIG_DFL, signal.default_int_handler)
    return standard or bool(getattr(handler, "until_training", False))
