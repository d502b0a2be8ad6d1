"""Enums that explain themselves, and the models' output as dataclass, dict and tuple."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch.utils import _pytree as pytree

from transformers.utils.generic import ModelOutput, PaddingStrategy, TensorType


@dataclass
class Output(ModelOutput):
    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


def test_unknown_values_name_the_choices() -> None:
    assert PaddingStrategy("longest") is PaddingStrategy.LONGEST
    assert f"{TensorType.PYTORCH}" == "pt"
    with pytest.raises(ValueError, match="'up' is not a valid PaddingStrategy; choose from 'longest', 'max_length'"):
        PaddingStrategy("up")


def test_one_thing_seen_three_ways() -> None:
    logits = torch.ones(2)
    output = Output(logits=logits)
    assert output.logits is output["logits"] is output[0]
    assert list(output) == ["logits"]
    assert output.loss is None
    assert "loss" not in output
    output.loss = torch.tensor(1.0)
    assert list(output) == ["loss", "logits"]
    assert output[:2] == output.to_tuple() == (output.loss, logits)
    output["hidden_states"] = (logits,)
    assert output.hidden_states == (logits,)
    output.loss = None
    assert list(output) == ["logits", "hidden_states"]


def test_rebuilt_from_a_mapping_a_copy_or_a_tree() -> None:
    output = Output(logits=torch.ones(2), hidden_states=(torch.zeros(1),))
    doubled = pytree.tree_map(lambda tensor: tensor * 2, output)
    copies = [Output(dict(output)), pickle.loads(pickle.dumps(output)), copy.deepcopy(output), doubled]
    for other, factor in zip(copies, (1, 1, 1, 2), strict=True):
        assert isinstance(other, Output)
        assert list(other) == ["logits", "hidden_states"]
        assert torch.equal(other.logits, output.logits * factor)
        assert other.loss is None


def test_fields_are_fixed() -> None:
    output = Output(logits=torch.ones(2))
    with pytest.raises(TypeError, match="fields of Output are fixed"):
        del output["logits"]
    with pytest.raises(TypeError, match="fields of Output are fixed"):
        output.pop("logits")
    with pytest.raises(ValueError, match="Output has no field 'colour'"):
        Output({"colour": 1})


def _with_extra() -> Output:
    output = Output(logits=torch.ones(2))
    output["extra"] = torch.full((2,), 3.0)
    return output


def test_a_key_that_is_added_is_kept_behind_the_fields() -> None:
    output = _with_extra()
    assert output.extra is output["extra"] is output[-1]  # type: ignore[attr-defined]
    output.loss = torch.tensor(1.0)
    assert list(output) == [name for name, _ in output.items()] == ["loss", "logits", "extra"]
    assert len(output.to_tuple()) == 3
    output.extra = 4  # type: ignore[attr-defined]
    assert output["extra"] == 4
    output["extra"] = None
    assert list(output) == ["loss", "logits"]
    with pytest.raises(ValueError, match="'items' means something else on a Output"):
        output["items"] = 3


def test_an_added_key_survives_every_way_of_making_the_output_again() -> None:
    output = _with_extra()
    copies = [Output(dict(output)), pickle.loads(pickle.dumps(output)), copy.deepcopy(output), copy.copy(output)]
    copies += [output.copy(), output | {}, pytree.tree_map(lambda tensor: tensor.clone(), output)]
    for other in copies:
        assert isinstance(other, Output)
        assert list(other) == ["logits", "extra"]
        assert torch.equal(other.extra, output["extra"])  # type: ignore[attr-defined]
    assert dict(output | {"more": 1})["more"] == 1


@pytest.mark.parametrize("method", ["update", "setdefault", "popitem", "clear", "pop"])
def test_what_would_change_one_of_the_three_views_alone_is_refused(method: str) -> None:
    output = _with_extra()
    arguments = {"update": [{"logits": 1}], "setdefault": ["loss", 1], "pop": ["extra"]}.get(method, [])
    with pytest.raises(TypeError, match=f"'{method}' is not possible"):
        getattr(output, method)(*arguments)
    with pytest.raises(TypeError, match="is not possible"):
        output |= {"loss": 1}
    assert list(output) == ["logits", "extra"]
