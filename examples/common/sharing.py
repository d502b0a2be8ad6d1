"""How a run is shared in the end: uploaded to the hub, where its flags ask for it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from transformers.training.publishing import STAYS_HERE
from transformers.utils import logging
from transformers.utils.hub_upload import NotUploadedError

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["share"]

logger = logging.get_logger("transformers.examples.sharing")


def share(trainer: Trainer) -> None:
    """Upload a training where ``--push_to_hub`` asks for it; all processes call it, when all else is done.

    Args:
        trainer: Of the run.

    Raises:
        NotUploadedError: If the hub cannot be reached or refuses; it says how to try again.
    """
    args = trainer.args
    if not (args.push_to_hub and args.do_train):
        return
    try:
        commit = trainer.push_to_hub()
    except NotUploadedError as error:
        patterns = [word for pattern in (".*", *STAYS_HERE) for word in ("--exclude", pattern)]
        words = shlex.join(["hf", "upload", str(trainer.hub_model_id), args.output_dir, ".", *patterns])
        raise NotUploadedError(f"{error} The run itself is complete; to try again: {words}") from None
    if commit is not None:
        logger.info("Uploaded: %s", commit)
