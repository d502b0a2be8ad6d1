"""Configuration, tokenizer and model of a run, and whether they fit each other and the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.arguments import ModelArguments, method_fields
from common.labels import ModelLabels
from glue_arguments import Arguments
from glue_data import TextData
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.adapters.folder import start_from_adapter
from transformers.adapters.reading import is_adapter
from transformers.methods.trainable import new_head_parameter_names
from transformers.utils import logging

__all__ = ["labels_of_model", "make_model"]

logger = logging.get_logger("transformers.examples.glue_model")


def labels_of_model(arguments: Arguments) -> ModelLabels | None:
    """Give what the model predicts, where the run does not train it; None where it does.

    Raises:
        OSError: If its configuration is not found.
    """
    if arguments.training.do_train:
        return None
    model_args = arguments.model
    own = AutoConfig.from_pretrained(
        model_args.config_name or model_args.model_name_or_path, **_hub_options(model_args)
    )
    problem = own.problem_type or ("regression" if own.num_labels == 1 else "single_label_classification")
    return ModelLabels(problem, tuple(own.id2label.values()))


def _hub_options(model_args: ModelArguments) -> dict[str, Any]:
    return {
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.use_auth_token or None,
    }


def make_model(arguments: Arguments, data: TextData) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load configuration, tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other or the task.
    """
    model_args = arguments.model
    options = _hub_options(model_args)
    name = model_args.model_name_or_path
    tokenizer = AutoTokenizer.from_pretrained(model_args.tokenizer_name or name, **options)
    config = make_config(arguments, data, tokenizer, options)
    check_tokenizer(tokenizer, config, model_args.tokenizer_name or name)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        name, config=config, ignore_mismatched_sizes=model_args.ignore_mismatched_sizes, **options
    )
    has_head = is_adapter(name, **options) or not new_head_parameter_names(model)
    if model_args.lora_path is not None:
        started = start_from_adapter(model, model_args.lora_path)
        logger.info("%s", started.line)
        has_head = started.head_taken
    if not has_head and not arguments.training.do_train:
        raise ValueError(
            f"The head of '{model_args.lora_path or name}' is new for this task, so its predictions mean nothing: add "
            "--do_train, or start from a model or an adapter that was trained on this task."
        )
    if arguments.training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, tokenizer


def make_config(
    arguments: Arguments, data: TextData, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any]
) -> PretrainedConfig:
    """Read the model's configuration and put labels, what is trained and how, and dropout into it."""
    model_args = arguments.model
    fields: dict[str, Any] = {"finetuning_task": arguments.data.task_name, **method_fields(model_args, tokenizer)}
    if arguments.training.cls_dropout is not None:
        fields["cls_dropout"] = arguments.training.cls_dropout
    name = model_args.config_name or model_args.model_name_or_path
    own = AutoConfig.from_pretrained(name, **options)
    if model_args.lora_position_query is not None and not hasattr(own, "lora_position_query"):
        raise ValueError(f"--lora_position_query is DeBERTa's, and '{name}' is a {own.model_type}; leave it out.")
    if data.problem == "regression":
        if own.num_labels != 1:
            check_other_labels(own, ["a value"], arguments)
        fields["num_labels"] = 1
    elif data.labels and {label.lower() for label in own.label2id} != {label.lower() for label in data.labels}:
        check_other_labels(own, data.labels, arguments)
        fields["id2label"] = dict(enumerate(data.labels))
        fields["label2id"] = {label: index for index, label in enumerate(data.labels)}
    if data.problem == "multi_label_classification" or own.problem_type not in (None, data.problem):
        fields["problem_type"] = data.problem
    config: PretrainedConfig = AutoConfig.from_pretrained(name, **fields, **options)
    return config


def check_other_labels(own: PretrainedConfig, labels: Sequence[str], arguments: Arguments) -> None:
    """Refuse a model that was trained for other classes, or say that its head is only a start.

    Args:
        own: The model's own configuration.
        labels: The task's classes.
        arguments: Say whether the run trains.

    Raises:
        ValueError: If the model cannot be used.
    """
    name = arguments.model.model_name_or_path
    generic = all(label == f"LABEL_{index}" for index, label in own.id2label.items())
    trained_for = f"'{name}' was trained for the classes {', '.join(own.id2label.values())}"
    if own.freezes_base and len(labels) != own.num_labels:
        raise ValueError(
            f"{trained_for}, and this task has others. Give its base as --model_name_or_path and '{name}' as "
            "--lora_path: that makes a new head."
        )
    if generic:
        return
    if not arguments.training.do_train:
        raise ValueError(f"{trained_for}; this task's are {', '.join(labels)}.")
    logger.warning("%s; its head is the start of one for %s.", trained_for, ", ".join(labels))


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str) -> None:
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
