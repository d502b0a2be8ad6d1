"""Attention over row groups against the textbook formula on each row alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from transformers.layers.attention import attention_probabilities, grouped_attention
from transformers.layers.packing import PackedLayout

HEADS, SIZE = 2, 5

MASKS = {
    "right": [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]],
    "holes": [[1, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]],
    "full": [[1, 1, 1], [1, 1, 1]],
    "single": [[1], [1], [1]],
}


def _tensors(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Draw query, key and value of a padded batch. Shape of each: (B, L, H, d)."""
    drawn = torch.randn(3, *mask.shape, HEADS, SIZE, dtype=torch.float64)
    return tuple(tensor.requires_grad_() for tensor in drawn)  # type: ignore[return-value]


def _row_by_row(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, head_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Compute softmax(q·kᵀ/√d)·v over each row's valid tokens. Shapes: (B, L, H·d) and (B, H, L, L)."""
    rows, length = mask.shape
    context = torch.zeros(rows, length, HEADS * SIZE, dtype=q.dtype)
    attentions = torch.zeros(rows, HEADS, length, length, dtype=q.dtype)
    for row in range(rows):
        places = mask[row].nonzero()[:, 0]
        for head in range(HEADS):
            scores = q[row, places, head] @ k[row, places, head].T / math.sqrt(SIZE)
            p = torch.softmax(scores, -1) * head_mask[head]
            attentions[row, head, places[:, None], places[None]] = p
            context[row, places, head * SIZE : (head + 1) * SIZE] = p @ v[row, places, head]
    return context, attentions


@pytest.mark.parametrize("weighted", [False, True], ids=["all-heads", "head-mask"])
@pytest.mark.parametrize("with_probabilities", [False, True], ids=["fused", "explicit"])
@pytest.mark.parametrize("name", MASKS)
def test_equals_each_row_alone_with_gradients(name: str, with_probabilities: bool, weighted: bool) -> None:
    mask = torch.tensor(MASKS[name])
    inputs = _tensors(mask)
    head_mask = torch.tensor([0.5, 2.0], dtype=torch.float64) if weighted else None
    layout = PackedLayout.from_mask(mask)
    packed = [layout.pack(tensor) for tensor in inputs]
    ours, p = grouped_attention(*packed, layout, head_mask=head_mask, output_attentions=with_probabilities)
    factors = torch.ones(HEADS, dtype=torch.float64) if head_mask is None else head_mask
    wanted, wanted_p = _row_by_row(*inputs, mask, factors)
    # Probabilities are computed in fp32 by design; the fused kernel stays in fp64.
    tolerance = {"atol": 1e-6, "rtol": 1e-6} if with_probabilities or weighted else {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(layout.unpack(ours), wanted, **tolerance)
    assert (p is not None) == with_probabilities
    if p is not None:
        torch.testing.assert_close(p, wanted_p, **tolerance)
    weights = torch.randn(wanted.shape, dtype=torch.float64)
    ours_grads = torch.autograd.grad((layout.unpack(ours) * weights).sum(), inputs)
    wanted_grads = torch.autograd.grad((wanted * weights).sum(), inputs)
    for ours_grad, wanted_grad in zip(ours_grads, wanted_grads, strict=True):
        torch.testing.assert_close(ours_grad, wanted_grad, **tolerance)


@pytest.mark.parametrize("name", MASKS)
def test_one_query_a_row_equals_the_first_of_all(name: str) -> None:
    mask = torch.tensor(MASKS[name])
    layout = PackedLayout.from_mask(mask)
    q, k, v = (layout.pack(tensor) for tensor in _tensors(mask))
    everything, _ = grouped_attention(q, k, v, layout)
    first, _ = grouped_attention(layout.first_tokens(q), k, v, layout)
    torch.testing.assert_close(first, layout.first_tokens(everything))


def test_a_row_without_valid_tokens_gives_finite_numbers() -> None:
    mask = torch.tensor([[1, 1, 1], [0, 0, 0]])
    layout = PackedLayout.from_mask(mask)
    packed = [layout.pack(tensor) for tensor in _tensors(mask)]
    for with_probabilities in (False, True):
        context, _ = grouped_attention(*packed, layout, output_attentions=with_probabilities)
        assert bool(context.isfinite().all())


def test_dropout_drops_probabilities_and_keeps_the_mean() -> None:
    mask = torch.ones(64, 16, dtype=torch.long)
    layout = PackedLayout.from_mask(mask)
    q, k, _ = (layout.pack(tensor) for tensor in _tensors(mask))
    ones = torch.ones_like(q)  # so that the context is the sum of the probabilities
    context, p = grouped_attention(q, k, ones, layout, dropout_prob=0.25, output_attentions=True)
    assert p is not None
    assert abs(float((p == 0).double().mean()) - 0.25) < 0.01
    assert abs(float(context.detach().mean()) - 1) < 0.01
    torch.testing.assert_close(context.unflatten(-1, (HEADS, SIZE))[..., 0], layout.pack(p.sum(-1).transpose(1, 2)))


def test_probabilities_stay_finite_in_half_precision() -> None:
    scores = torch.tensor([[[[60000.0, 59000.0, -60000.0]]]], dtype=torch.float16)
    p = attention_probabilities(scores, torch.tensor([[[[True, True, False]]]]))
    assert p.dtype == torch.float16
    assert p[0, 0, 0].tolist() == [1.0, 0.0, 0.0]
