"""Processes that load batches beside the training: one that cannot hand a batch over ends, instead of losing it.

Python's ``multiprocessing`` reports what could not be sent (no file handle was left for its shared memory, say), drops
it and goes on, and its thread that hands out files tries for ever where it gets no handle itself: the training would
wait for that batch for ever. That a process has ended PyTorch notices, and says it in the training.
"""

from __future__ import annotations

import multiprocessing.queues
import os
import sys
from types import TracebackType

from ..utils.writing import reason_of

__all__ = ["end_on_lost_batches"]


def end_on_lost_batches(worker: int) -> None:
    """Make this process end where it cannot hand over what it made (``worker_init_fn`` of a ``DataLoader``).

    Args:
        worker: Its number, from 0.
    """

    def end(error: BaseException) -> None:
        if not isinstance(error, ConnectionError):  # else the training has gone, and says why
            reason = " ".join(reason_of(error).split())
            line = f"Process {worker} of those that load batches (dataloader_num_workers) ends: {reason}\n"
            os.write(2, line.encode(errors="replace"))
        os._exit(1)  # no error raised in the thread that sends would end the process

    def end_on_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        end(error)

    def end_on_unsent(error: BaseException, batch: object) -> None:
        end(error)

    sys.excepthook = end_on_unhandled
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(end_on_unsent)  # type: ignore[attr-defined]
