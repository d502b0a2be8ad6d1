"""The two ways of loading an adapter are one: what is refused, honoured, taken from the base, frozen and recorded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LORA, random_ids, same_tensors, shake, tiny_config, values, write_base
from torch import nn

from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    RobertaForSequenceClassification,
    RobertaModel,
)
from transformers.models.roberta.modeling_roberta import RobertaPreTrainedModel

Way = Callable[..., PreTrainedModel]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    make(base).save_adapter(tmp_path / "adapter")
    return tmp_path / "adapter"


def make(base: Path, auto: Any = AutoModelForSequenceClassification, seed: int = 1, **fields: Any) -> PreTrainedModel:
    model: PreTrainedModel = auto.from_pretrained(base, **{**LORA, **fields})
    shake(model, seed)
    return model.eval()


def as_model(adapter: Path, base: Path, auto: Any = AutoModelForSequenceClassification, **options: Any) -> Any:
    return auto.from_pretrained(adapter, base_model_name_or_path=base, **options)


def beside(adapter: Path, base: Path, auto: Any = AutoModelForSequenceClassification, **options: Any) -> Any:
    model = auto.from_pretrained(base)
    model.load_adapter(adapter, "default", **options)
    return model.eval()


WAYS: dict[str, Way] = {"from_pretrained": as_model, "load_adapter": beside}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def test_both_give_the_same_model(base: Path, adapter: Path) -> None:
    first, second = as_model(adapter, base), beside(adapter, base)
    assert same_tensors(values(first), values(second))
    assert first.loaded_adapters == second.loaded_adapters == ["default"]
    trained = [{n for n, p in model.named_parameters() if p.requires_grad} for model in (first, second)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize("cast", [lambda m: m.bfloat16(), lambda m: m.half(), lambda m: m.double()])
def test_a_cast_base_is_the_same_base(cast: Callable[[nn.Module], Any], base: Path, adapter: Path) -> None:
    model = cast(AutoModelForSequenceClassification.from_pretrained(base))
    model.load_adapter(adapter, "a")
    ids = random_ids()
    assert (model.eval()(ids).logits - as_model(adapter, base)(ids).logits).abs().max() < 0.2


def test_a_cast_between_two_adapters(base: Path, adapter: Path, tmp_path: Path) -> None:
    make(base, seed=2, num_labels=3).save_adapter(tmp_path / "b")
    model = beside(adapter, base).bfloat16()
    model.load_adapter(tmp_path / "b", "b")
    ids = random_ids()
    mixed = model(ids, adapter_names=["default", "b", "default", "b"]).logits
    with torch.no_grad():
        alone = {"default": model(ids).logits}
        model.set_adapter("b")
        alone["b"] = model(ids).logits
    for row, name in enumerate(["default", "b", "default", "b"]):
        width = alone[name].shape[1]
        assert (mixed[row, :width] - alone[name][row]).abs().max() < 0.1


@pytest.mark.parametrize("cast", [lambda m: m.bfloat16(), lambda m: m.half(), lambda m: m.double()])
@pytest.mark.parametrize("names", [["a", "b", "a"], ["b", "a", "b"]])
def test_a_cast_between_two_loaded_adapters(
    cast: Callable[[nn.Module], Any], names: list[str], base: Path, adapter: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(base)
    model.load_adapter(adapter, "a")
    cast(model).load_adapter(adapter, "b")
    ids = random_ids()[: len(names)]
    mixed = model.eval()(ids, adapter_names=names).logits
    assert (mixed - as_model(adapter, base)(ids).logits).abs().max() < 0.1


def test_a_classifier_s_adapter_in_a_bare_encoder(
    way: Way, base: Path, adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder, ids = way(adapter, base, AutoModel), random_ids()
    assert "also holds classifier.dense.bias" in capfd.readouterr().err
    assert torch.equal(encoder(ids)[0], as_model(adapter, base).roberta(ids)[0])
    encoder.save_adapter(tmp_path / "encoder")
    assert torch.equal(AutoModel.from_pretrained(tmp_path / "encoder")(ids)[0], encoder(ids)[0])


def test_a_bare_encoder_s_adapter_in_a_classifier(base: Path, tmp_path: Path) -> None:
    bare, ids = make(base, AutoModel).eval(), random_ids()
    bare.save_adapter(tmp_path / "bare")
    with pytest.raises(ValueError, match="is an adapter of a RobertaModel, and cannot be loaded as a RobertaForSeq"):
        as_model(tmp_path / "bare", base)
    assert torch.equal(beside(tmp_path / "bare", base)(ids).last_hidden_state, bare(ids).last_hidden_state)


def test_another_head_is_refused(base: Path, adapter: Path) -> None:
    with pytest.raises(ValueError, match=r"is an adapter of a RobertaForSeq.+, and cannot be loaded as a RobertaForM"):
        as_model(adapter, base, AutoModelForMaskedLM)


def test_options_are_honoured_or_refused_by_name(base: Path, adapter: Path) -> None:
    with pytest.raises(ValueError, match=r"out_proj.*is \(2.*and \(5.*ignore_mismatched_sizes"):
        as_model(adapter, base, num_labels=5)
    model = as_model(adapter, base, num_labels=5, ignore_mismatched_sizes=True)
    assert model(random_ids()).logits.shape == (4, 5)
    assert model.config.num_labels == 5
    expected = as_model(adapter, base)
    for name, tensor in values(expected).items():
        assert "out_proj" in name or torch.equal(tensor, values(model)[name]), name
    assert as_model(adapter, base, id2label={0: "no", 1: "yes"}).config.id2label == {0: "no", 1: "yes"}
    assert as_model(adapter, base, lora_dropout=0.25).config.lora_dropout == 0.25
    for asked in ({"lora_r": 8}, {"lora_alpha": 32}):
        with pytest.raises(ValueError, match="Use the adapter's"):
            as_model(adapter, base, **asked)
    plain = AutoModelForSequenceClassification.from_pretrained(base)
    before = values(plain)
    for name in ("torch_device", "ignore_mismatched_sizes", "num_labels"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            plain.load_adapter(adapter, "a", **{name: 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        as_model(adapter, base, nonsense=1)
    assert same_tensors(values(plain), before)


def test_an_adapter_that_is_not_to_be_trained(way: Way, base: Path, adapter: Path, tmp_path: Path) -> None:
    frozen = way(adapter, base, is_trainable=False)
    assert not any(p.requires_grad for p in frozen.parameters())
    frozen.load_adapter(adapter, "trained")
    for name, number in (("trained", 12), ("default", 0), ("trained", 12)):
        frozen.set_adapter(name)
        assert sum(p.requires_grad for p in frozen.parameters()) == number
    frozen.set_adapter("default")
    frozen.save_adapter(tmp_path / "again")
    assert same_tensors(values(as_model(tmp_path / "again", base)), values(as_model(adapter, base)))


def test_biases_of_an_adapter_are_saved_again(way: Way, base: Path, tmp_path: Path) -> None:
    model = make(base, apply_bitfit=True)
    model.save_adapter(tmp_path / "biases")
    loaded, ids = way(tmp_path / "biases", base), random_ids()
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    loaded.save_adapter(tmp_path / "again")
    assert torch.equal(as_model(tmp_path / "again", base)(ids).logits, model(ids).logits)


class WithStatistics(RobertaPreTrainedModel):
    """A classifier with buffers in its head."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.norm = nn.BatchNorm1d(config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.out(self.norm(self.roberta(input_ids)[0][:, 0]))
        return scores


