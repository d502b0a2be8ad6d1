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
