"""A small fork of Transformers: RoBERTa and DeBERTa-V2 encoders with LoRA built in by configuration.

Names are loaded on first use, so ``import transformers`` costs nothing; the table below says where each one lives.
"""

from __future__ import annotations

from .compatibility.absent import explain_absent_names
from .models.table import TOKENIZER_OF, names_of_auto, names_of_package, package_of
from .utils.lazy_names import LazyNames
from .version import __version__

_NAMES: dict[str, tuple[str, ...]] = {
    "compatibility.files": ("TRANSFORMERS_CACHE", "cached_path"),
    "compatibility.model_parts": ("apply_chunking_to_forward", "prune_layer"),
    "configuration.quantization": ("BitsAndBytesConfig",),
    "configuration_utils": ("PretrainedConfig",),
    "data.data_collator": (
        "DataCollator",
        "DataCollatorForLanguageModeling",
        "DataCollatorForMultipleChoice",
        "DataCollatorForTokenClassification",
        "DataCollatorForWholeWordMask",
        "DataCollatorWithPadding",
        "default_data_collator",
    ),
    "file_utils": (
        "CONFIG_NAME",
        "WEIGHTS_NAME",
        "add_end_docstrings",
        "add_start_docstrings",
        "is_apex_available",
        "is_datasets_available",
        "is_faiss_available",
        "is_flax_available",
        "is_pandas_available",
        "is_psutil_available",
        "is_py3nvml_available",
        "is_sentencepiece_available",
        "is_sklearn_available",
        "is_tf_available",
        "is_tokenizers_available",
        "is_torch_available",
        "is_torch_tpu_available",
    ),
    "hf_argparser": ("HfArgumentParser",),
    "integrations": (
        "is_comet_available",
        "is_optuna_available",
        "is_ray_available",
        "is_ray_tune_available",
        "is_tensorboard_available",
        "is_wandb_available",
    ),
    "methods.lora.config": ("LoraConfig", "TaskType", "get_peft_model"),
    "modeling_outputs": (
        "BaseModelOutput",
        "BaseModelOutputWithPooling",
        "CausalLMOutputWithCrossAttentions",
        "CausalLMOutputWithPast",
        "MaskedLMOutput",
        "MultipleChoiceModelOutput",
        "QuestionAnsweringModelOutput",
        "SequenceClassifierOutput",
        "TokenClassifierOutput",
    ),
    "modeling_utils": ("PreTrainedModel",),
    "optimization": (
        "Adafactor",
        "AdamW",
        "get_constant_schedule",
        "get_constant_schedule_with_warmup",
        "get_cosine_schedule_with_warmup",
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        "get_linear_schedule_with_warmup",
        "get_polynomial_decay_schedule_with_warmup",
        "get_scheduler",
    ),
    "compatibility.peft": (
        "AutoModelForSeq2SeqLM",
        "BloomPreTrainedModel",
        "Cache",
        "DynamicCache",
        "EncoderDecoderCache",
        "GenerationConfig",
        "GenerationMixin",
    ),
    "pipelines": (
        "FeatureExtractionPipeline",
        "FillMaskPipeline",
        "MultipleChoicePipeline",
        "Pipeline",
        "QuestionAnsweringPipeline",
        "TextClassificationPipeline",
        "TokenClassificationPipeline",
        "pipeline",
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
    "trainer_pt_utils": ("torch_distributed_zero_first",),
    "trainer_utils": ("EvalPrediction", "EvaluationStrategy", "IntervalStrategy", "SchedulerType", "set_seed"),
    "training_args": ("TrainingArguments",),
    "utils": ("logging",),
    "utils.generic": ("PaddingStrategy", "TensorType"),
}
_NAMES["models.auto"] = tuple(name for names in names_of_auto().values() for name in names)
for _type in TOKENIZER_OF:  # every model type has one
    _of_type = names_of_package(_type).values()
    _NAMES[f"models.{package_of(_type)}"] = tuple(name for names in _of_type for name in names)
_LAZY = LazyNames(globals(), _NAMES)

__all__ = ["__version__", *_LAZY.public]

explain_absent_names()

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