def test_buffers_of_a_head_belong_to_the_adapter(way: Way, base: Path, tmp_path: Path) -> None:
    expected, ids = {}, random_ids()
    for seed, name in enumerate("ab"):
        model = make(base, WithStatistics, seed=seed)
        model.train()
        for _ in range(seed + 3):
            model(random_ids())
        model.eval().save_adapter(tmp_path / name)
        expected[name] = model(ids)
    model = way(tmp_path / "a", base, WithStatistics)
    model.load_adapter(tmp_path / "b", "b")
    for name in ("default", "b", "default"):
        model.set_adapter(name)
        assert torch.equal(model(ids), expected["b" if name == "b" else "a"])


# The base -----------------------------------------------------------------------------------------------------


def test_a_refusal_says_what_is_different(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", seed=3)
    with pytest.raises(ValueError, match=rf"trained on '{base}'.* but '{other}' holds other weights"):
        as_model(adapter, other)
    model = make(base)
    model.roberta.encoder.layer[0].output.dense.weight.data.mul_(2)
    with pytest.raises(
        ValueError, match=r"changed in this model since: other weights in roberta.*0.output.dense.weight"
    ):
        model.load_adapter(adapter, "b")
    with pytest.raises(ValueError, match="made without a checkpoint"):
        RobertaForSequenceClassification(tiny_config()).load_adapter(adapter, "b")
    write_base(base, seed=4)
    with pytest.raises(ValueError, match=rf"trained on '{base}'.*, but that now holds other weights") as error:
        as_model(adapter, base)
    assert str(error.value).count(str(base)) == 1


def test_another_base_on_purpose_is_recorded(way: Way, adapter: Path, base: Path, tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", seed=3)
    model = way(adapter, other, allow_other_base=True)
    model.save_adapter(tmp_path / "again")
    metadata = json.loads((tmp_path / "again" / "lora_metadata.json").read_text())
    first = json.loads((adapter / "lora_metadata.json").read_text())["base_sha256"]
    assert metadata["other_bases"] == [{"base_model_name_or_path": str(base), "base_sha256": first}]
    assert metadata["base_sha256"] == model.base_sha256() != first
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "again")
    assert same_tensors(values(again), values(model))
    again.save_adapter(tmp_path / "third")
    assert (
        json.loads((tmp_path / "third" / "lora_metadata.json").read_text())["other_bases"] == metadata["other_bases"]
    )


def test_what_is_said_while_loading_is_true(adapter: Path, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="transformers"):
        as_model(adapter, base)
    assert "anew" not in caplog.text
    assert "starting values" not in caplog.text
