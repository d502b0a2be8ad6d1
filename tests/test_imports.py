"""What can be imported under which name, and what an import must not drag in."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from head_models import make_head
from tiny import run_python

import transformers
from transformers import activations, file_utils, modeling_outputs

PROMISED = [
    "AutoConfig",
    "AutoTokenizer",
    "AutoModel",
    "AutoModelForSequenceClassification",
    "AutoModelForMaskedLM",
    "AutoModelForTokenClassification",
    "AutoModelForQuestionAnswering",
    "AutoModelForMultipleChoice",
    "AutoModelForCausalLM",
    "RobertaConfig",
    "RobertaModel",
    "RobertaForSequenceClassification",
    "RobertaForMaskedLM",
    "RobertaForTokenClassification",
    "RobertaForQuestionAnswering",
    "RobertaForMultipleChoice",
    "RobertaForCausalLM",
    "DebertaV2ForTokenClassification",
    "DebertaV2ForQuestionAnswering",
    "DebertaV2ForMultipleChoice",
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
    "transformers.models.roberta": "RobertaConfig RobertaModel RobertaForSequenceClassification RobertaForMaskedLM "
    "RobertaPreTrainedModel RobertaTokenizer RobertaTokenizerFast",
    "transformers.models.deberta_v2": "DebertaV2Config DebertaV2Model DebertaV2ForSequenceClassification "
    "DebertaV2PreTrainedModel DebertaV2Tokenizer",
    "transformers.models.bert": "BertTokenizer BertTokenizerFast",
    "transformers.models.auto": "AutoConfig AutoModel AutoTokenizer AutoModelForSequenceClassification",
    "transformers.models.auto.modeling_auto": "AutoModelForSequenceClassification MODEL_MAPPING "
    "MODEL_FOR_MASKED_LM_MAPPING MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "transformers.models.auto.configuration_auto": "AutoConfig CONFIG_MAPPING",
    "transformers.models.auto.tokenization_auto": "AutoTokenizer TOKENIZER_MAPPING",
    "transformers.configuration_utils": "PretrainedConfig",
    "transformers.modeling_utils": "PreTrainedModel unwrap_model",
    "transformers.modeling_outputs": "SequenceClassifierOutput BaseModelOutput MaskedLMOutput "
    "MultipleChoiceModelOutput",
    "transformers.layers.activations": "ACT2FN get_activation gelu gelu_new gelu_fast swish",
    "transformers.file_utils": "is_offline_mode is_torch_available is_datasets_available ModelOutput PaddingStrategy "
    "ExplicitEnum TensorType WEIGHTS_NAME CONFIG_NAME cached_property",
    "transformers.trainer": "Trainer",
    "transformers.trainer_callback": "TrainerCallback EarlyStoppingCallback TrainerState TrainerControl",
    "transformers.training_args": "TrainingArguments",
    "transformers.optimization": "AdamW get_scheduler get_linear_schedule_with_warmup TYPE_TO_SCHEDULER_FUNCTION",
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


TOP_LEVEL = """AdamW CONFIG_NAME WEIGHTS_NAME CONFIG_MAPPING MODEL_MAPPING TOKENIZER_MAPPING
MODEL_FOR_MASKED_LM_MAPPING MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING
MODEL_FOR_QUESTION_ANSWERING_MAPPING MODEL_FOR_MULTIPLE_CHOICE_MAPPING MODEL_FOR_CAUSAL_LM_MAPPING
is_torch_available is_tf_available
is_datasets_available is_sklearn_available
is_wandb_available is_tensorboard_available is_apex_available torch_distributed_zero_first logging
add_start_docstrings"""


@pytest.mark.parametrize("name", TOP_LEVEL.split())
def test_names_that_scripts_for_442_import_from_the_top(name: str) -> None:
    assert name in transformers.__all__
    exec(f"from transformers import {name}", {})


REACHED = """logging.set_verbosity_error() utils.logging.get_logger trainer_utils.set_seed(1) optimization.AdamW
utils.versions.require_version file_utils.is_torch_available() modeling_outputs.SequenceClassifierOutput
models.roberta.RobertaModel models.roberta.modeling_roberta.RobertaModel models.auto.AutoModel
integrations.is_wandb_available()"""


def test_submodules_are_reached_by_their_path_before_anything_imported_them() -> None:
    code = """
