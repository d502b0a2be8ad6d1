"""What there is: the model types with their classes, and the tasks with their Auto classes.

The one table that the packages of models, the Auto classes and the package's public names are made from. A new head is
a line for each model type that has it, and a line among the tasks where nothing has had it yet; a new model type is a
row. A class ``Xyz`` of a model type ``x-y`` stands in ``models/x_y/modeling_x_y.py``.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "MODEL_TYPES",
    "TASKS",
    "TOKENIZERS",
    "TOKENIZER_OF",
    "Task",
    "module_of",
    "names_of_auto",
    "names_of_package",
    "package_of",
]


class Task(NamedTuple):
    """What a model can be loaded for.

    Attributes:
        auto_class: Name of its Auto class.
        mapping: 4.4.2's name for the table of its classes by configuration.
        purpose: What the model does, for the Auto class's docstring.
    """

    auto_class: str
    mapping: str
    purpose: str


TASKS = {
    "base": Task("AutoModel", "MODEL_MAPPING", "The bare encoder"),
    "causal-lm": Task(
        "AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING", "The language model that reads forwards (is_decoder)"
    ),
    "masked-lm": Task("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING", "The masked language model"),
    "multiple-choice": Task(
        "AutoModelForMultipleChoice", "MODEL_FOR_MULTIPLE_CHOICE_MAPPING", "The chooser among texts"
    ),
    "question-answering": Task(
        "AutoModelForQuestionAnswering",
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
        "The finder of answers in a text",
    ),
    "sequence-classification": Task(
        "AutoModelForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING", "The classifier of texts"
    ),
    "token-classification": Task(
        "AutoModelForTokenClassification", "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING", "The classifier of tokens"
    ),
}

# By model type: the class of its configuration, the class that all its models share, and the class of each task.
MODEL_TYPES: dict[str, dict[str, str]] = {
    "roberta": {
        "config": "RobertaConfig",
        "shared": "RobertaPreTrainedModel",
        "base": "RobertaModel",
        "causal-lm": "RobertaForCausalLM",
        "masked-lm": "RobertaForMaskedLM",
        "multiple-choice": "RobertaForMultipleChoice",
        "question-answering": "RobertaForQuestionAnswering",
        "sequence-classification": "RobertaForSequenceClassification",
        "token-classification": "RobertaForTokenClassification",
    },
    "deberta-v2": {
        "config": "DebertaV2Config",
        "shared": "DebertaV2PreTrainedModel",
        "base": "DebertaV2Model",
        "masked-lm": "DebertaV2ForMaskedLM",
        "multiple-choice": "DebertaV2ForMultipleChoice",
        "question-answering": "DebertaV2ForQuestionAnswering",
        "sequence-classification": "DebertaV2ForSequenceClassification",
        "token-classification": "DebertaV2ForTokenClassification",
    },
}

# By class: the model type in whose package a tokenizer stands. BERT has no model here, but there are checkpoints in
# RoBERTa's layout with its WordPiece vocabulary.
TOKENIZERS = {"RobertaTokenizer": "roberta", "BertTokenizer": "bert", "DebertaV2Tokenizer": "deberta-v2"}

# By model type: the tokenizer of its checkpoints, its own or another's.
TOKENIZER_OF = {"roberta": "RobertaTokenizer", "bert": "BertTokenizer", "deberta-v2": "DebertaV2Tokenizer"}


def package_of(model_type: str) -> str:
    """Give the name of a model type's package."""
    return model_type.replace("-", "_")


def module_of(model_type: str, kind: str) -> str:
    """Give the path of a module of a model type below `transformers.models`; kind is such as ``"modeling"``."""
    package = package_of(model_type)
    return f"{package}.{kind}_{package}"


def names_of_package(model_type: str) -> dict[str, tuple[str, ...]]:
    """Give the public names of a model type's package, by module."""
    package = package_of(model_type)
    names: dict[str, tuple[str, ...]] = {}
    if model_type in MODEL_TYPES:
        classes = MODEL_TYPES[model_type]
        names[f"configuration_{package}"] = (classes["config"],)
        names[f"modeling_{package}"] = tuple(name for kind, name in classes.items() if kind != "config")
    own = [name for name, owner in TOKENIZERS.items() if owner == model_type]
    if own:
        names[f"tokenization_{package}"] = tuple(each for name in own for each in (name, f"{name}Fast"))
    return names


def names_of_auto() -> dict[str, tuple[str, ...]]:
    """Give the public names of the package of Auto classes, by module."""
    models = [name for task in TASKS.values() for name in (task.auto_class, task.mapping)]
    return {
        "configuration_auto": ("CONFIG_MAPPING", "AutoConfig"),
        "modeling_auto": tuple(models),
        "tokenization_auto": ("TOKENIZER_MAPPING", "AutoTokenizer"),
    }
