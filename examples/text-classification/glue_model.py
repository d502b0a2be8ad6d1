"""Tokenizer and model of a run, and whether they fit the task."""

from __future__ import annotations

from typing import Any

from common.command_line import Arguments
from common.labels import ModelLabels
from common.models import check_other_labels, load_model, load_tokenizer, untrained_config
from glue_arguments import DataTrainingArguments
from glue_data import TextData
from transformers import (
    AutoModelForSequenceClassification,
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
    """Load tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other or the task.
    """
    tokenizer = load_tokenizer(arguments.model)

    def fields(own: PretrainedConfig) -> dict[str, Any]:
        return _task_fields(own, arguments, data)

    return load_model(AutoModelForSequenceClassification, arguments, tokenizer, fields), tokenizer


def _task_fields(own: PretrainedConfig, arguments: Arguments[DataTrainingArguments], data: TextData) -> dict[str, Any]:
    """Give what the task changes in a model's configuration: labels, the kind of problem, and the head's dropout.

    Raises:
        ValueError: If the model was trained for other classes and cannot be used.
    """
    fields: dict[str, Any] = {"finetuning_task": arguments.data.task_name}
    if arguments.training.cls_dropout is not None:
        fields["cls_dropout"] = arguments.training.cls_dropout
    if data.problem == "regression":
        if own.num_labels != 1:
            check_other_labels(own, ["a value"], arguments.model, arguments.training.do_train)
        fields["num_labels"] = 1
    elif data.labels and {label.lower() for label in own.label2id} != {label.lower() for label in data.labels}:
        check_other_labels(own, data.labels, arguments.model, arguments.training.do_train)
        fields["id2label"] = dict(enumerate(data.labels))
        fields["label2id"] = {label: index for index, label in enumerate(data.labels)}
    if data.problem == "multi_label_classification" or own.problem_type not in (None, data.problem):
        fields["problem_type"] = data.problem
    return fields
