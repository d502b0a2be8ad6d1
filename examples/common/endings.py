"""How an example starts to speak and how it ends: one clear line and an exit code, whatever happened."""

from __future__ import annotations

import logging as python_logging
import os
import sys
from pathlib import Path

from transformers import TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

__all__ = ["give_up", "interrupted", "say", "set_up_logging"]


def set_up_logging(args: TrainingArguments) -> None:
    """Show what happens on the first process, and errors only on the others."""
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity(logging.INFO if args.local_rank in (-1, 0) else logging.ERROR)
    python_logging.getLogger("httpx").setLevel(python_logging.WARNING)


def give_up(error: Exception) -> int:
    """Say in one line why the run ends; with TRANSFORMERS_VERBOSITY=debug, where.

    What is wrong with the input is wrong in every process alike, and said by the first.

    Returns:
        The exit code, 2.
    """
    if logging.get_verbosity() <= logging.DEBUG:
        raise error
    process = int(os.environ.get("RANK", 0))
    if process == 0 or isinstance(error, OSError):
        say(f"error: {' '.join(str(error).split())}")
    return 2


def interrupted(args: TrainingArguments) -> int:
    """Say after Ctrl-C what there is to go on from.

    Returns:
        The exit code, 130.
    """
    last = get_last_checkpoint(args.output_dir) if args.do_train and Path(args.output_dir).is_dir() else None
    if args.process_index == 0:
        ending = "nothing was saved" if last is None else f"the same command goes on from {last}"
        say(f"interrupted; {ending}.")
    return 130


def say(text: str) -> None:
    """Print a line on standard error, above a progress bar that may stand there."""
    from tqdm import tqdm

    tqdm.write(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
