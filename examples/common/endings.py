"""How an example starts to speak and how it ends: one clear line and an exit code, whatever happened."""

from __future__ import annotations

import logging as python_logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import TrainingArguments
from transformers.training.checkpoint import list_checkpoints
from transformers.utils import logging
from transformers.utils.writing import reason_of

from .lacking import what_is_lacking
from .process import be_silent_afterwards

__all__ = ["give_up", "say", "set_up_logging", "values_to_come", "what_is_left"]


def set_up_logging(args: TrainingArguments) -> None:
    """Show what happens on the first process, and errors only on the others."""
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity(logging.INFO if args.local_rank in (-1, 0) else logging.ERROR)
    python_logging.getLogger("httpx").setLevel(python_logging.WARNING)


@contextmanager
def values_to_come(checkpoint: str | None) -> Iterator[None]:
    """Do not say what is new in a model that is loaded inside, where a checkpoint brings all of it.

    Args:
        checkpoint: The one to go on from; with None what is new is said.
    """
    report = python_logging.getLogger("transformers.modeling.load_report")
    level = report.level
    if checkpoint is not None:
        report.setLevel(logging.WARNING)
    try:
        yield
    finally:
        report.setLevel(level)


def give_up(error: Exception) -> int:
    """Say in one line why the run ends; with TRANSFORMERS_VERBOSITY=debug, where.

    What is wrong with the input is wrong in every process alike, and said by the first; what a machine lacks is said
    by the process that lacks it.

    Returns:
        The exit code, 2.

    Raises:
        RuntimeError: The error itself, where it is one that neither memory, threads nor handles explain.
    """
    lacking = what_is_lacking(error)
    # Some of these are RuntimeErrors too, as in 4.4.2.
    is_input = isinstance(error, ValueError | OSError | FloatingPointError | ImportError)
    if logging.get_verbosity() <= logging.DEBUG or (lacking is None and not is_input):
        raise error
    be_silent_afterwards()
    process = int(os.environ.get("RANK", 0))
    if process == 0 or lacking is not None or isinstance(error, OSError):
        of_system = isinstance(error, OSError) and str(error).startswith("[Errno")  # whose number says nothing
        said = " ".join((reason_of(error) if of_system else str(error)).split())
        say(f"error: {said}" if lacking is None else f"error: {lacking} ({said[:200] or type(error).__name__})")
    return 2


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
