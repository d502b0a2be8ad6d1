"""What can be imported under which name, and what an import must not drag in."""

from __future__ import annotations

import importlib
import json

import pytest
from tiny import run_python

import transformers

PROMISED = [
    "AutoConfig",
    "AutoTokenizer",
    "AutoModel",
    "AutoModelForSequenceClassification",
    "AutoModelForMaskedLM",
    "RobertaConfig",
    "RobertaModel",
    "RobertaForSequenceClassification",
    "RobertaForMaskedLM",
    "PretrainedConfig",
    "PreTrainedModel",
    "PreTrainedTokenizerBase",
    "PreTrainedTokenizerFast",
    "Trainer",
    "TrainingArguments",
    "TrainerCallback",
    "EarlyStoppingCallback",
    "HfArgumentParser",
    "EvalPrediction",
    "DataCollatorWithPadding",
    "default_data_collator",
    "set_seed",
]

SUBMODULES = {
    "transformers.trainer_utils": "get_last_checkpoint is_main_process set_seed EvalPrediction IntervalStrategy",
    "transformers.utils": "check_min_version logging ModelOutput",
    "transformers.utils.versions": "require_version",
    "transformers.utils.logging": "get_logger set_verbosity set_verbosity_info set_verbosity_warning "
    "set_verbosity_error set_verbosity_debug enable_default_handler disable_default_handler enable_explicit_format",
    "transformers.models.roberta.modeling_roberta": "RobertaModel RobertaForSequenceClassification RobertaForMaskedLM "
    "RobertaPreTrainedModel RobertaSelfAttention RobertaEncoder RobertaClassificationHead",
    "transformers.models.roberta.configuration_roberta": "RobertaConfig",
    "transformers.models.roberta.tokenization_roberta": "RobertaTokenizer",
    "transformers.models.roberta.tokenization_roberta_fast": "RobertaTokenizerFast",
    "transformers.models.auto.modeling_auto": "AutoModelForSequenceClassification",
    "transformers.models.auto.configuration_auto": "AutoConfig CONFIG_MAPPING",
    "transformers.configuration_utils": "PretrainedConfig",
    "transformers.modeling_utils": "PreTrainedModel unwrap_model",
    "transformers.modeling_outputs": "SequenceClassifierOutput BaseModelOutput MaskedLMOutput",
    "transformers.activations": "ACT2FN get_activation",
    "transformers.file_utils": "is_offline_mode is_torch_available is_datasets_available ModelOutput PaddingStrategy "
    "ExplicitEnum TensorType WEIGHTS_NAME CONFIG_NAME",
    "transformers.trainer": "Trainer",
    "transformers.trainer_callback": "TrainerCallback EarlyStoppingCallback TrainerState TrainerControl",
    "transformers.training_args": "TrainingArguments",
    "transformers.optimization": "get_scheduler get_linear_schedule_with_warmup",
    "transformers.hf_argparser": "HfArgumentParser",
    "transformers.data.data_collator": "default_data_collator DataCollatorWithPadding",
    "transformers.tokenization_utils_base": "PreTrainedTokenizerBase BatchEncoding",
}

# Libraries that cost time or need not be installed; only functions that use them may import them.
HEAVY = "accelerate datasets pandas sklearn scipy matplotlib tensorboardX huggingface_hub deepspeed rich wandb peft"

LOADED = """
import json, sys
import torch
before = set(sys.modules)
exec(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


@pytest.mark.parametrize("name", sorted({*transformers.__all__, *PROMISED}))
def test_every_public_name_can_be_imported(name: str) -> None:
    assert name in dir(transformers)
    assert getattr(transformers, name) is not None


@pytest.mark.parametrize("module", SUBMODULES)
def test_names_that_scripts_for_442_import(module: str) -> None:
    loaded = importlib.import_module(module)
    assert not [name for name in SUBMODULES[module].split() if not hasattr(loaded, name)]


def test_names_that_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Bloom'"):
        _ = transformers.Bloom
    with pytest.raises(ImportError):
        exec("from transformers import Bloom")


def test_imports_drag_nothing_heavy_in() -> None:
    code = "import transformers; from transformers import Trainer, AutoModelForSequenceClassification"
    loaded = set(json.loads(run_python(LOADED, code)))
    assert "transformers" in loaded
    assert not loaded & set(HEAVY.split())


def test_the_bare_import_loads_no_library_at_all() -> None:
    bare = "import sys, transformers; print('torch' in sys.modules, 'tokenizers' in sys.modules)"
    assert run_python(bare).split() == ["False", "False"]


def test_every_module_can_be_imported_first() -> None:
    """No module needs another to have been imported before it."""
    code = """
import importlib, json, pkgutil, sys
import transformers
names = [m.name for m in pkgutil.walk_packages(transformers.__path__, "transformers.") if "__main__" not in m.name]
for name in names:
    for loaded in [m for m in sys.modules if m.startswith("transformers")]:
        del sys.modules[loaded]
    importlib.import_module(name)
print(len(names))
"""
    assert int(run_python(code)) > 50


def test_the_version_is_442s() -> None:
    assert transformers.__version__.startswith("4.4.2+lora")
    transformers_utils = importlib.import_module("transformers.utils")
    transformers_utils.check_min_version("4.4.0")
    transformers_utils.check_min_version("4.4.2")
    with pytest.raises(ImportError, match=r"asks for transformers >= 4\.5\.0"):
        transformers_utils.check_min_version("4.5.0")
