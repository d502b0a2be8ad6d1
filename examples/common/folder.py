"""The output folder of a run: whether it can be written, what to go on from, and what an earlier run left in it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from .identity import IDENTITY_FILE

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from .arguments import ModelArguments

__all__ = ["prepare_output", "set_aside_earlier_run"]

logger = logging.get_logger("transformers.examples.folder")

# What a run writes before its end; the rest (model, tokenizer) is written over at the end in one go.
_OF_A_RUN = (
    "checkpoint-*",
    "*_results.json",
    "run_record*.json",
    IDENTITY_FILE,
    "trainer_state.json",
    "learning_curve.png",
    "predictions.tsv",
)


def prepare_output(args: TrainingArguments, model_args: ModelArguments) -> str | None:
    """Find out whether this run goes on from a checkpoint, and refuse to write over another one.

    Args:
        args: Say where the run writes, and whether over what is there.
        model_args: Say what it starts from, which must not be moved away.

    Returns:
        The checkpoint to go on from, or None.

    Raises:
        ValueError: If the folder holds something else than a run's checkpoints.
        OSError: If it cannot be written.
    """
    folder = Path(args.output_dir)
    with args.main_process_first(desc="looking at the output folder"):
        _check_folder(args, model_args)
    if args.resume_from_checkpoint is not None:
        return args.resume_from_checkpoint
    if not args.do_train or args.overwrite_output_dir or not folder.is_dir():
        return None
    last = get_last_checkpoint(args.output_dir)
    if last is not None:
        logger.info("Going on from %s. To start anew, give --overwrite_output_dir or another --output_dir.", last)
        return last
    if any(path.name != IDENTITY_FILE for path in folder.iterdir()):  # that one is left where a start failed
        raise ValueError(
            f"--output_dir {folder} is not empty and holds no checkpoint to go on from. Give another one, or "
            "--overwrite_output_dir to write into it."
        )
    return None


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
    aside = folder / f"earlier-run-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir(exist_ok=True)
    for path in found:
        path.rename(aside / path.name)
    logger.info("The checkpoints and results of an earlier run are now in %s.", aside)
