"""From texts to answers in one call: `pipeline`, and one task a file."""

from __future__ import annotations

from ..utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        "base": ("Pipeline",),
        "factory": ("pipeline",),
        "feature_extraction": ("FeatureExtractionPipeline",),
        "fill_mask": ("FillMaskPipeline",),
        "multiple_choice": ("MultipleChoicePipeline",),
        "question_answering": ("QuestionAnsweringPipeline",),
        "text_classification": ("TextClassificationPipeline",),
        "token_classification": ("TokenClassificationPipeline",),
    },
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
