"""Auto classes: one table of model types, seen by type, by configuration class and by task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny import LORA, run_python, tiny_config, write_base

import transformers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_MULTIPLE_CHOICE_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
    TOKENIZER_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DebertaV2Config,
    PretrainedConfig,
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForSequenceClassification,
    RobertaTokenizer,
)

TYPES = ("roberta", "deberta-v2")


def test_scripts_list_the_model_types_as_they_did_in_4_4_2() -> None:
    listing = """
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, CONFIG_MAPPING
classes = list(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.keys())
print(*(c.model_type for c in classes), *CONFIG_MAPPING, *CONFIG_MAPPING.keys())
"""
    assert run_python(listing).split() == [*TYPES, *TYPES, *TYPES]


def test_listing_model_types_imports_no_model() -> None:
    listing = """
import sys
from transformers import CONFIG_MAPPING, TOKENIZER_MAPPING
print(len(CONFIG_MAPPING), len(TOKENIZER_MAPPING), *(c.__name__ for c in TOKENIZER_MAPPING))
print(any("modeling_" in name and "models" in name for name in sys.modules))
"""
    assert run_python(listing).split() == ["2", "2", "RobertaConfig", "DebertaV2Config", "False"]


@pytest.mark.parametrize(
    ("mapping", "auto"),
    [
        (MODEL_MAPPING, AutoModel),
        (MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM),
        (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification),
        (MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, AutoModelForTokenClassification),
        (MODEL_FOR_QUESTION_ANSWERING_MAPPING, AutoModelForQuestionAnswering),
        (MODEL_FOR_MULTIPLE_CHOICE_MAPPING, AutoModelForMultipleChoice),
    ],
)
def test_a_mapping_and_its_auto_class_agree(mapping: dict[type, type], auto: type) -> None:
    assert mapping[RobertaConfig] is type(auto.from_config(tiny_config()))
    assert len(mapping) == len(list(mapping)) == len(TYPES)
    assert PretrainedConfig not in mapping
    with pytest.raises(KeyError):
        mapping[PretrainedConfig]


def test_only_roberta_writes() -> None:
    assert list(MODEL_FOR_CAUSAL_LM_MAPPING) == [RobertaConfig]
    assert type(AutoModelForCausalLM.from_config(tiny_config(is_decoder=True))) is RobertaForCausalLM
    with pytest.raises(ValueError, match="Model type 'deberta-v2' has no class for 'causal-lm'"):
        AutoModelForCausalLM.from_config(DebertaV2Config())


def test_the_mappings_hold_classes() -> None:
    assert MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[RobertaConfig] is RobertaForSequenceClassification
    assert TOKENIZER_MAPPING[RobertaConfig] == (RobertaTokenizer, transformers.RobertaTokenizerFast)
    assert CONFIG_MAPPING["roberta"] is RobertaConfig
    assert CONFIG_MAPPING.get("bert") is None
    assert "bert" not in CONFIG_MAPPING
    with pytest.raises(ValueError, match="Model type 'bert' is not part of this package, which holds roberta"):
        AutoConfig.for_model("bert")


def test_an_adapter_whose_base_has_moved_says_where_to_write_the_new_place(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    config = AutoConfig.from_pretrained(base, num_labels=2, **LORA)
    RobertaForSequenceClassification.from_pretrained(base, config=config).save_adapter(tmp_path / "adapter")
    moved = shutil.move(base, tmp_path / "moved")
    with pytest.raises(OSError, match=r"belongs to the base .*base_model_name_or_path.*adapter_config\.json"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": str(moved)}))
    assert AutoConfig.from_pretrained(tmp_path / "adapter").lora_r == LORA["lora_r"]
