"""For every head: padding and company change no text and cost nothing, and no label counts where the mask is 0."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_models import HEADS, labels_for, loss_of, make_head, padded_batch
from torch import Tensor

from transformers.layers import packing

TOLERANCE = {"atol": 5e-6, "rtol": 1e-4}
OF_TOKENS = ("masked-lm", "causal-lm", "token-classification", "question-answering")
TOKEN_HEADS = [(family, task) for family, task in HEADS if task in OF_TOKENS]


def _scores(output: Any) -> list[Tensor]:
    """Give what a head computed for tokens or texts."""
    names = ("last_hidden_state", "logits", "start_logits", "end_logits")
    return [output[name] for name in names if name in output]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("family", "task"), TOKEN_HEADS)
def test_a_text_in_a_batch_is_the_text_alone(family: str, task: str, side: str) -> None:
    model, inputs = make_head(family, task), padded_batch(side)
    outside = inputs["attention_mask"] == 0
    with torch.no_grad():
        together = _scores(model(**inputs))
        for row in range(len(outside)):
            text = inputs["input_ids"][row][~outside[row]]
            for ours, alone in zip(together, _scores(model(text[None])), strict=True):
                torch.testing.assert_close(ours[row][~outside[row]], alone[0], **TOLERANCE)
    for scores in together:
        least = torch.finfo(scores.dtype).min if task == "question-answering" else 0.0
        assert (scores[outside] == least).all()


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_what_stands_outside_of_the_mask_does_not_matter(family: str, task: str) -> None:
    model, inputs = make_head(family, task), padded_batch("holes", task)
    outside = inputs["attention_mask"] == 0
    others = {**inputs, "input_ids": inputs["input_ids"].masked_fill(outside, 33)}
    some = {**inputs, "input_ids": inputs["input_ids"].masked_fill(outside, 44)}
    with torch.no_grad():
        for first, second in zip(_scores(model(**others)), _scores(model(**some)), strict=True):
            assert torch.equal(first, second)


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_padding_is_not_computed(family: str, task: str) -> None:
    model, inputs = make_head(family, task), padded_batch(task=task)
    tokens: list[int] = []
    layer: Any = model.base_model.encoder.layer[0]  # type: ignore[union-attr,index]
    layer.intermediate.register_forward_hook(lambda module, given, output: tokens.append(len(output)))
    wider = {name: torch.nn.functional.pad(each, (0, 11)) for name, each in inputs.items()}
    with torch.no_grad():
        found, padded = _scores(model(**inputs)), _scores(model(**wider))
    assert tokens[0] == tokens[1] <= int(inputs["attention_mask"].sum() * 17 / 16)
    for ours, same in zip(found, padded, strict=True):
        torch.testing.assert_close(same[:, : ours.shape[1]], ours, **TOLERANCE)


@pytest.mark.parametrize(("family", "task"), [each for each in HEADS if each[1] != "base"])
def test_labels_where_the_mask_is_0_do_not_count(family: str, task: str) -> None:
    model, inputs = make_head(family, task), padded_batch("holes", task)
    labels = labels_for(task, inputs)
    expected = model(**inputs, **labels).loss
    outside = inputs["attention_mask"] == 0
    for name, each in labels.items():
        changed = each.clone()
        if each.shape == outside.shape:
            changed[outside] = 1
        elif task == "question-answering":
            valid_columns = outside.shape[1] + 3
            changed = torch.cat([each, torch.tensor([valid_columns])])
            more = {key: torch.cat([value, value[:1]]) for key, value in inputs.items()}
            both = {key: torch.cat([value, torch.tensor([valid_columns])]) for key, value in labels.items()}
            torch.testing.assert_close(model(**more, **both).loss, expected)
            continue
        torch.testing.assert_close(model(**inputs, **{**labels, name: changed}).loss, expected)


@pytest.mark.parametrize(("family", "task"), [each for each in HEADS if each[1] != "base"])
def test_a_batch_without_a_label_that_counts_has_a_loss_of_0(family: str, task: str) -> None:
    model, inputs = make_head(family, task).train(), padded_batch(task=task)
    nothing = 10**6 if task == "question-answering" else -100
    labels = {name: torch.full_like(each, nothing) for name, each in labels_for(task, inputs).items()}
    loss = model(**inputs, **labels).loss
    assert float(loss.detach()) == 0
    loss.backward()
    assert not any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_a_row_without_any_token_harms_no_other(family: str, task: str) -> None:
    model, inputs = make_head(family, task).train(), padded_batch(task=task)
    labels = labels_for(task, inputs)
    expected = _scores(model(**inputs))
    inputs["attention_mask"][-1, ...] = 0
    output = model(**inputs, **labels)
    for ours, same in zip(_scores(output), expected, strict=True):
        torch.testing.assert_close(ours[:-1], same[:-1], **TOLERANCE)
        assert ours.isfinite().all()
    if labels:
        output.loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("side", ["right", "holes"])
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_groups_with_much_padding_compute_the_same(
    family: str, task: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU rows of unlike length stand in one group: outputs and gradients stay."""
    model, inputs = make_head(family, task), padded_batch(side, task)
    inputs = {**inputs, **labels_for(task, inputs)}
    found = []
    for padding in (packing.GROUP_PADDING, 1.0):
        monkeypatch.setattr(packing, "GROUP_PADDING", padding)
        model.zero_grad()
        output = model(**inputs)
        loss_of(output).backward()
        found.append([*_scores(output), *(p.grad for p in model.parameters() if p.grad is not None)])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, atol=2e-5, rtol=1e-3)
