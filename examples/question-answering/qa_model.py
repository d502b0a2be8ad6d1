"""Tokenizer and model of a run, whose head scores starts and ends."""

from __future__ import annotations

from typing import Any

from common.command_line import Arguments
from common.models import load_model, load_tokenizer
from qa_arguments import DataTrainingArguments
from transformers import AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["make_model"]

_GENERIC = {0: "LABEL_0", 1: "LABEL_1"}


def make_model(arguments: Arguments[DataTrainingArguments]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other.
    """
    name = arguments.model.config_name or arguments.model.model_name_or_path
    tokenizer = load_tokenizer(arguments.model)
    tokenizer.padding_side = "right"  # the first token stands for "no answer"
    model = load_model(AutoModelForQuestionAnswering, arguments, tokenizer, lambda own: _labels(own, name))
    return model, tokenizer


def _labels(own: PretrainedConfig, name: str) -> dict[str, Any]:
    """Give the labels of starts and ends, where the model has others.

    Raises:
        ValueError: If it is an adapter of another task.
    """
    if own.id2label == _GENERIC:
        return {}
    if own.freezes_base:
        raise ValueError(
            f"'{name}' was trained for another task ({', '.join(own.id2label.values())}). Give its base as "
            f"--model_name_or_path and '{name}' as --lora_path: that makes a new head."
        )
    return {"id2label": dict(_GENERIC), "label2id": {label: index for index, label in _GENERIC.items()}}
