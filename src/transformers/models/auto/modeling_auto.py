"""Auto classes: the model type in the configuration chooses the class."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar

from ...configuration_utils import PretrainedConfig
from ...modeling_utils import PreTrainedModel
from ...utils.hub import split_hub_options
from ...utils.lazy_names import LazyNames
from .configuration_auto import MODEL_CLASSES, AutoConfig, ClassesByConfig, model_class

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_MASKED_LM_MAPPING",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
    "MODEL_MAPPING",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
]


class _AutoModelBase:
    """What the Auto classes share; each names its task in the table."""

    task: ClassVar[str] = ""

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not made itself; call {name}.from_pretrained(name) or {name}.from_config(config).")

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """Make a model with new weights.

        Raises:
            ValueError: If the configuration's model type has no class for this task.
        """
        return model_class(config.model_type, cls.task)(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a model; arguments, result and errors as of `PreTrainedModel.from_pretrained`."""
        config = kwargs.get("config")
        if not isinstance(config, PretrainedConfig):
            options, rest = split_hub_options(kwargs)
            where = config if config is not None else pretrained_model_name_or_path
            base = rest.get("base_model_name_or_path")
            config = AutoConfig.from_pretrained(where, base_model_name_or_path=base, **options)
        found: type[PreTrainedModel] = model_class(config.model_type, cls.task)
        return found.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)


class AutoModel(_AutoModelBase):
    """The bare encoder of any model type."""

    task = "base"


class AutoModelForMaskedLM(_AutoModelBase):
    """The masked language model of any model type."""

    task = "masked-lm"


class AutoModelForSequenceClassification(_AutoModelBase):
    """The sequence classifier of any model type."""

    task = "sequence-classification"


class AutoModelForCausalLM(_AutoModelBase):
    """The language model of any model type that reads forwards; pass ``is_decoder=True``."""

    task = "causal-lm"


class AutoModelForMultipleChoice(_AutoModelBase):
    """The chooser among texts of any model type."""

    task = "multiple-choice"


class AutoModelForQuestionAnswering(_AutoModelBase):
    """The extractive question answerer of any model type."""

    task = "question-answering"


class AutoModelForTokenClassification(_AutoModelBase):
    """The token classifier of any model type."""

    task = "token-classification"


def _by_config(task: str) -> ClassesByConfig:
    """Show the table's classes of one task by their configurations."""
    model_types = [model_type for model_type, classes in MODEL_CLASSES.items() if task in classes]
    return ClassesByConfig(model_types, partial(model_class, task=task))


# 4.4.2's names, for scripts that list which model types there are.
MODEL_MAPPING = _by_config(AutoModel.task)
MODEL_FOR_MASKED_LM_MAPPING = _by_config(AutoModelForMaskedLM.task)
MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING = _by_config(AutoModelForSequenceClassification.task)
MODEL_FOR_CAUSAL_LM_MAPPING = _by_config(AutoModelForCausalLM.task)
MODEL_FOR_MULTIPLE_CHOICE_MAPPING = _by_config(AutoModelForMultipleChoice.task)
MODEL_FOR_QUESTION_ANSWERING_MAPPING = _by_config(AutoModelForQuestionAnswering.task)
MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING = _by_config(AutoModelForTokenClassification.task)
