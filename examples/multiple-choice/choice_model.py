"""Tokenizer and model of a run."""

from __future__ import annotations

from choice_arguments import DataTrainingArguments
from common.command_line import Arguments
from common.models import load_model, load_tokenizer
from transformers import AutoModelForMultipleChoice, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["make_model"]


def make_model(arguments: Arguments[DataTrainingArguments]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other.
    """
    tokenizer, dropout = load_tokenizer(arguments.model), arguments.training.cls_dropout
    fields = {} if dropout is None else {"cls_dropout": dropout}
    return load_model(AutoModelForMultipleChoice, arguments, tokenizer, lambda own: fields), tokenizer
