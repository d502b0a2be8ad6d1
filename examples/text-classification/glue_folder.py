"""The output folder of a run: whether it can be written, and what an earlier run left in it."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from glue_tasks import TASKS
from transformers import AutoConfig
from transformers.utils import logging

if TYPE_CHECKING:
    from glue_arguments import Arguments

__all__ = ["check_folder", "check_same_run", "set_aside_earlier_run"]

logger = logging.get_logger("transformers.examples.glue_folder")

# What a run writes before its end; the rest (model, tokenizer, record) is written over at the end in one go.
_OF_A_RUN = (
    "checkpoint-*",
    "*_results.json",
    "run_record.json",
    "trainer_state.json",
    "learning_curve.png",
    "predictions.tsv",
    *(f"{title}.tsv" for task in TASKS.values() for title in task.titles),
)


def check_folder(arguments: Arguments) -> None:
    """Find out now, and not after the training, what is wrong with the output folder. Nothing is made or changed.

    Raises:
        ValueError: If it is a file, the model's own folder, or holds what the run starts from and is to be cleared.
        OSError: If it cannot be written.
    """
    args, folder = arguments.training, Path(arguments.training.output_dir)
    if folder.is_file():
        raise ValueError(f"--output_dir {folder} is a file; a folder was expected.")
    if args.do_train and folder.resolve() == Path(arguments.model.model_name_or_path).resolve():
        raise ValueError(f"--output_dir {folder} is the folder of the model to start from; give another one.")
    for name in ("model_name_or_path", "config_name", "tokenizer_name", "lora_path", "adapter_path"):
        start = getattr(arguments.model, name)
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


def check_same_run(checkpoint: str, arguments: Arguments) -> None:
    """Refuse to go on with a training of another task.

    Raises:
        ValueError: If the checkpoint was trained for another task.
    """
    before, now = AutoConfig.from_pretrained(checkpoint).finetuning_task, arguments.data.task_name
    if before != now:
        raise ValueError(
            f"--output_dir {arguments.training.output_dir} holds checkpoints of {before or 'files of your own'}, not "
            f"of {now or 'files of your own'}. Give another one, or --overwrite_output_dir to start anew."
        )


def set_aside_earlier_run(folder: Path) -> None:
    """Move what an earlier run left into a folder of its own, so that it is neither lost nor taken for this run's.

    Args:
        folder: The output folder.
    """
    found = [path for pattern in _OF_A_RUN for path in folder.glob(pattern)]
    if not found:
        return
    aside = folder / f"earlier-run-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir(exist_ok=True)
    for path in found:
        path.rename(aside / path.name)
    logger.info("The checkpoints and results of an earlier run are now in %s.", aside)
