"""Configuration, tokenizer and model of a run, and whether they fit each other."""

from __future__ import annotations

from typing import Any

from common.arguments import method_fields
from common.command_line import Arguments
from common.models import check_position_query, check_tokenizer, hub_options, load_model
from qa_arguments import DataTrainingArguments
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PretrainedConfig,
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
    name = model_args.tokenizer_name or model_args.model_name_or_path
    tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(model_args))
    tokenizer.padding_side = "right"  # the first token stands for "no answer"
    config = _make_config(arguments, tokenizer)
    check_tokenizer(tokenizer, config, name)
    return load_model(AutoModelForQuestionAnswering, config, model_args, arguments.training), tokenizer


def _make_config(arguments: Arguments[DataTrainingArguments], tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """Read the model's configuration and put what is trained and how into it; the head scores starts and ends."""
    model_args = arguments.model
    options, name = hub_options(model_args), model_args.config_name or model_args.model_name_or_path
    fields: dict[str, Any] = method_fields(model_args, tokenizer)
    own = AutoConfig.from_pretrained(name, **options)
    check_position_query(own, model_args)
    generic = {0: "LABEL_0", 1: "LABEL_1"}
    if own.id2label != generic:
        if own.freezes_base:
            raise ValueError(
                f"'{name}' was trained for another task ({', '.join(own.id2label.values())}). Give its base as "
                f"--model_name_or_path and '{name}' as --lora_path: that makes a new head."
            )
        fields |= {"id2label": generic, "label2id": {label: index for index, label in generic.items()}}
    config: PretrainedConfig = AutoConfig.from_pretrained(name, **fields, **options)
    return config
