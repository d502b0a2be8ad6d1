"""The output folder of a run: whether it can be written, what to go on from, and what an earlier run left in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from transformers.trainer_utils import get_last_checkpoint
from transformers.training.checkpoint import clear_leftovers, is_leftover
from transformers.training.lock import LOCK_NAME, locked_folder
from transformers.utils import logging

from .identity import IDENTITY_FILE
from .records import RECORD_FILE

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from .arguments import ModelArguments

__all__ = ["claimed_output", "clear_unfinished_run", "set_aside_earlier_run"]

logger = logging.get_logger("transformers.examples.folder")

# What a run writes before its end; the rest (model, tokenizer) is written over at the end in one go.
_OF_A_RUN = (
    "checkpoint-*",
    "*_results.json",
    "run_record*.json",
    IDENTITY_FILE,
    "trainer_state.json",
    "learning_curve.png",
    "report.*",
    "report_*",
    "predictions.tsv",
    "predictions.txt",
)


@contextmanager
def claimed_output(args: TrainingArguments, model_args: ModelArguments) -> Iterator[str | None]:
    """Find out whether this run goes on from a checkpoint, and keep other runs out of the folder while the block runs.

    Args:
        args: Say where the run writes, and whether over what is there.
        model_args: Say what it starts from, which must not be moved away.

    Yields:
        The checkpoint to go on from, or None.

    Raises:
        ValueError: If the folder holds something else than a run's checkpoints.
        OSError: If it cannot be written, or another run is under way in it.
    """
    with args.main_process_first(desc="looking at the output folder"):
        _check_folder(args, model_args)
    writes = args.do_train and args.process_index == 0
    with locked_folder(args.output_dir) if writes else nullcontext():
        yield _find_start(args)


def _find_start(args: TrainingArguments) -> str | None:
    """Give the checkpoint to go on from; None for a training from the start.

    Raises:
        ValueError: If the folder holds something else than a run's checkpoints.
    """
    folder = Path(args.output_dir)
    if args.resume_from_checkpoint is not None:
        return args.resume_from_checkpoint
    if not args.do_train or args.overwrite_output_dir or not folder.is_dir():
        return None
    last = get_last_checkpoint(args.output_dir)
    if last is not None:
        logger.info("Going on from %s. To start anew, give --overwrite_output_dir or another --output_dir.", last)
        return last
    holds_more = any(path.name != LOCK_NAME and not is_leftover(path.name) for path in folder.iterdir())
    if holds_more and not _is_unfinished(folder):
        raise ValueError(
            f"--output_dir {folder} is not empty and holds no checkpoint to go on from. Give another one, or "
            "--overwrite_output_dir to write into it."
        )
    return None


def _is_unfinished(folder: Path) -> bool:
    """Say whether a folder holds a run that has begun and not come to its end."""
    return (folder / IDENTITY_FILE).is_file() and not (folder / RECORD_FILE).exists()


def clear_unfinished_run(folder: Path) -> None:
    """Remove what a run left that was killed before its first checkpoint: half a checkpoint, TensorBoard's files.

    Args:
        folder: The output folder.
    """
    clear_leftovers(folder)
    logs, identity = folder / "runs", folder / IDENTITY_FILE
    if not (_is_unfinished(folder) and logs.is_dir()):
        return
    begun = identity.stat().st_mtime
    for path in logs.iterdir():
        if path.is_dir() and not path.is_symlink() and path.stat().st_mtime >= begun:  # not an earlier run's
            logger.warning("Removing %s, which an interrupted run left behind.", path)
            shutil.rmtree(path, ignore_errors=True)


def _check_folder(args: TrainingArguments, model_args: ModelArguments) -> None:
    """Find out now, and not after the training, what is wrong with the output folder. Nothing is made or changed."""
    folder = Path(args.output_dir)
    if folder.is_file():
        raise ValueError(f"--output_dir {folder} is a file; a folder was expected.")
    if args.do_train and folder.resolve() == Path(model_args.model_name_or_path).resolve():
        raise ValueError(f"--output_dir {folder} is the folder of the model to start from; give another one.")
    for name in ("model_name_or_path", "config_name", "tokenizer_name", "lora_path", "adapter_path"):
        start = getattr(model_args, name)
        if start and args.do_train and args.overwrite_output_dir and folder.resolve() in Path(start).resolve().parents:
            raise ValueError(
                f"--{name} {start} lies in --output_dir {folder}, from which --overwrite_output_dir moves it away. "
                "Give another --output_dir."
            )
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    try:
        with TemporaryFile(dir=existing) as file:
            file.write(b"probe")
    except OSError as error:
        raise OSError(f"--output_dir {folder} cannot be written into: {error.strerror}.") from error


def set_aside_earlier_run(folder: Path, further: Iterable[str] = ()) -> None:
    """Move what an earlier run left into a folder of its own, so that it is neither lost nor taken for this run's.

    Args:
        folder: The output folder.
        further: Patterns of files that the example writes beside those that all of them do.
    """
    found = [path for pattern in (*_OF_A_RUN, *further) for path in folder.glob(pattern)]
    if not found:
        return
    aside = _new_folder(folder / f"earlier-run-{time.strftime('%Y%m%d-%H%M%S')}")
    for path in found:
        path.rename(aside / path.name)
    logger.info("The checkpoints and results of an earlier run are now in %s.", aside)


def _new_folder(path: Path) -> Path:
    """Make a folder that was not there; its name is numbered where another has it (the clock may go back)."""
    numbered, number = path, 1
    while True:
        try:
            numbered.mkdir()
            return numbered
        except FileExistsError:
            number += 1
            numbered = path.with_name(f"{path.name}-{number}")
