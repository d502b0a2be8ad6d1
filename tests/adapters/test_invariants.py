"""A table of invariants of adapters, times a table of models (`adapter_models.KINDS`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapter_models import KINDS, Kind, batch, keep_head_in_fp32, load_base, logits, make_adapted, write_base
from tiny import same_tensors, values

from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.methods.lora.layers import lora_layers


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def base(kind: Kind, tmp_path: Path) -> Path:
    return write_base(kind, tmp_path / "base")


@pytest.fixture
def model(kind: Kind, base: Path) -> PreTrainedModel:
    return make_adapted(kind, base)


@pytest.fixture
def many(kind: Kind, base: Path, tmp_path: Path) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """A model with three adapters of different rank and number of labels, and the logits of each alone."""
    alone = {}
    for number, (r, num_labels) in enumerate([(2, 2), (4, 3), (8, 1)]):
        adapted = make_adapted(kind, base, seed=10 + number, r=r, num_labels=num_labels)
        adapted.save_adapter(tmp_path / f"a{number}")
        alone[f"a{number}"] = logits(adapted)
    together = load_base(kind, base)
    for name in alone:
        together.load_adapter(tmp_path / name, name)
    return together, alone


def test_round_trip(kind: Kind, model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_adapter(tmp_path / "adapter")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "adapter", dtype=kind.dtype)
    assert torch.equal(logits(again), logits(model))
    assert again.config.id2label == model.config.id2label


def test_loaded_onto_the_plain_base(kind: Kind, model: PreTrainedModel, base: Path, tmp_path: Path) -> None:
    model.save_adapter(tmp_path / "adapter")
    plain = load_base(kind, base)
    plain.load_adapter(tmp_path / "adapter", "task")
    assert plain.active_adapter == "task"
    assert torch.equal(logits(plain), logits(model))
    plain.save_adapter(tmp_path / "again")
    first, second = (tmp_path / name / "adapter_model.safetensors" for name in ("adapter", "again"))
    if not kind.biases:
        assert first.read_bytes() == second.read_bytes()


def test_merging_keeps_outputs_and_unmerging_restores_the_bits(kind: Kind, model: PreTrainedModel) -> None:
    before, state = logits(model), values(model)
    weights = [layer.weight.detach().clone() for _, layer in lora_layers(model)]
    model.merge_adapter()
    assert any(not torch.equal(w, layer.weight) for w, (_, layer) in zip(weights, lora_layers(model), strict=True))
    assert (logits(model) - before).abs().max() <= kind.tolerance
    assert same_tensors(values(model), state), "a merged model must save what an unmerged one does"
    model.unmerge_adapter()
    assert all(torch.equal(w, layer.weight) for w, (_, layer) in zip(weights, lora_layers(model), strict=True))
    assert torch.equal(logits(model), before)


def test_merging_twice_is_refused(model: PreTrainedModel) -> None:
    model.merge_adapter()
    merged = logits(model)
    with pytest.raises(ValueError, match="merged already"):
        model.merge_adapter()
    assert torch.equal(logits(model), merged)
    model.unmerge_adapter()
    with pytest.raises(ValueError, match="not merged"):
        model.unmerge_adapter()


def test_saved_while_merged(kind: Kind, model: PreTrainedModel, tmp_path: Path) -> None:
    before = logits(model)
    model.merge_adapter()
    model.save_adapter(tmp_path / "adapter")
    model.save_pretrained(tmp_path / "whole")
    for folder in ("adapter", "whole"):
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / folder, dtype=kind.dtype)
        assert torch.equal(logits(again), before), f"the {folder} saved while merged computes something else"


def test_training_while_merged_is_refused_and_goes_on_after(model: PreTrainedModel) -> None:
    labels = torch.arange(6) % 3
    model.merge_adapter()
    model.train()
    with pytest.raises(ValueError, match="unmerge it first"):
        model(**batch(), labels=labels)
    model.unmerge_adapter()
    before = values(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**batch(), labels=labels).loss.backward()
    optimizer.step()
    changed = {name for name, tensor in values(model).items() if not torch.equal(tensor, before[name])}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert changed
    assert changed <= trained


def test_merged_and_unloaded_is_plain(kind: Kind, model: PreTrainedModel, tmp_path: Path) -> None:
    before = logits(model)
    plain = model.merge_and_unload()
    assert not list(lora_layers(plain))
    assert not any("lora" in name for name in plain.state_dict())
    assert (logits(plain) - before).abs().max() <= kind.tolerance
    plain.save_pretrained(tmp_path / "plain")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain", dtype="auto")
    assert again.config.apply_lora is False
    assert (logits(again) - before).abs().max() <= kind.tolerance


def test_values_that_are_not_finite_are_not_merged(model: PreTrainedModel) -> None:
    state = values(model)
    _, layer = next(lora_layers(model))
    with torch.no_grad():
        layer.lora_B[0, 0] = float("inf")
    with pytest.raises(ValueError, match="not finite"):
        model.merge_adapter()
    after = values(model)
    assert all(torch.equal(after[name], state[name]) for name in state if "lora_B" not in name)
    assert not layer.merged


def test_switching(many: tuple[PreTrainedModel, dict[str, torch.Tensor]]) -> None:
    model, alone = many
    bases = {path: layer.weight for path, layer in lora_layers(model)}
    for name in ("a1", "a0", "a2", "a2", "a1"):
        model.set_adapter(name)
        assert model.active_adapter == name
        assert torch.equal(logits(model), alone[name])
        assert model.config.num_labels == alone[name].shape[1]
    assert all(layer.weight is bases[path] for path, layer in lora_layers(model)), "switching moved a base weight"


def test_a_mixed_batch_equals_each_row_alone(
    kind: Kind, many: tuple[PreTrainedModel, dict[str, torch.Tensor]]
) -> None:
    model, alone = many
    names = ["a0", "a2", "a1", "a2", "a0", "a1"]
    mixed = logits(model, adapter_names=names)
    assert mixed.shape == (6, 3)
    for row, name in enumerate(names):
        width = alone[name].shape[1]
        assert (mixed[row, :width] - alone[name][row]).abs().max() <= kind.tolerance
        assert (mixed[row, width:] == float("-inf")).all()
    model.set_adapter("a1")
    assert torch.equal(logits(model), alone["a1"]), "a mixed batch must leave the active adapter as it was"


def test_disabled_is_the_base(kind: Kind, model: PreTrainedModel, base: Path) -> None:
    plain = keep_head_in_fp32(load_base(kind, base, num_labels=3))
    head = {name: tensor for name, tensor in model.state_dict().items() if not model.is_base_parameter(name)}
    plain.load_state_dict(head, strict=False)
    expected = logits(plain)  # the base as it was loaded, biases included
    with model.disable_adapter():
        assert torch.equal(logits(model), expected)
    assert not torch.equal(logits(model), expected)
    model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(logits(model), expected)


def test_deleting(many: tuple[PreTrainedModel, dict[str, torch.Tensor]]) -> None:
    model, alone = many
    model.delete_adapter("a0")  # the active one: another takes over
    assert torch.equal(logits(model), alone[str(model.active_adapter)])
    assert model.loaded_adapters == ["a1", "a2"]
    with pytest.raises(ValueError, match="no adapter 'a0'"):
        model.set_adapter("a0")
    model.delete_adapter("a2")
    with pytest.raises(ValueError, match="only adapter"):
        model.delete_adapter("a1")


def test_another_base_is_refused(kind: Kind, model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_adapter(tmp_path / "adapter")
    other = load_base(kind, write_base(kind, tmp_path / "other", seed=9))
    before = values(other)
    with pytest.raises(ValueError, match="was trained on") as error:
        other.load_adapter(tmp_path / "adapter", "task")
    assert str(tmp_path / "base") in str(error.value)
    assert str(tmp_path / "other") in str(error.value)
    assert same_tensors(values(other), before)
    assert not list(lora_layers(other))


def test_damaged_weights_are_refused(kind: Kind, model: PreTrainedModel, base: Path, tmp_path: Path) -> None:
    model.save_adapter(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(damaged)
        plain = load_base(kind, base)
        before = values(plain)
        with pytest.raises(ValueError, match="adapter_model"):
            plain.load_adapter(tmp_path / "adapter", "task")
        assert same_tensors(values(plain), before)