import sys
for path in sys.argv[1:]:
    for loaded in [m for m in sys.modules if m.startswith("transformers")]:
        del sys.modules[loaded]
    import transformers
    exec(f"transformers.{path}")
    print(path)
"""
    assert run_python(code, *REACHED.split()).split() == REACHED.split()


def test_what_4_4_2_says_is_installed() -> None:
    assert file_utils.is_torch_available()
    assert not file_utils.is_tf_available()
    assert not file_utils.is_flax_available()
    assert file_utils.is_sklearn_available() is (importlib.util.find_spec("sklearn") is not None)
    assert file_utils.is_torch_cuda_available() is torch.cuda.is_available()


def test_decorators_of_copied_models_add_documentation_and_nothing_else() -> None:
    @file_utils.add_start_docstrings("A head. ", "Its inputs:")
    class Head:
        """Own words."""

        @file_utils.add_start_docstrings_to_model_forward("INPUTS ")
        @file_utils.add_code_sample_docstrings(" SAMPLE", tokenizer_class="X", checkpoint="y", output_type=None)
        @file_utils.replace_return_docstrings(output_type=None, config_class="Z")
        def forward(self) -> int:
            return 3

    assert Head.__doc__ == "A head. Its inputs:Own words."
    assert Head().forward() == 3
    assert Head.forward.__doc__ == "INPUTS  SAMPLE"


def test_a_copied_model_returns_what_4_4_2s_do() -> None:
    last, pooled = torch.ones(2, 3, 4), torch.ones(2, 4)
    output = modeling_outputs.BaseModelOutputWithPoolingAndCrossAttentions(
        last_hidden_state=last,
        pooler_output=pooled,
        past_key_values=None,
        hidden_states=None,
        attentions=None,
        cross_attentions=None,
    )
    assert output.to_tuple() == (last, pooled)
    assert isinstance(output, modeling_outputs.BaseModelOutputWithPooling)
    assert modeling_outputs.BaseModelOutputWithPastAndCrossAttentions(last, past_key_values=(pooled,))[1] == (pooled,)


def test_activations_by_name_and_as_functions_are_the_same() -> None:
    x = torch.linspace(-3, 3, 7)
    for name in ("gelu", "gelu_new", "gelu_fast", "swish", "silu", "mish"):
        assert torch.equal(getattr(activations, name)(x), activations.get_activation(name)(x))
    tanh = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    torch.testing.assert_close(activations.gelu_new(x), tanh)


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


def test_loading_a_model_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    """It takes two seconds, and torch imports it to fill parameters that have no storage."""
    for family in ("roberta", "deberta"):
        make_head(family, "sequence-classification").save_pretrained(tmp_path / family)
    code = """
import sys
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification
for folder in sys.argv[1:]:
    AutoModel.from_pretrained(folder)
    AutoModelForMaskedLM.from_pretrained(folder)
    for method in (dict(apply_lora=True, lora_r=2, lora_alpha=2), dict(apply_adapter=True, adapter_type="houlsby")):
        AutoModelForSequenceClassification.from_pretrained(folder, **method, adapter_size=8)
print("torch._dynamo" in sys.modules)
"""
    assert run_python(code, tmp_path / "roberta", tmp_path / "deberta").strip() == "False"


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


def test_an_unknown_activation_is_either_error() -> None:
    for kind in (ValueError, KeyError):
        with pytest.raises(kind) as raised:
            activations.get_activation("bogus")
        assert str(raised.value).startswith("Unknown activation 'bogus'; known are gelu")
