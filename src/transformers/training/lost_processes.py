"""Processes that train together: which of them is gone, when one is.

Every process counts on in the store in which they met, twice a second and in a thread of its own. Who waits for the
others in vain looks whose count stands still, and says it.
"""

from __future__ import annotations

import atexit
import gc
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

__all__ = ["beat", "explaining_lost_processes", "first_line", "leave_group", "says_lost"]

# What gloo, NCCL and PyTorch's store say when another process is gone, or silent for longer than the timeout.
_LOST = re.compile(
    r"closed by peer|reset by peer|timed? ?out|broken pipe|connection refused|remote process exited|socket"
    r"|recv(value)? failed|connection was likely closed",
    re.IGNORECASE,
)

_PERIOD = 0.5  # seconds between two counts
_PATIENCE = 3.0  # seconds without one after which a process counts as gone


class _Heart:
    """Counts on in the store, so that the others see this process live.

    Args:
        store: In which the processes met, a `torch.distributed.Store`.
        rank: This process.
        processes: How many there are.
    """

    def __init__(self, store: Any, rank: int, processes: int) -> None:
        self._store, self._rank, self._processes = store.clone(), rank, processes
        self._store.set_timeout(timedelta(seconds=_PATIENCE))
        self._stopped = threading.Event()
        self._store.add(_count(rank), 1)
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def _beat(self) -> None:
        while not self._stopped.wait(_PERIOD):
            try:
                self._store.add(_count(self._rank), 1)
            except RuntimeError:  # the store is gone; who waits for it says so
                return

    def stop(self) -> None:
        """Stop counting."""
        self._stopped.set()

    def gone(self) -> list[int] | None:
        """Name the processes whose count stands still; None where the store itself is gone."""
        try:
            self._store.add(_left(self._rank), 1)  # this one ends too, but not first
            before = self._counts()
            time.sleep(_PATIENCE)
            still = [rank for rank, count in enumerate(self._counts()) if count == before[rank]]
            return [rank for rank in still if rank != self._rank and self._store.add(_left(rank), 0) == 0]
        except RuntimeError:
            return None

    def _counts(self) -> list[int]:
        return [self._store.add(_count(rank), 0) for rank in range(self._processes)]


_hearts: list[_Heart] = []  # of this process: one, once it has met others


def _count(rank: int) -> str:
    return f"heartbeat/{rank}"


def _left(rank: int) -> str:
    return f"heartbeat/{rank}/left"


def beat(rank: int, processes: int) -> None:
    """Let the others see that this process lives, from now on.

    Args:
        rank: This process.
        processes: How many there are; with one, nothing is done.
    """
    if processes > 1 and not _hearts:
        store = torch.distributed.distributed_c10d._get_default_store()
        _hearts.append(_Heart(store, rank, processes))


def leave_group() -> None:
    """Leave the group before Python ends, as PyTorch wants it."""
    while _hearts:
        _hearts.pop().stop()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()  # a DistributedDataParallel that waits in a cycle would keep the group alive
        torch.distributed.destroy_process_group()


@contextmanager
def explaining_lost_processes() -> Iterator[None]:
    """Turn what PyTorch raises when another process has died, or is silent for too long, into one clear line.

    Raises:
        ConnectionError: In the place of such an error; it names the processes that are gone.
    """
    try:
        yield
    except Exception as error:
        distributed = torch.distributed
        if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
            raise
        lost = isinstance(error, RuntimeError) and says_lost(error)
        if lost or distributed.get_backend() != "gloo":
            atexit.unregister(leave_group)  # leaving would wait for the others: for ever, if they wait for this one
        if not lost:
            raise
        raise ConnectionError(
            f"Process {distributed.get_rank()} of {distributed.get_world_size()} lost the others: {_who()} "
            f"({first_line(error)}). See its own last lines; training can go on from the last checkpoint."
        ) from error


def _who() -> str:
    """Say which process is gone."""
    gone = _hearts[0].gone() if _hearts else []
    if gone is None:
        return "the one in whose store they met, process 0 or the launcher, died or was stopped"
    if not gone:
        return "one of them was silent for longer than ddp_timeout, though all are still there"
    names = " and ".join(map(str, gone))
    return f"process {names} died or was stopped" if len(gone) == 1 else f"processes {names} died or were stopped"


def says_lost(error: Exception) -> bool:
    """Say whether an error means that another process is gone or silent."""
    return isinstance(error, torch.distributed.DistError) or _LOST.search(str(error)) is not None


def first_line(error: Exception) -> str:
    """Give what an error says, without the place in C++ that it comes from."""
    text = str(error).strip().split("\n")[0]
    return re.sub(r"^\[[^\]]*\.(cc|cpp|h):\d+\]\s*", "", text)[:160]
