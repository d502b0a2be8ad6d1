"""What a machine had too little of, where an error says so: memory, threads, file handles.

Nothing but Python is needed: it may be the imports that find too little.
"""

from __future__ import annotations

import errno
import re

__all__ = ["what_is_lacking"]

_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|std::bad_alloc|failed to map segment", re.IGNORECASE
)
_MORE = (
    "There are no more {} to be had. Checkpoints are untouched, and the same command goes on from the last one. Raise "
    "the limit ({}), or give fewer --dataloader_num_workers"
)


def what_is_lacking(error: BaseException, *, before: bool = False) -> str | None:
    """Say what the machine had too little of; None where the error is another one.

    PyTorch's and Python's errors for it are ``RuntimeError``, or ``ImportError`` of a library that found no room.
    Other faults are so too: only their words tell.

    Args:
        error: The error.
        before: Look at what it was raised for, or after, as well.
    """
    earlier = error.__cause__ or error.__context__
    return _of_one(error) or (what_is_lacking(earlier, before=True) if before and earlier is not None else None)


def _of_one(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return (
            "There is not enough memory. Checkpoints are untouched, and the same command goes on from the last one. "
            "Less is taken by a smaller --per_device_train_batch_size with more --gradient_accumulation_steps, a "
            "smaller --max_seq_length, --bf16"
        )
    if "can't start new thread" in text or "Resource temporarily unavailable" in text:
        return _MORE.format("threads or processes", "ulimit -u, ulimit -v")
    if "DataLoader worker" in text:
        return (
            "A process that loads batches ended before its time: it says why above, or was killed (by the system, "
            "where memory is short). Checkpoints are untouched, and the same command goes on from the last one. Give "
            "fewer --dataloader_num_workers"
        )
    if (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)) or "Too many open files" in text:
        return _MORE.format("file handles", "ulimit -n")
    return None
