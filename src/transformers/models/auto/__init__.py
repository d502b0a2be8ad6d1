"""Auto classes: the model type in a configuration chooses the class."""

from __future__ import annotations

from ...utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        "configuration_auto": ("CONFIG_MAPPING", "AutoConfig"),
        "modeling_auto": (
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
        ),
        "tokenization_auto": ("TOKENIZER_MAPPING", "AutoTokenizer"),
    },
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
