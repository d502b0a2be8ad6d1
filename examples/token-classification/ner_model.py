"""Configuration, tokenizer and model of a run, and whether they fit each other and the tags."""

from __future__ import annotations

from typing import Any

from common.arguments import method_fields
from common.command_line import Arguments
from common.models import (
    check_other_labels,
    check_position_query,
    check_tokenizer,
    hub_options,
    load_model,
    untrained_config,
)
from ner_arguments import DataTrainingArguments
from ner_data import SentenceData
from transformers import (
    AutoConfig,
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
    """Load configuration, tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other or the tags.
    """
    model_args = arguments.model
    name = model_args.tokenizer_name or model_args.model_name_or_path
    tokenizer = make_tokenizer(name, **hub_options(model_args))
    config = _make_config(arguments, data, tokenizer)
    check_tokenizer(tokenizer, config, name)
    return load_model(AutoModelForTokenClassification, config, model_args, arguments.training), tokenizer


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


def _make_config(
    arguments: Arguments[DataTrainingArguments], data: SentenceData, tokenizer: PreTrainedTokenizerBase
) -> PretrainedConfig:
    """Read the model's configuration and put the tags, what is trained and how into it."""
    model_args = arguments.model
    options, name = hub_options(model_args), model_args.config_name or model_args.model_name_or_path
    fields: dict[str, Any] = method_fields(model_args, tokenizer)
    own = AutoConfig.from_pretrained(name, **options)
    check_position_query(own, model_args)
    if data.labels and set(own.label2id) != set(data.labels):
        check_other_labels(own, data.labels, model_args, arguments.training.do_train)
        fields["id2label"] = dict(enumerate(data.labels))
        fields["label2id"] = {label: index for index, label in enumerate(data.labels)}
    config: PretrainedConfig = AutoConfig.from_pretrained(name, **fields, **options)
    return config
