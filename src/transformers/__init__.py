"""A small fork of Transformers: RoBERTa and DeBERTa-V2 encoders with LoRA built in by configuration.

Names are loaded on first use, so ``import transformers`` costs nothing; the table below says where each one lives.
"""

from __future__ import annotations

import importlib
from typing import Any

from .version import __version__

_NAMES: dict[str, tuple[str, ...]] = {
    "configuration_utils": ("PretrainedConfig",),
    "data.data_collator": (
        "DataCollator",
        "DataCollatorForLanguageModeling",
        "DataCollatorForTokenClassification",
        "DataCollatorWithPadding",
        "default_data_collator",
    ),
    "hf_argparser": ("HfArgumentParser",),
    "modeling_outputs": (
        "BaseModelOutput",
        "BaseModelOutputWithPooling",
        "MaskedLMOutput",
        "QuestionAnsweringModelOutput",
        "SequenceClassifierOutput",
        "TokenClassifierOutput",
    ),
    "modeling_utils": ("PreTrainedModel",),
    "models.auto.configuration_auto": ("CONFIG_MAPPING", "AutoConfig"),
    "models.auto.modeling_auto": (
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
        "AutoModel",
        "AutoModelForMaskedLM",
        "AutoModelForSequenceClassification",
    ),
    "models.auto.tokenization_auto": ("AutoTokenizer",),
    "models.bert.tokenization_bert": ("BertTokenizer", "BertTokenizerFast"),
    "models.deberta_v2.configuration_deberta_v2": ("DebertaV2Config",),
    "models.deberta_v2.modeling_deberta_v2": (
        "DebertaV2ForMaskedLM",
        "DebertaV2ForSequenceClassification",
        "DebertaV2Model",
        "DebertaV2PreTrainedModel",
    ),
    "models.deberta_v2.tokenization_deberta_v2": ("DebertaV2Tokenizer", "DebertaV2TokenizerFast"),
    "models.roberta.configuration_roberta": ("RobertaConfig",),
    "models.roberta.modeling_roberta": (
        "RobertaForMaskedLM",
        "RobertaForSequenceClassification",
        "RobertaModel",
        "RobertaPreTrainedModel",
    ),
    "models.roberta.tokenization_roberta": ("RobertaTokenizer", "RobertaTokenizerFast"),
    "optimization": (
        "AdamW",
        "get_constant_schedule",
        "get_constant_schedule_with_warmup",
        "get_cosine_schedule_with_warmup",
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        "get_linear_schedule_with_warmup",
        "get_polynomial_decay_schedule_with_warmup",
        "get_scheduler",
    ),
    "peft_support": (
        "AutoModelForCausalLM",
        "AutoModelForQuestionAnswering",
        "AutoModelForSeq2SeqLM",
        "AutoModelForTokenClassification",
        "BloomPreTrainedModel",
        "Cache",
        "DynamicCache",
        "EncoderDecoderCache",
        "GenerationConfig",
        "GenerationMixin",
    ),
    "tokenization_utils": ("PreTrainedTokenizer",),
    "tokenization_utils_base": (
        "AddedToken",
        "BatchEncoding",
        "CharSpan",
        "PreTrainedTokenizerBase",
        "SpecialTokensMixin",
        "TokenSpan",
        "TruncationStrategy",
    ),
    "tokenization_utils_fast": ("PreTrainedTokenizerFast",),
    "trainer": ("Trainer",),
    "trainer_callback": (
        "DefaultFlowCallback",
        "EarlyStoppingCallback",
        "PrinterCallback",
        "ProgressCallback",
        "TrainerCallback",
        "TrainerControl",
        "TrainerState",
    ),
    "trainer_utils": ("EvalPrediction", "EvaluationStrategy", "IntervalStrategy", "SchedulerType", "set_seed"),
    "training_args": ("TrainingArguments",),
    "utils.generic": ("PaddingStrategy", "TensorType"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name, when the name is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'transformers' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted([*globals(), *_MODULE_OF])
