"""Scoring only the places whose label counts gives the same loss, gradients and scores as scoring all of them."""

from __future__ import annotations

import pytest
import torch
from head_models import labels_for, make_head, padded_batch

IGNORED = -100


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_scores_loss_and_gradients_are_those_of_all_places(family: str, side: str) -> None:
    model = make_head(family, "masked-lm")
    inputs = padded_batch(side)
    labels = labels_for("masked-lm", inputs)["labels"]
    labels[0, 0] = 5  # where the left side is padded: it must not count
    found = []
    for sparse in (False, True):
        model.sparse_prediction = sparse
        model.zero_grad()
        output = model(**inputs, labels=labels)
        output.loss.backward()
        found.append((output, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}))
    (whole, gradients), (sparse_output, sparse_gradients) = found
    counted = (labels != IGNORED) & (inputs["attention_mask"] == 1)
    torch.testing.assert_close(sparse_output.logits, whole.logits[counted], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sparse_output.loss, whole.loss, rtol=1e-6, atol=1e-6)
    assert gradients.keys() == sparse_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(sparse_gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_without_labels_or_without_any_that_counts() -> None:
    model = make_head("roberta", "masked-lm")
    inputs = padded_batch()
    whole = model(**inputs).logits
    model.sparse_prediction = True
    assert torch.equal(model(**inputs).logits, whole), "without labels all places are scored"
    output = model(**inputs, labels=torch.full_like(inputs["input_ids"], IGNORED))
    output.loss.backward()
    assert output.loss.item() == 0
    assert output.logits.shape == (0, model.config.vocab_size)
