"""The output folder of a run: whether it can be written, and what an earlier run left in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from glue_tasks import TASKS
from transformers import AutoConfig
from transformers.utils import logging

if TYPE_CHECKING:
    from glue_arguments import Arguments

__all__ = ["check_same_run", "check_writable", "set_aside_earlier_run"]

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
# Arguments that make another training of it when they change.
_WATCHED = (
    "learning_rate",
    "weight_decay",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "label_smoothing_factor",
    "seed",
)


def check_writable(folder: Path) -> None:
    """Find out now, and not after the training, that nothing can be written into a folder.

    Raises:
        OSError: If it cannot; the file system is as it was before.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"probe")
    except OSError as error:
        raise OSError(f"--output_dir {folder} cannot be written into: {error.strerror}.") from error
    finally:
        for path in (path for path in missing if path.is_dir()):
            path.rmdir()


def check_same_run(checkpoint: str, arguments: Arguments) -> None:
    """Refuse to go on with a training of another task, and say which arguments have changed.

    Raises:
        ValueError: If the checkpoint was trained for another task.
    """
    before, now = AutoConfig.from_pretrained(checkpoint).finetuning_task, arguments.data.task_name
    if before != now:
        raise ValueError(
            f"--output_dir {arguments.training.output_dir} holds checkpoints of {before or 'files of your own'}, not "
            f"of {now or 'files of your own'}. Give another one, or --overwrite_output_dir to start anew."
        )
    saved: dict[str, Any] = json.loads(Path(checkpoint, "training_args.json").read_text(encoding="utf-8"))
    present = arguments.training.to_dict()
    for name in _WATCHED:
        if name in saved and saved[name] != present[name]:
            logger.warning("--%s was %s in %s and is %s now.", name, saved[name], checkpoint, present[name])


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
