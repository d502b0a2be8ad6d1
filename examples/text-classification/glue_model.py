"""Configuration, tokenizer and model of a run, and whether they fit each other and the task."""

from __future__ import annotations

from typing import Any

from common.arguments import method_fields
from common.command_line import Arguments
from common.labels import ModelLabels
from common.models import (
    check_other_labels,
    check_position_query,
    check_tokenizer,
    hub_options,
    load_model,
    untrained_config,
)
from glue_arguments import DataTrainingArguments
from glue_data import TextData
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

__all__ = ["labels_of_model", "make_model"]


def labels_of_model(arguments: Arguments[DataTrainingArguments]) -> ModelLabels | None:
    """Give what the model predicts, where the run does not train it; None where it does.

    Raises:
        OSError: If its configuration is not found.
    """
    own = untrained_config(arguments.model, arguments.training)
    if own is None:
        return None
    problem = own.problem_type or ("regression" if own.num_labels == 1 else "single_label_classification")
    return ModelLabels(problem, tuple(own.id2label.values()))


def make_model(
    arguments: Arguments[DataTrainingArguments], data: TextData
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load configuration, tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other or the task.
    """
    model_args = arguments.model
    options = hub_options(model_args)
    name = model_args.model_name_or_path
    tokenizer = AutoTokenizer.from_pretrained(model_args.tokenizer_name or name, **options)
    config = make_config(arguments, data, tokenizer, options)
    check_tokenizer(tokenizer, config, model_args.tokenizer_name or name)
    model = load_model(AutoModelForSequenceClassification, config, model_args, arguments.training)
    return model, tokenizer


def make_config(
    arguments: Arguments[DataTrainingArguments],
    data: TextData,
    tokenizer: PreTrainedTokenizerBase,
    options: dict[str, Any],
) -> PretrainedConfig:
    """Read the model's configuration and put labels, what is trained and how, and dropout into it."""
    model_args = arguments.model
    fields: dict[str, Any] = {"finetuning_task": arguments.data.task_name, **method_fields(model_args, tokenizer)}
    if arguments.training.cls_dropout is not None:
        fields["cls_dropout"] = arguments.training.cls_dropout
    name = model_args.config_name or model_args.model_name_or_path
    own = AutoConfig.from_pretrained(name, **options)
    check_position_query(own, model_args)
    if data.problem == "regression":
        if own.num_labels != 1:
            check_other_labels(own, ["a value"], model_args, arguments.training.do_train)
        fields["num_labels"] = 1
    elif data.labels and {label.lower() for label in own.label2id} != {label.lower() for label in data.labels}:
        check_other_labels(own, data.labels, model_args, arguments.training.do_train)
        fields["id2label"] = dict(enumerate(data.labels))
        fields["label2id"] = {label: index for index, label in enumerate(data.labels)}
    if data.problem == "multi_label_classification" or own.problem_type not in (None, data.problem):
        fields["problem_type"] = data.problem
    config: PretrainedConfig = AutoConfig.from_pretrained(name, **fields, **options)
    return config
