"""Which adapter a call uses belongs to the call: threads compute with different adapters of one model at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adapter_models import KINDS, Kind, batch, load_base, logits, make_adapted, write_base
from tiny import same_tensors, values
from torch import Tensor

from transformers import PreTrainedModel
from transformers.methods.lora.layers import lora_layers

ROUNDS = 12


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def model(kind: Kind, tmp_path: Path) -> PreTrainedModel:
    """A model with two adapters of different rank and number of labels; the first is active."""
    base = write_base(kind, tmp_path / "base")
    together = load_base(kind, base)
    for number, name in enumerate(("first", "second")):
        make_adapted(kind, base, seed=number + 1, r=2 + 2 * number, num_labels=2 + number).save_adapter(
            tmp_path / name
        )
        together.load_adapter(tmp_path / name, name)
    return together.eval()


def disabled(model: PreTrainedModel) -> Tensor:
    with model.disable_adapter():
        return logits(model)


CALLS: dict[str, Callable[[PreTrainedModel], Tensor]] = {
    "the active adapter": logits,
    "another adapter": lambda model: logits(model, adapter_names=["second"] * 6),
    "both": lambda model: logits(model, adapter_names=["first", "second"] * 3),
    "both, the other way round": lambda model: logits(model, adapter_names=["second", "first"] * 3),
    "none": disabled,
}


def test_threads_do_not_see_each_other_s_adapters(model: PreTrainedModel) -> None:
    expected = {name: call(model) for name, call in CALLS.items()}
    state = values(model)
    start = threading.Barrier(len(CALLS))
    wrong: list[str] = []

    def repeat(name: str) -> None:
        start.wait()
        for _ in range(ROUNDS):
            try:
                if not torch.equal(CALLS[name](model), expected[name]):
                    wrong.append(name)
            except Exception as error:
                wrong.append(f"{name}: {error!r}")

    threads = [threading.Thread(target=repeat, args=(name,)) for name in CALLS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert same_tensors(values(model), state), "a call leaves the model as it is"


def test_an_error_in_a_call_leaves_the_model_as_it_was(model: PreTrainedModel) -> None:
    expected = logits(model)
    with pytest.raises(ValueError, match="no adapter 'third'"):
        logits(model, adapter_names=["first", "third"] * 3)
    with pytest.raises(ZeroDivisionError), model.disable_adapter():
        1 / 0  # noqa: B018
    assert torch.equal(logits(model), expected)


def test_two_models_are_apart_inside_disable_adapter(model: PreTrainedModel, kind: Kind, tmp_path: Path) -> None:
    other = make_adapted(kind, tmp_path / "base", seed=9)
    expected = logits(other)
    with model.disable_adapter():
        assert torch.equal(logits(other), expected)


def test_the_encoder_alone_is_disabled_with_its_model(model: PreTrainedModel) -> None:
    adapted = model.base_model(**batch())[0]
    with model.disable_adapter(), torch.no_grad():
        plain = model.base_model(**batch())[0]
    assert not torch.equal(adapted, plain)
    assert torch.equal(model.base_model(**batch())[0], adapted)


def test_scaling_is_one_fact(model: PreTrainedModel) -> None:
    before = logits(model)
    for _, layer in lora_layers(model):
        layer.scaling = 3 * layer.scaling  # as loralib's users do
    unmerged = logits(model)
    assert not torch.allclose(unmerged, before)
    model.merge_adapter()
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.3
    assert torch.allclose(logits(model).float(), unmerged.float(), atol=tolerance)
    model.unmerge_adapter()
    if model.dtype == torch.float32:
        assert torch.allclose(logits(model, adapter_names=["first"] * 6), unmerged, atol=1e-5)
    model.set_adapter("second")
    model.set_adapter("first")
    assert torch.equal(logits(model), unmerged), "switching keeps what was set"
