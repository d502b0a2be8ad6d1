"""The identity of a base follows its weights: whoever changes them makes another base, whoever casts them does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adapter_models import KINDS, load_base, logits, make_adapted, write_base
from tiny import TINY, same_tensors, values

from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    LoraConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from transformers.methods.lora.layers import lora_layers

NAMES = {"roberta": "roberta", "deberta": "deberta-base-positions"}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return NAMES[request.param]


@pytest.fixture
def base(name: str, tmp_path: Path) -> Path:
    return write_base(KINDS[name], tmp_path / "base")


@pytest.fixture
def adapters(name: str, base: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two adapters of one base."""
    for number, folder in enumerate("ab"):
        make_adapted(KINDS[name], base, seed=number + 1).save_adapter(tmp_path / folder)
    return tmp_path / "a", tmp_path / "b"


def a_weight(model: PreTrainedModel) -> torch.nn.Parameter:
    return next(p for n, p in model.named_parameters() if n.endswith("intermediate.dense.weight"))


def load_other_weights(model: PreTrainedModel) -> None:
    state = {name: tensor + 0.01 if tensor.is_floating_point() else tensor for name, tensor in values(model).items()}
    model.load_state_dict(state)


def train_unfrozen(model: PreTrainedModel) -> None:
    weight = a_weight(model)
    weight.requires_grad_(True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    logits_of = model.train()(torch.arange(5, 15)[None]).logits
    logits_of.sum().backward()
    optimizer.step()
    weight.requires_grad_(False)


def swap_rows(model: PreTrainedModel) -> None:
    weight = a_weight(model)
    weight.data[[0, 1]] = weight.data[[1, 0]].clone()


CHANGES: dict[str, Callable[[PreTrainedModel], object]] = {
    "load_state_dict": load_other_weights,
    "an optimizer": train_unfrozen,
    "data": lambda model: a_weight(model).data.mul_(1.001),
    "one value": lambda model: a_weight(model).data[0, 0].add_(0.5),
    "copy_": lambda model: a_weight(model).detach().copy_(torch.zeros_like(a_weight(model))),
    "rows swapped": swap_rows,
    "another parameter": lambda model: setattr(
        model.get_submodule(f"{model.base_model_prefix}.encoder.layer.0.intermediate.dense"),
        "weight",
        torch.nn.Parameter(a_weight(model).detach() * 2),
    ),
    "a changed weight, then a cast": lambda model: (a_weight(model).data.mul_(1.5), model.double()),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("frozen", [True, False], ids=["with an adapter", "plain"])
def test_changed_weights_are_another_base(
    change: str, frozen: bool, name: str, base: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    kind = KINDS[name]
    model = make_adapted(kind, base) if frozen else load_base(kind, base, num_labels=3)
    original = model.base_sha256()
    CHANGES[change](model)
    assert model.base_sha256() != original
    with pytest.raises(ValueError, match="other weights"):
        model.load_adapter(adapters[1], "b")
    if frozen:
        model.save_adapter(tmp_path / "saved")
        metadata = json.loads((tmp_path / "saved" / "lora_metadata.json").read_text())
        assert metadata["base_sha256"] == model.base_sha256()
        assert metadata["base_model_name_or_path"] == "", "nobody else has that base"


@pytest.mark.parametrize(
    "cast",
    [
        lambda model: model.bfloat16(),
        lambda model: model.half(),
        lambda model: model.double(),
        lambda model: model.bfloat16().float(),
        lambda model: model.to(torch.float16).to(torch.bfloat16),
        lambda model: model.cast_frozen_parameters(torch.bfloat16) or model,
        copy.deepcopy,
    ],
    ids=["bfloat16", "half", "double", "there and back", "twice", "frozen part", "copy"],
)
@pytest.mark.parametrize("frozen", [True, False], ids=["with an adapter", "plain"])
def test_a_cast_is_the_same_base(
    cast: Callable[[PreTrainedModel], PreTrainedModel], frozen: bool, name: str, base: Path
) -> None:
    kind = KINDS[name]
    original = load_base(kind, base).base_sha256()
    model = make_adapted(kind, base) if frozen else load_base(kind, base)
    assert cast(model).base_sha256() == original


def test_head_and_class_are_no_part_of_the_identity(name: str, base: Path, tmp_path: Path) -> None:
    expected = load_base(KINDS[name], base).base_sha256()
    assert AutoModel.from_pretrained(base).base_sha256() == expected
    assert AutoModelForMaskedLM.from_pretrained(base).base_sha256() == expected
    AutoModelForMaskedLM.from_pretrained(base).save_pretrained(tmp_path / "again")
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "again").base_sha256() == expected


@pytest.mark.parametrize("merged_first", [True, False])
def test_a_merged_model_is_another_base(
    merged_first: bool, name: str, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(adapters[0])
    original = model.base_sha256()
    if merged_first:
        model.merge_adapter()
        assert model.base_sha256() == original, "the original weights are kept"
    plain = model.merge_and_unload()
    assert plain.base_sha256() not in (original, None)
    expected = values(plain)
    with pytest.raises(ValueError, match="other weights"):
        plain.load_adapter(adapters[1], "b")
    assert same_tensors(values(plain), expected)
    plain.save_pretrained(tmp_path / "merged")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert again.base_sha256() == plain.base_sha256()
    torch.manual_seed(0)
    on_merged = make_adapted(KINDS[name], tmp_path / "merged", seed=4)
    on_merged.save_adapter(tmp_path / "on-merged")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "on-merged")
    assert torch.equal(logits(loaded), logits(on_merged))


def test_a_state_dict_is_loaded_under_the_merged_adapter(name: str, base: Path) -> None:
    model, other = make_adapted(KINDS[name], base, seed=1), make_adapted(KINDS[name], base, seed=2)
    expected = logits(other)
    model.merge_adapter()
    model.load_state_dict(other.state_dict())
    assert torch.allclose(logits(model), expected, atol=1e-5)
    assert same_tensors(values(model), values(other))
    model.unmerge_adapter()
    assert torch.equal(logits(model), expected)
    assert model.base_sha256() == other.base_sha256()


WRITES: dict[str, Callable[[torch.nn.Parameter], object]] = {
    "data": lambda weight: weight.data.add_(1.0),
    "new data": lambda weight: setattr(weight, "data", weight.data * 2),
    "copy_": lambda weight: weight.detach().copy_(torch.zeros_like(weight)),
    "one value": lambda weight: weight.data[0, 0].add_(1e-3),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_into_a_merged_weight_is_not_lost(write: str, name: str, base: Path, tmp_path: Path) -> None:
    model = make_adapted(KINDS[name], base)
    model.merge_adapter()
    _, layer = next(lora_layers(model))
    WRITES[write](layer.weight)
    for attempt in (
        model.unmerge_adapter,
        model.merge_and_unload,
        model.state_dict,
        lambda: model.save_adapter(tmp_path / "saved"),
        lambda: model.save_pretrained(tmp_path / "saved"),
        model.half,
    ):
        with pytest.raises(ValueError, match="written to while an adapter was merged"):
            attempt()
    assert not (tmp_path / "saved").exists() or not list((tmp_path / "saved").glob("*.safetensors"))


def test_weights_that_nobody_else_has_are_no_base_by_name(tmp_path: Path) -> None:
    model = RobertaForSequenceClassification(RobertaConfig(**TINY))
    given = RobertaForSequenceClassification.from_pretrained(None, config=model.config, state_dict=model.state_dict())
    given.add_adapter(LoraConfig(r=2, lora_alpha=4), "default")
    given.save_adapter(tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == ""
    with pytest.raises(ValueError, match="does not say which base it belongs to"):
        RobertaForSequenceClassification.from_pretrained(tmp_path / "adapter")
