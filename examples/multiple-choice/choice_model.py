"""Configuration, tokenizer and model of a run, and whether they fit each other."""

from __future__ import annotations

from choice_arguments import DataTrainingArguments
from common.arguments import method_fields
from common.command_line import Arguments
from common.models import check_position_query, check_tokenizer, hub_options, load_model
from transformers import (
    AutoConfig,
    AutoModelForMultipleChoice,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

__all__ = ["make_model"]


def make_model(arguments: Arguments[DataTrainingArguments]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load configuration, tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other.
    """
    model_args = arguments.model
    options = hub_options(model_args)
    name = model_args.config_name or model_args.model_name_or_path
    tokenizer_name = model_args.tokenizer_name or model_args.model_name_or_path
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer_name, **options)
    fields = method_fields(model_args, tokenizer)
    if arguments.training.cls_dropout is not None:
        fields["cls_dropout"] = arguments.training.cls_dropout
    check_position_query(AutoConfig.from_pretrained(name, **options), model_args)
    config = AutoConfig.from_pretrained(name, **fields, **options)
    check_tokenizer(tokenizer, config, tokenizer_name)
    return load_model(AutoModelForMultipleChoice, config, model_args, arguments.training), tokenizer
