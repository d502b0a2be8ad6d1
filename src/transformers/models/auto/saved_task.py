"""What a saved model or adapter was made for, so that a tool can load it without being told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

from ...adapters.reading import is_adapter, read_adapter
from ...modeling_utils import PreTrainedModel
from ...utils.hub import split_hub_options
from ..table import MODEL_TYPES
from .configuration_auto import AutoConfig, model_class

__all__ = ["load_saved", "saved_task", "task_of"]

_OF_PEFT = {
    "SEQ_CLS": "sequence-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "CAUSAL_LM": "causal-lm",
    "FEATURE_EXTRACTION": "base",
}


def saved_task(name: str | os.PathLike[str], **options: Any) -> str:
    """Say which task a saved model or adapter is for, as a key of the table of tasks.

    Args:
        name: A folder or a hub id.
        **options: See `transformers.utils.hub.cached_file`.

    Raises:
        OSError: If nothing is found there.
        ValueError: If what is there does not say it.
    """
    if is_adapter(name, **options):
        content = read_adapter(name, **options)
        classes, task_type = [content.architecture], content.task_type
    else:
        classes, task_type = list(AutoConfig.from_pretrained(name, **options).architectures or []), None
    found = task_of(classes, task_type)
    if found is None:
        raise ValueError(
            f"'{os.fspath(name)}' does not say what task it is for; it was not saved by a model with a head."
        )
    return found


def task_of(classes: Sequence[str | None], task_type: str | None) -> str | None:
    """Give the task of what was saved, as a key of the table of tasks; None where that does not say it.

    Args:
        classes: Names of the classes of model that it was saved by.
        task_type: PEFT's name for what its head does.
    """
    for rows in MODEL_TYPES.values():
        for task, class_name in rows.items():
            if class_name in classes:
                return task
    return None if task_type is None else _OF_PEFT.get(task_type)


def load_saved(name: str | os.PathLike[str], task: str | None = None, **kwargs: Any) -> PreTrainedModel:
    """Load a saved model or adapter with the head that it was saved with.

    Args:
        name: A folder or a hub id.
        task: A key of the table of tasks; what was saved says it where None.
        **kwargs: As of `PreTrainedModel.from_pretrained`, ``base_model_name_or_path`` among them.

    Raises:
        OSError: If nothing is found there.
        ValueError: As of `saved_task`, or if the checkpoint does not fit.
    """
    options, rest = split_hub_options(kwargs)
    base = rest.get("base_model_name_or_path")
    config = AutoConfig.from_pretrained(name, base_model_name_or_path=base, **options)
    found: type[PreTrainedModel] = model_class(config.model_type, task or saved_task(name, **options))
    return cast(PreTrainedModel, found.from_pretrained(name, **kwargs))
