"""Configuration, tokenizer and model of a run, as far as they are the same for every task: whether they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import (
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)
from transformers.adapters.folder import start_from_adapter
from transformers.adapters.reading import is_adapter
from transformers.methods.trainable import new_head_parameter_names
from transformers.utils import logging

from .arguments import ModelArguments, method_fields
from .command_line import Arguments
from .quantization_flags import quantization_of

__all__ = [
    "check_other_labels",
    "hub_options",
    "load_model",
    "load_tokenizer",
    "longest_text",
    "tokenizer_name",
    "untrained_config",
]

logger = logging.get_logger("transformers.examples.models")


def hub_options(model_args: ModelArguments) -> dict[str, Any]:
    """Give what every ``from_pretrained`` is told of the hub."""
    return {
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.use_auth_token or None,
    }


def untrained_config(model_args: ModelArguments, args: TrainingArguments) -> PretrainedConfig | None:
    """Give the model's own configuration, which says what it predicts, where the run does not train it; else None.

    Raises:
        OSError: If it is not found.
    """
    if args.do_train:
        return None
    name = model_args.config_name or model_args.model_name_or_path
    config: PretrainedConfig = AutoConfig.from_pretrained(name, **hub_options(model_args))
    return config


def tokenizer_name(model_args: ModelArguments) -> str:
    """Give where the tokenizer is."""
    return model_args.tokenizer_name or model_args.model_name_or_path


def load_tokenizer(model_args: ModelArguments) -> PreTrainedTokenizerBase:
    """Load the tokenizer.

    Raises:
        OSError: If it is not found.
    """
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        tokenizer_name(model_args), **hub_options(model_args)
    )
    return found


def load_model(
    auto_class: Any,
    arguments: Arguments[Any],
    tokenizer: PreTrainedTokenizerBase,
    task_fields: Callable[[PretrainedConfig], Mapping[str, Any]] = lambda own: {},
) -> PreTrainedModel:
    """Load configuration and model, if they fit the tokenizer; start from another task's adapter where one is given.

    Args:
        auto_class: The Auto class of the task.
        arguments: All flags.
        tokenizer: The run's.
        task_fields: Gives what the task changes in the model's own configuration, such as its labels.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other, or the head is new and the run does not train it.
    """
    model_args = arguments.model
    name, options = model_args.config_name or model_args.model_name_or_path, hub_options(model_args)
    own = AutoConfig.from_pretrained(name, **options)
    _check_position_query(own, model_args)
    fields = {**method_fields(model_args, tokenizer), **task_fields(own)}
    config = AutoConfig.from_pretrained(name, **fields, **options)
    _check_tokenizer(tokenizer, config, tokenizer_name(model_args))
    return _load(auto_class, config, model_args, arguments.training)


def _load(
    auto_class: Any, config: PretrainedConfig, model_args: ModelArguments, args: TrainingArguments
) -> PreTrainedModel:
    """Load the model with a configuration that has the task's labels and what is trained."""
    options, name = hub_options(model_args), model_args.model_name_or_path
    model: PreTrainedModel = auto_class.from_pretrained(
        name,
        config=config,
        ignore_mismatched_sizes=model_args.ignore_mismatched_sizes,
        quantization_config=quantization_of(model_args, args),
        **options,
    )
    if model.is_quantized:
        error = model.quantization_error()
        logger.info("The frozen base is kept in %s, which changes its weights %s.", model.quantization, error)
    has_head = is_adapter(name, **options) or not new_head_parameter_names(model)
    if model_args.lora_path is not None:
        started = start_from_adapter(model, model_args.lora_path)
        logger.info("%s", started.line)
        has_head = started.head_taken
    if not has_head and not args.do_train:
        raise ValueError(
            f"The head of '{model_args.lora_path or name}' is new for this task, so its predictions mean nothing: add "
            "--do_train, or start from a model or an adapter that was trained on this task."
        )
    if args.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model


def longest_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Give the number of tokens that the model can read."""
    return min(tokenizer.model_max_length, model.longest_text or tokenizer.model_max_length)


def _check_position_query(own: PretrainedConfig, model_args: ModelArguments) -> None:
    """Refuse DeBERTa's flag for another model.

    Raises:
        ValueError: If it was given for one.
    """
    if model_args.lora_position_query is not None and not hasattr(own, "lora_position_query"):
        name = model_args.config_name or model_args.model_name_or_path
        raise ValueError(f"--lora_position_query is DeBERTa's, and '{name}' is a {own.model_type}; leave it out.")


def check_other_labels(
    own: PretrainedConfig, labels: Sequence[str], model_args: ModelArguments, do_train: bool
) -> None:
    """Refuse a model that was trained for other classes, or say that its head is only a start.

    Args:
        own: The model's own configuration.
        labels: The task's classes.
        model_args: Name the model.
        do_train: Whether the run trains.

    Raises:
        ValueError: If the model cannot be used.
    """
    name = model_args.model_name_or_path
    generic = all(label == f"LABEL_{index}" for index, label in own.id2label.items())
    trained_for = f"'{name}' was trained for the classes {', '.join(own.id2label.values())}"
    if own.freezes_base and len(labels) != own.num_labels:
        raise ValueError(
            f"{trained_for}, and this task has others. Give its base as --model_name_or_path and '{name}' as "
            "--lora_path: that makes a new head."
        )
    if generic:
        return
    if not do_train:
        raise ValueError(f"{trained_for}; this task's are {', '.join(labels)}.")
    logger.warning("%s; its head is the start of one for %s.", trained_for, ", ".join(labels))


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str) -> None:
    """Refuse a tokenizer whose ids mean other words to the model.

    Raises:
        ValueError: If it is one.
    """
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"The tokenizer of '{name}' has {len(tokenizer)} words, but the model's vocabulary only "
            f"{config.vocab_size}: they do not belong together. Give the model's own with --tokenizer_name."
        )
    if tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(
            f"The tokenizer of '{name}' pads with id {tokenizer.pad_token_id}, but the model expects "
            f"{config.pad_token_id}: they do not belong together. Give the model's own with --tokenizer_name."
        )
