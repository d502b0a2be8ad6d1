"""`pipeline`: a task, a folder or hub id, and what belongs together is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import torch

from ..modeling_utils import PreTrainedModel
from ..models.auto.saved_task import load_saved, saved_task
from ..models.auto.tokenization_auto import TOKENIZER_FILES, AutoTokenizer
from ..tokenization_utils_fast import PreTrainedTokenizerFast
from ..utils.hub import HUB_OPTIONS
from .base import Pipeline
from .feature_extraction import FeatureExtractionPipeline
from .fill_mask import FillMaskPipeline
from .multiple_choice import MultipleChoicePipeline
from .question_answering import QuestionAnsweringPipeline
from .text_classification import TextClassificationPipeline
from .token_classification import TokenClassificationPipeline

__all__ = ["PIPELINES", "pipeline"]

PIPELINES: tuple[type[Pipeline], ...] = (
    FeatureExtractionPipeline,
    FillMaskPipeline,
    MultipleChoicePipeline,
    QuestionAnsweringPipeline,
    TextClassificationPipeline,
    TokenClassificationPipeline,
)
_TASKS = {each.task: each for each in PIPELINES}
_OTHER_NAMES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | PreTrainedModel | None = None,
    config: Any = None,
    tokenizer: str | os.PathLike[str] | PreTrainedTokenizerFast | None = None,
    framework: str | None = None,
    revision: str | None = None,
    use_fast: bool = True,
    device: int | str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    model_kwargs: dict[str, Any] | None = None,
    **choices: Any,
) -> Pipeline:
    """Load what a task needs, and give it as one call.

    Args:
        task: ``"text-classification"`` (or ``"sentiment-analysis"``), ``"token-classification"`` (or ``"ner"``),
            ``"question-answering"``, ``"fill-mask"``, ``"feature-extraction"``, ``"multiple-choice"``. What was saved
            says it where None.
        model: A model's or an adapter's folder or hub id; or a model, which comes with its tokenizer.
        config: A configuration for the model.
        tokenizer: A tokenizer, or where it is; beside the model where None.
        framework: ``"pt"``; there is no other.
        revision: Of the hub.
        use_fast: Without effect: every tokenizer here is fast.
        device: See `Pipeline`.
        dtype: The dtype to load the model in.
        model_kwargs: Further arguments of ``from_pretrained``, such as ``base_model_name_or_path``.
        **choices: ``token``, ``cache_dir``, … of the hub, ``torch_dtype``; and the task's own, see its class.

    Raises:
        OSError: If something is not found.
        TypeError: If a choice is not known.
        ValueError: If the task is not known, no model is given, or what is there does not fit the task.
    """
    del use_fast
    if framework not in (None, "pt"):
        raise ValueError(f"framework is '{framework}'; this package has PyTorch ('pt') alone.")
    if model is None:
        raise ValueError("Give a model: a folder, a hub id, or one that is loaded. No task has one by default here.")
    hub = {name: choices.pop(name) for name in HUB_OPTIONS if name in choices}
    if revision is not None:
        hub["revision"] = revision
    found = _class_of(task, model, hub)
    if isinstance(model, PreTrainedModel):
        if tokenizer is None:
            raise ValueError("A model that is loaded comes with its tokenizer: give tokenizer=….")
        loaded = model
    else:
        stored = {"dtype": dtype or choices.pop("torch_dtype", None), "config": config}
        keywords = {name: value for name, value in stored.items() if value is not None}
        loaded = load_saved(model, found.head, **keywords, **hub, **(model_kwargs or {}))
        tokenizer = _place_of_tokenizer(os.fspath(model), loaded) if tokenizer is None else tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(tokenizer, **hub))
    return found(loaded, tokenizer, device, **choices)


def _place_of_tokenizer(model: str, loaded: PreTrainedModel) -> str:
    """Say where a model's tokenizer is: beside it, or, for an adapter that was saved without one, beside its base."""
    alone = Path(model).is_dir() and not any(Path(model, name).is_file() for name in TOKENIZER_FILES)
    return loaded.base_record.source or model if alone else model


def _class_of(task: str | None, model: Any, hub: dict[str, Any]) -> type[Pipeline]:
    """Give the class for a task; for what a model was made for where none is named."""
    if task is None:
        if isinstance(model, PreTrainedModel):
            found = next((each for each in PIPELINES if isinstance(model, each._heads)), None)
            kind = type(model).__name__
        else:
            kind = saved_task(model, **hub)
            found = next((each for each in PIPELINES if each.head == kind), None)
        if found is None:
            raise ValueError(f"There is no pipeline for {kind}; there are some for {', '.join(_TASKS)}.")
        return found
    name = _OTHER_NAMES.get(task, task)
    if name not in _TASKS:
        raise ValueError(f"There is no task '{task}' here; there are {', '.join([*_TASKS, *_OTHER_NAMES])}.")
    return _TASKS[name]
