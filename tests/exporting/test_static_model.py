"""A model as one graph gives what the model gives: every head, every method, any mask, any length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_models import HEADS, make_head, padded_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_models import CHOICES
from tiny import random_ids, same_tensors, shake, tiny_config, values
from torch import Tensor

from transformers import PreTrainedModel, RobertaForSequenceClassification
from transformers.exporting.static_model import StaticModel
from transformers.layers.inputs import EncoderInputs
from transformers.layers.packing import PackedLayout
from transformers.layers.padded import PaddedLayout

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def _check(model: PreTrainedModel, static: StaticModel, inputs: dict[str, Tensor]) -> None:
    """Compare a model's outputs with its graph's."""
    with torch.no_grad():
        output, found = model(**inputs), static(**inputs)
    assert len(found) == len(static.output_names)
    for name, value in zip(static.output_names, found, strict=True):
        torch.testing.assert_close(value, output[name], **CLOSE)


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_every_head(family: str, task: str, side: str) -> None:
    model = make_head(family, task)
    before = values(model)
    _check(model, StaticModel(model), padded_batch(side, task))
    assert same_tensors(values(model), before)
    assert not model.base_model.static_shapes


@pytest.mark.parametrize("method", CHOICES)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_every_method(family: str, method: str) -> None:
    model = make_head(family, "sequence-classification", **CHOICES[method])
    shake(model)
    static = StaticModel(model)
    assert not any(".lora_" in name for name, _ in static.named_parameters())
    _check(model, static, padded_batch())


@pytest.mark.parametrize(
    "fields",
    [
        {"position_biased_input": True, "type_vocab_size": 2, "conv_kernel_size": 0},
        {"share_att_key": False, "pos_att_type": "c2p"},
        {"pos_att_type": "p2c", "position_buckets": -1, "max_relative_positions": 5},
        {"relative_attention": False, "position_biased_input": True, "position_buckets": -1},
    ],
)
def test_debertas_kinds_of_positions(fields: dict[str, Any]) -> None:
    model = make_head("deberta", "token-classification", **fields)
    inputs = padded_batch("holes")
    if fields.get("type_vocab_size"):
        inputs["token_type_ids"] = (inputs["input_ids"] % 2).clamp(max=1)
    static = StaticModel(model)
    assert ("token_type_ids" in static.input_names) == bool(fields.get("type_vocab_size"))
    _check(model, static, inputs)


def test_distances_far_beyond_the_table() -> None:
    model = make_head("deberta", "base")
    ids = random_ids(2, 300)
    _check(model, StaticModel(model), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4))
def test_any_mask(rows: list[list[bool]]) -> None:
    mask = torch.tensor(rows).long()
    values = torch.randn(*mask.shape, 3)
    packed, padded = PackedLayout.from_mask(mask), PaddedLayout.from_mask(mask)
    assert torch.equal(padded.unpack(padded.pack(values)), packed.unpack(packed.pack(values)))
    assert torch.equal(padded.valid_places(), packed.valid_places())
    firsts = packed.restore_rows(packed.first_tokens(packed.pack(values)))
    assert torch.equal(padded.restore_rows(padded.first_tokens(padded.pack(values))), firsts)
    model = make_head("deberta", "sequence-classification")
    ids = random_ids(len(rows), 5)
    with torch.no_grad():
        found = StaticModel(model)(ids, mask)[0]
        torch.testing.assert_close(found, model(ids, attention_mask=mask).logits, **CLOSE)


@pytest.mark.parametrize(
    ("family", "task"), [("roberta", "sequence-classification"), ("deberta", "question-answering")]
)
def test_one_graph_for_the_compiler(family: str, task: str) -> None:
    torch._dynamo.reset()
    model = make_head(family, task)
    compiled = torch.compile(StaticModel(model), fullgraph=True, backend="eager", dynamic=True)
    for side in ("right", "holes"):
        inputs = padded_batch(side, task)
        with torch.no_grad():
            output = model(**inputs)
            for value, name in zip(compiled(**inputs), StaticModel(model).output_names, strict=True):
                torch.testing.assert_close(value, output[name], **CLOSE)


def test_scores_are_the_outputs_of_forward() -> None:
    for family, task in HEADS:
        model, inputs = make_head(family, task), padded_batch("holes", task)
        with torch.no_grad():
            output, scores = model(**inputs), model.scores(EncoderInputs(**inputs))
        assert all(torch.equal(value, output[name]) for name, value in scores.items())
        assert set(scores) == set(output)


def test_a_merged_adapter_and_another_that_waits() -> None:
    model = RobertaForSequenceClassification(tiny_config(apply_lora=True, lora_r=2, lora_alpha=4)).eval()
    shake(model)
    model.add_adapter("other", lora_r=3, lora_alpha=3)
    model.set_adapter("other")
    shake(model, 2)
    model.merge_adapter()
    inputs = padded_batch()
    static = StaticModel(model)
    _check(model, static, inputs)
    model.unmerge_adapter()
    _check(model, static, inputs)
    assert sorted(model.loaded_adapters) == ["default", "other"]
    model.set_adapter("default")
    with torch.no_grad():
        assert not torch.allclose(static(**inputs)[0], model(**inputs).logits, atol=1e-3), "it is the other's"


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear is no model of this package"):
        StaticModel(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
