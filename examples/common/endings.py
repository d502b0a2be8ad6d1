"""How an example starts to speak and how it ends: one clear line and an exit code, whatever happened."""

from __future__ import annotations

import errno
import logging as python_logging
import os
import re
import sys
from pathlib import Path

from transformers import TrainingArguments
from transformers.training.checkpoint import list_checkpoints
from transformers.utils import logging
from transformers.utils.writing import reason_of

__all__ = ["give_up", "say", "set_up_logging", "what_is_left"]

_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|std::bad_alloc|failed to map segment", re.IGNORECASE
)
_MORE = (
    "There are no more {} to be had. Checkpoints are untouched, and the same command goes on from the last one. Raise "
    "the limit ({}), or give fewer --dataloader_num_workers"
)


def set_up_logging(args: TrainingArguments) -> None:
    """Show what happens on the first process, and errors only on the others."""
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity(logging.INFO if args.local_rank in (-1, 0) else logging.ERROR)
    python_logging.getLogger("httpx").setLevel(python_logging.WARNING)


def give_up(error: Exception) -> int:
    """Say in one line why the run ends; with TRANSFORMERS_VERBOSITY=debug, where.

    What is wrong with the input is wrong in every process alike, and said by the first; what a machine lacks is said
    by the process that lacks it.

    Returns:
        The exit code, 2.

    Raises:
        RuntimeError: The error itself, where it is one that neither memory, threads nor handles explain.
    """
    lacking = _lacking(error)
    is_input = isinstance(error, ValueError | OSError | FloatingPointError)  # some are RuntimeErrors too, as in 4.4.2
    if logging.get_verbosity() <= logging.DEBUG or (lacking is None and not is_input):
        raise error
    sys.unraisablehook = lambda _: None  # what Python then fails to clean up is of no interest behind our line
    process = int(os.environ.get("RANK", 0))
    if process == 0 or lacking is not None or isinstance(error, OSError):
        of_system = isinstance(error, OSError) and str(error).startswith("[Errno")  # whose number says nothing
        said = " ".join((reason_of(error) if of_system else str(error)).split())
        say(f"error: {said}" if lacking is None else f"error: {lacking} ({said[:200] or type(error).__name__})")
    return 2


def _lacking(error: Exception) -> str | None:
    """Say what the machine had too little of; None where the error is another one.

    PyTorch's and Python's errors for it are ``RuntimeError``, which other faults are too: only their words tell.
    """
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


def what_is_left(args: TrainingArguments) -> str:
    """Say what there is to go on from when a run ends before its time."""
    folder = Path(args.output_dir)
    checkpoints = list_checkpoints(folder) if args.do_train and folder.is_dir() else []
    if not checkpoints:
        return "nothing was saved; the same command starts anew"
    last = checkpoints[-1]
    if args.overwrite_output_dir:
        return f"with --overwrite_output_dir the same command starts anew, without it goes on from {last}"
    if args.resume_from_checkpoint is not None:
        return f"to go on from the newest checkpoint, give --resume_from_checkpoint {last}"
    return f"the same command goes on from {last}"


def say(text: str) -> None:
    """Print a line on standard error, above a progress bar that may stand there."""
    from tqdm import tqdm

    tqdm.write(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
