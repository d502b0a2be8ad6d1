"""RoBERTa: configuration, model, tokenizer."""

from __future__ import annotations

from ...utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        "configuration_roberta": ("RobertaConfig",),
        "modeling_roberta": (
            "RobertaForCausalLM",
            "RobertaForMaskedLM",
            "RobertaForMultipleChoice",
            "RobertaForQuestionAnswering",
            "RobertaForSequenceClassification",
            "RobertaForTokenClassification",
            "RobertaModel",
            "RobertaPreTrainedModel",
        ),
        "tokenization_roberta": ("RobertaTokenizer", "RobertaTokenizerFast"),
    },
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
