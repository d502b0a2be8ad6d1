"""Tokenizer and model of a run, and whether they fit the tags."""

from __future__ import annotations

from typing import Any

from common.command_line import Arguments
from common.models import check_other_labels, hub_options, load_model, tokenizer_name, untrained_config
from ner_arguments import DataTrainingArguments
from ner_data import SentenceData
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

__all__ = ["labels_of_model", "make_model", "make_tokenizer"]


def labels_of_model(arguments: Arguments[DataTrainingArguments]) -> tuple[str, ...] | None:
    """Give the model's labels in the order of their ids, where the run does not train it; None where it does.

    Raises:
        OSError: If its configuration is not found.
    """
    own = untrained_config(arguments.model, arguments.training)
    return None if own is None else tuple(own.id2label[index] for index in range(own.num_labels))


def make_model(
    arguments: Arguments[DataTrainingArguments], data: SentenceData
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other or the tags.
    """

    def labels(own: PretrainedConfig) -> dict[str, Any]:
        if not data.labels or set(own.label2id) == set(data.labels):
            return {}
        check_other_labels(own, data.labels, arguments.model, arguments.training.do_train)
        names = dict(enumerate(data.labels))
        return {"id2label": names, "label2id": {label: index for index, label in names.items()}}

    tokenizer = make_tokenizer(tokenizer_name(arguments.model), **hub_options(arguments.model))
    return load_model(AutoModelForTokenClassification, arguments, tokenizer, labels), tokenizer


def make_tokenizer(name: str, **options: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer that reads words as in running text, where a byte-level one takes a space before each.

    Args:
        name: Of the model.
        **options: What `AutoTokenizer.from_pretrained` takes.

    Raises:
        OSError: If it is not found.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, **options)
    if getattr(tokenizer, "add_prefix_space", None) is False:
        tokenizer = AutoTokenizer.from_pretrained(name, add_prefix_space=True, **options)
    tokenizer.padding_side = "right"  # the places of first tokens are counted from the left
    return tokenizer
