"""Hidden states and attentions that a call returns lie on the way to its loss, for saliency and attribution."""

from __future__ import annotations

import pytest
import torch
from head_models import HEADS, labels_for, loss_of, make_head, padded_batch

WANTED = {"output_hidden_states": True, "output_attentions": True}


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_a_loss_has_a_gradient_for_each(family: str, task: str, side: str) -> None:
    model, inputs = make_head(family, task), padded_batch(side, task)
    output = model(**inputs, **labels_for(task, inputs), **WANTED)
    outside = inputs["attention_mask"].flatten(0, -2) == 0
    for name in ("hidden_states", "attentions"):
        for gradient in torch.autograd.grad(loss_of(output), output[name], retain_graph=True):
            assert gradient.isfinite().all()
            assert gradient.any()
            if name == "hidden_states":
                assert not gradient[outside].any(), "what is not valid has no part in the loss"


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_a_change_of_what_is_returned_changes_the_loss_as_its_gradient_says(family: str, task: str) -> None:
    """The derivative along a direction in the embeddings' output equals that of inputs_embeds moved alike."""
    model, inputs = make_head(family, task), padded_batch("holes", task)
    labels = labels_for(task, inputs)
    embeddings = model.get_input_embeddings()(inputs.pop("input_ids")).detach().requires_grad_()
    output = model(**inputs, inputs_embeds=embeddings, **labels, **WANTED)
    first = output.hidden_states[0]
    first.retain_grad()
    loss_of(output).backward()
    wanted = torch.autograd.grad(loss_of(model(**inputs, inputs_embeds=embeddings, **labels)), embeddings)[0]
    torch.testing.assert_close(embeddings.grad, wanted, atol=1e-6, rtol=1e-4)
    assert first.grad is not None
    assert first.grad.any()


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_asking_changes_no_value_and_no_gradient(family: str, task: str) -> None:
    model, inputs = make_head(family, task), padded_batch("holes", task)
    inputs |= labels_for(task, inputs)
    results = []
    for wanted in ({}, WANTED):
        model.zero_grad()
        output = model(**inputs, **wanted)
        loss_of(output).backward()
        results.append((output.to_tuple()[0], {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-6, rtol=1e-5)
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name], atol=1e-5, rtol=1e-3, msg=name)


def test_under_gradient_checkpointing() -> None:
    model, inputs = make_head("deberta", "sequence-classification").train(), padded_batch()
    inputs |= labels_for("sequence-classification", inputs)
    model.gradient_checkpointing_enable()
    output = model(**inputs, **WANTED)
    gradients = torch.autograd.grad(output.loss, (output.hidden_states[0], output.attentions[0]))
    assert all(bool(each.any()) for each in gradients)
