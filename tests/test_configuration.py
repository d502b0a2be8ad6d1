"""Configurations: JSON both ways, labels, overrides, and LoRA fields that are refused where they make no sense."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import LORA, tiny_config

from transformers import AutoConfig, AutoModel, DebertaV2Config, PretrainedConfig, RobertaConfig, RobertaModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils.hub import split_hub_options

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def _file(folder: Path, **content: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta", **content}))
    return folder


@given(st.dictionaries(st.from_regex(r"[a-z]{3,8}_extra", fullmatch=True), JSON))
def test_unknown_keys_survive_a_round_trip(extra: dict[str, Any]) -> None:
    config = RobertaConfig(hidden_size=24, num_attention_heads=3, **extra)
    again = RobertaConfig(**json.loads(config.to_json_string()))
    assert again == config
    assert all(getattr(again, name) == value for name, value in extra.items())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_labels": 1},
        {"id2label": {0: "no", 1: "yes", 2: "maybe"}, "problem_type": "single_label_classification"},
        LORA,
        {"return_dict": False, "tie_word_embeddings": False, "output_attentions": True, "cls_dropout": 0.0},
        {"finetuning_task": "mnli", "dtype": torch.bfloat16, "architectures": ["RobertaModel"]},
    ],
)
def test_saved_and_loaded_equal(tmp_path: Path, fields: dict[str, Any]) -> None:
    config = RobertaConfig(**fields)
    config.save_pretrained(tmp_path)
    for loaded in (AutoConfig.from_pretrained(tmp_path), RobertaConfig.from_pretrained(str(tmp_path))):
        assert type(loaded) is RobertaConfig
        loaded.name_or_path = ""
        assert loaded == config
    assert RobertaConfig.from_json_file(tmp_path / "config.json") == config


def test_file_holds_what_differs_and_what_identifies(tmp_path: Path) -> None:
    RobertaConfig(hidden_size=384).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["model_type"] == "roberta"
    assert content["hidden_size"] == 384
    assert "vocab_size" in content, "upstream's default is another"
    assert "intermediate_size" not in content
    assert "name_or_path" not in content, "the place where it was loaded from is nobody's business"


def test_dtype_is_kept_by_name() -> None:
    for given_dtype in (torch.bfloat16, "torch.bfloat16", "bfloat16"):
        assert RobertaConfig(dtype=given_dtype).dtype == "bfloat16"
        assert RobertaConfig(torch_dtype=given_dtype).dtype == "bfloat16"


# Labels -------------------------------------------------------------------------------------------------------


def test_labels_have_names_and_a_reverse() -> None:
    config = PretrainedConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    config.num_labels = 1
    assert (config.id2label, config.label2id) == ({0: "LABEL_0"}, {"LABEL_0": 0})
    named = PretrainedConfig(id2label={"0": "no", "1": "yes"})
    assert (named.num_labels, named.id2label, named.label2id) == (2, {0: "no", 1: "yes"}, {"no": 0, "yes": 1})


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ({}, ["no", "yes", "maybe"]),
        ({"num_labels": 3}, ["no", "yes", "maybe"]),
        ({"num_labels": 2}, ["LABEL_0", "LABEL_1"]),
        ({"id2label": {0: "a", 1: "b"}}, ["a", "b"]),
        ({"num_labels": 1, "id2label": {0: "a"}}, ["a"]),
    ],
)
def test_overridden_labels(tmp_path: Path, overrides: dict[str, Any], names: list[str]) -> None:
    labels = ["no", "yes", "maybe"]
    folder = _file(tmp_path, id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)})
    config = AutoConfig.from_pretrained(folder, **overrides)
    assert list(config.id2label.values()) == names
    assert config.label2id == {name: index for index, name in enumerate(names)}
    assert config.num_labels == len(names)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_labels": 0},
        {"num_labels": -1},
        {"num_labels": True},
        {"num_labels": 2.0},
        {"num_labels": 2, "id2label": {0: "a"}},
        {"id2label": {"first": "a"}},
        {"id2label": [["a"], ["b"]]},
        {"id2label": "ab"},
    ],
)
def test_labels_that_are_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"num_labels|id2label"):
        PretrainedConfig(**fields)


def test_labels_as_a_list() -> None:
    config = PretrainedConfig(id2label=["no", "yes"])
    assert config.id2label == {0: "no", 1: "yes"}
    assert config.label2id == {"no": 0, "yes": 1}


# LoRA ---------------------------------------------------------------------------------------------------------


class PlainConfig(PretrainedConfig):
    """A model type without places for LoRA layers."""

    model_type: ClassVar[str] = "plain"


@pytest.fixture
def plain_type() -> Iterator[str]:
    AutoConfig.register("plain", PlainConfig)
    yield "plain"
    del CONFIG_MAPPING["plain"]


BAD_LORA = [
    ({"lora_alpha": 16}, "lora_r"),
    ({"lora_r": 8}, "lora_alpha"),
    *[({"lora_r": r, "lora_alpha": 16}, "lora_r") for r in (0, -8, True, 8.0, "8", None)],
    *[({"lora_r": 8, "lora_alpha": a}, "lora_alpha") for a in (0, -1, True, "16", None, math.nan, math.inf)],
    *[({**LORA, "lora_dropout": p}, "lora_dropout") for p in (-0.1, 1.0, None, "0", math.nan, True)],
]


@pytest.mark.parametrize(("fields", "named"), BAD_LORA)
def test_lora_fields_out_of_range(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    _file(tmp_path)
    with pytest.raises(ValueError, match=f"{named} is "):
        RobertaConfig(**{"apply_lora": True, **fields})
    with pytest.raises(ValueError, match=f"{named} is "):
        AutoConfig.from_pretrained(tmp_path, **{"apply_lora": True, **fields})


@pytest.mark.parametrize("name", ["lora_r", "lora_alpha"])
def test_lora_fields_set_later_are_checked_too(name: str) -> None:
    config = tiny_config(**LORA)
    with pytest.raises(ValueError, match=f"{name} is 0"):
        config.update({name: 0})
    with pytest.raises(ValueError, match=f"{name} is 0"):
        RobertaModel(config)


def test_model_type_without_injection_points(tmp_path: Path, plain_type: str) -> None:
    _file(tmp_path, model_type=plain_type)
    assert type(AutoConfig.from_pretrained(tmp_path)) is PlainConfig
    with pytest.raises(ValueError, match="'plain' has no places for LoRA layers"):
        AutoConfig.from_pretrained(tmp_path, apply_lora=True, lora_r=8, lora_alpha=16)
    with pytest.raises(ValueError, match="'plain' has no places"):
        AutoConfig.for_model("plain", **LORA)


def test_lora_flows_from_the_call_into_the_configuration(tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(_file(tmp_path), apply_lora=True, lora_r=8, lora_alpha=16, lora_dropout=0.1)
    assert (config.apply_lora, config.lora_r, config.lora_alpha, config.lora_dropout) == (True, 8, 16, 0.1)
    assert config.lora_scaling == 2.0
    with pytest.raises(ValueError, match="no scaling"):
        _ = RobertaConfig().lora_scaling


# Reading ------------------------------------------------------------------------------------------------------


def test_unused_arguments_are_given_back(tmp_path: Path) -> None:
    folder = _file(tmp_path, own_key=1)
    config, unused = AutoConfig.from_pretrained(
        folder,
        return_unused_kwargs=True,
        own_key=2,
        hidden_size=24,
        num_attention_heads=2,
        nonsense=3,
        revision="main",
    )
    assert (config.own_key, config.hidden_size, unused) == (2, 24, {"nonsense": 3})


def test_hub_options_are_parted_from_the_rest() -> None:
    given_options = {"revision": "v1", "token": None, "use_auth_token": "secret", "subfolder": None, "proxies": {}}
    options, rest = split_hub_options({**given_options, "resume_download": True, "cache_dir": "c", "lora_r": 8})
    assert options == {"revision": "v1", "token": "secret", "cache_dir": "c"}
    assert rest == {"lora_r": 8}
    assert split_hub_options({"token": "a", "use_auth_token": "b"})[0] == {"token": "a"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "holds a list"),
        ("\xff", "not a JSON file"),
        ("{}", "names no model_type"),
        ('{"model_type": 3}', "names no model_type"),
        ('{"model_type": "gpt2"}', "'gpt2' is not part of this package.*roberta"),
        ('{"model_type": "roberta", "hidden_size": "768"}', "hidden_size is '768'"),
        ('{"model_type": "roberta", "num_hidden_layers": 0}', "num_hidden_layers is 0"),
        ('{"model_type": "roberta", "vocab_size": null}', "vocab_size is None"),
        ('{"model_type": "roberta", "hidden_size": 10}', "attention heads"),
        ('{"model_type": "roberta", "hidden_dropout_prob": 1.5}', "hidden_dropout_prob is 1.5"),
        ('{"model_type": "roberta", "hidden_dropout_prob": null}', "hidden_dropout_prob is None"),
        ('{"model_type": "roberta", "position_embedding_type": "relative_key"}', "absolute"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        AutoConfig.from_pretrained(tmp_path)


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"holds no config\.json"):
        AutoConfig.from_pretrained(tmp_path)
    with pytest.raises(OSError, match="does not exist"):
        AutoConfig.from_pretrained(tmp_path / "absent")


def test_auto_config_is_not_made() -> None:
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoConfig()
    with pytest.raises(ValueError, match="not 'other'"):
        AutoConfig.register("other", PlainConfig)


def test_another_types_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RobertaConfig.from_pretrained(_file(tmp_path, model_type="bert"))
    assert "describes a 'bert' model" in capsys.readouterr().err


# Fields of 4.4.2 ------------------------------------------------------------------------------------------------

NEUTRAL = {
    **dict.fromkeys(("is_decoder", "is_encoder_decoder", "add_cross_attention", "torchscript"), False),
    **{"gradient_checkpointing": False, "use_cache": True, "chunk_size_feed_forward": 0, "pruned_heads": {}},
    **{"position_embedding_type": "absolute", "task_specific_params": None},
}


@pytest.mark.parametrize("config_class", [PretrainedConfig, RobertaConfig, DebertaV2Config])
def test_neutral_fields_are_there_and_not_written(config_class: type[PretrainedConfig], tmp_path: Path) -> None:
    config = config_class()
    assert {name: getattr(config, name) for name in NEUTRAL} == NEUTRAL
    assert NEUTRAL.items() <= config.to_dict().items()
    config.pruned_heads["here"] = "only"
    assert config_class().pruned_heads == {}
    config_class().save_pretrained(tmp_path)
    assert not NEUTRAL.keys() & json.loads((tmp_path / "config.json").read_text()).keys()


def test_harmless_values_are_kept() -> None:
    fields = {"use_cache": False, "chunk_size_feed_forward": 4, "task_specific_params": {"a": 1}, "torchscript": True}
    config = RobertaConfig(**fields)
    assert fields.items() <= json.loads(config.to_json_string()).items()
    assert not config.use_return_dict
    assert RobertaConfig().use_return_dict


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_decoder", True),
        ("is_encoder_decoder", True),
        ("add_cross_attention", True),
        ("pruned_heads", {0: [1]}),
        ("position_embedding_type", "relative_key"),
    ],
)
@pytest.mark.parametrize("config_class", [RobertaConfig, DebertaV2Config])
def test_what_an_encoder_cannot_be_is_refused(config_class: type[PretrainedConfig], field: str, value: Any) -> None:
    if config_class is RobertaConfig and field == "is_decoder":
        return  # there is such a RoBERTa: tests/heads/test_causal_lm.py
    with pytest.raises(ValueError, match=f"{field} is .* is an encoder"):
        config_class(**{field: value})
    config = config_class(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=9)
    setattr(config, field, value)
    with pytest.raises(ValueError, match=f"{field} is .* is an encoder"):
        AutoModel.from_config(config)
    assert getattr(PretrainedConfig(**{field: value}), field) == value  # another's model may be what it likes


def test_a_number_of_labels_may_be_numpys() -> None:
    config = RobertaConfig(num_labels=np.int64(3))
    assert type(config.num_labels) is int
    assert json.loads(config.to_json_string())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    for wrong in (True, 2.0, np.float64(2)):
        with pytest.raises(ValueError, match="num_labels is"):
            RobertaConfig(num_labels=wrong)


class NeedsWidth(PretrainedConfig):
    model_type = "needs-width"

    def __init__(self, width: int, use_cache: bool = False, **kwargs: Any) -> None:
        self.use_cache = use_cache
        super().__init__(**kwargs)
        self.width = width


def test_a_subclass_with_fields_of_its_own(tmp_path: Path) -> None:
    config = NeedsWidth(3, num_labels=4)
    assert config.use_cache is False
    config.save_pretrained(tmp_path)
    again, unused = NeedsWidth.from_pretrained(tmp_path, width=5, other=1, return_unused_kwargs=True)
    assert (again.width, again.num_labels, again.use_cache, unused) == (5, 4, False, {"other": 1})
    assert NeedsWidth.from_dict({"width": 6}).width == 6


def test_where_it_came_from_under_4_4_2s_name(tmp_path: Path) -> None:
    RobertaConfig().save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "_name_or_path": "/elsewhere/of/its/author"}))
    config = RobertaConfig.from_pretrained(tmp_path)
    assert config._name_or_path == config.name_or_path == str(tmp_path)
    assert RobertaConfig(_name_or_path="roberta-base").name_or_path == "roberta-base"
    config._name_or_path = "other"
    assert config.name_or_path == "other"
    assert "_name_or_path" not in json.loads(config.to_json_string())
