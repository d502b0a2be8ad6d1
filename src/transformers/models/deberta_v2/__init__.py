"""DeBERTa-V2 and V3: configuration, model, tokenizer."""

from __future__ import annotations

from ...utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        "configuration_deberta_v2": ("DebertaV2Config",),
        "modeling_deberta_v2": (
            "DebertaV2ForMaskedLM",
            "DebertaV2ForMultipleChoice",
            "DebertaV2ForQuestionAnswering",
            "DebertaV2ForSequenceClassification",
            "DebertaV2ForTokenClassification",
            "DebertaV2Model",
            "DebertaV2PreTrainedModel",
        ),
        "tokenization_deberta_v2": ("DebertaV2Tokenizer", "DebertaV2TokenizerFast"),
    },
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
