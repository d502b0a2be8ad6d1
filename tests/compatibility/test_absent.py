"""Every name of 4.4.2 is here or says in one sentence why not, however it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import pytest
from tiny import run_python

import transformers
from transformers.compatibility.absent import explain

TEXT = Path(__file__).with_name("names_4_4_2.txt").read_text(encoding="utf-8").partition("\n")[2]
NAMES, MODULES = (part.split() for part in TEXT.split("\n\n"))


def test_every_name_is_here_or_explained() -> None:
    unexplained = []
    for name in NAMES:
        if name in transformers.__all__:
            assert getattr(transformers, name) is not None
            continue
        assert not hasattr(transformers, name)
        with pytest.raises(AttributeError) as raised:
            getattr(transformers, name)
        with pytest.raises(ImportError) as refused:
            exec(f"from transformers import {name}", {})
        sentence = str(refused.value)
        if str(raised.value) != sentence or not sentence.startswith(f"transformers.{name} is not part of"):
            unexplained.append(name)
    assert len(NAMES) > 900
    assert not unexplained


def test_every_module_is_here_or_explained() -> None:
    unexplained = []
    for module in MODULES:
        try:
            importlib.import_module(f"transformers.{module}")
        except ImportError as error:
            unexplained += [] if " is not part of this package: " in str(error) else [module]
    assert len(MODULES) > 400
    assert not unexplained


def test_every_name_of_the_modules_that_are_here(shared_data: Path) -> None:
    for path, names in json.loads((shared_data / "microsoft-lora" / "api-4.4.2.json").read_text()).items():
        dotted = f"transformers.{path.removesuffix('.__init__')}"
        if path == "models.bert.configuration_bert":
            continue
        module = importlib.import_module(dotted)
        for name in names:
            if not hasattr(module, name):
                with pytest.raises(ImportError, match=rf"{name} is not part of this package: \w"):
                    exec(f"from {dotted} import {name}", {})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("from transformers import BertModel", "convert its checkpoint to RoBERTa's layout"),
        ("from transformers.models.bert import BertForMaskedLM", "convert its checkpoint to RoBERTa's layout"),
        ("from transformers.models.bert.modeling_bert import BertLayer", "convert its checkpoint to RoBERTa's layout"),
        ("from transformers import XLMRobertaModel", "this model type is not here, only RoBERTa and DeBERTa-V2/V3"),
        ("from transformers import DebertaModel", "this model type is not here, only RoBERTa and DeBERTa-V2/V3"),
        ("from transformers.models import gpt2", "this model type is not here"),
        ("import transformers.models.t5.modeling_t5", "this model type is not here"),
        ("from transformers import TFRobertaModel", "there is PyTorch only"),
        (
            "from transformers.models.auto.modeling_auto import AutoModelForNextSentencePrediction",
            "and neither are the model",
        ),
        ("from transformers.data.processors.glue import glue_processors", "processors are not here"),
        ("from transformers.trainer_pt_utils import get_tpu_sampler", "TPUs are not supported"),
        ("from transformers import ROBERTA_PRETRAINED_MODEL_ARCHIVE_LIST", "look on the hub"),
        ("import transformers\ntransformers.generation_utils", "no model here writes text"),
    ],
)
def test_the_sentence_is_seen_however_it_is_asked_for(code: str, words: str) -> None:
    with pytest.raises((ImportError, AttributeError), match=" is not part of this package: ") as raised:
        exec(code, {})
    assert words in str(raised.value)


def test_a_missing_head_is_not_called_a_missing_model() -> None:
    for head in ("RobertaForSomethingNew", "DebertaV2ForSomethingNew", "AutoModelForSomethingNew"):
        sentence = explain(f"transformers.{head}")
        assert sentence is not None
        assert "this head is not here, though its models are" in sentence


def test_what_no_version_had_is_left_to_python() -> None:
    for name in ("Bloom", "roberta", "NoSuchThing", "Roberta"):
        assert explain(f"transformers.{name}") is None
    assert importlib.util.find_spec("transformers.no_such_module") is None
    with pytest.raises(ImportError, match=r"^cannot import name 'Bloom' from 'transformers'"):
        exec("from transformers import Bloom", {})
    with pytest.raises(AttributeError, match=r"^module 'transformers.trainer_pt_utils' has no attribute 'Bloom'"):
        _ = transformers.trainer_pt_utils.Bloom


def test_other_packages_are_not_concerned_and_asking_costs_no_import() -> None:
    code = """
import sys, transformers, importlib
importlib.reload(transformers)
print(sum("absent" in type(finder).__module__ for finder in sys.meta_path))
for name in ("pipelines", "BertModel"):
    try:
        importlib.import_module(f"json.{name}")
    except ModuleNotFoundError as error:
        print(error)
print(hasattr(transformers, "ConversationalPipeline"), "torch" in sys.modules)
"""
    assert run_python(code).splitlines() == [
        "1",
        "No module named 'json.pipelines'",
        "No module named 'json.BertModel'",
        "False False",
    ]
