"""Dropout: the right share, the right scale, the same elements in the gradient.

Bounds are five standard deviations of a binomial count, so they hold for any seed but not for a wrong scale.
"""

from __future__ import annotations

import math

import pytest
import torch

from transformers.layers.dropout import Dropout, dropout

COUNT = 400_001  # no multiple of four


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1 / 65536, 0.99])
def test_share_and_scale(p: float, dtype: torch.dtype) -> None:
    result = dropout(torch.ones(COUNT, dtype=dtype), p, training=True)
    kept = result[result != 0]
    deviation = math.sqrt(COUNT * p * (1 - p))
    assert abs(kept.numel() - COUNT * (1 - p)) <= 5 * deviation
    assert result.dtype == dtype
    assert kept.unique().numel() == 1
    exact = round(p * 65536) / 65536
    torch.testing.assert_close(kept[0], torch.tensor(1 / (1 - exact), dtype=dtype))


def test_elements_are_dropped_independently() -> None:
    kept = (dropout(torch.ones(COUNT - 1), 0.3, training=True) != 0).double() - 0.7
    for distance in (1, 2, 3, 4, 8):
        correlation = float((kept[:-distance] * kept[distance:]).mean()) / (0.3 * 0.7)
        assert abs(correlation) < 5 / math.sqrt(COUNT)


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (5, 7), (2, 3, 5), (0,), (3, 0), ()])
def test_gradient_uses_the_same_elements(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, dtype=torch.float64).add_(1).requires_grad_()
    result = dropout(x, 0.4, training=True)
    assert result.shape == x.shape
    weights = torch.rand(shape, dtype=torch.float64)
    result.backward(weights)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weights * result.detach() / x.detach())


def test_not_contiguous() -> None:
    x = torch.rand(40, 30).add_(1).t()
    result = dropout(x, 0.5, training=True)
    kept = result != 0
    torch.testing.assert_close(result[kept], 2 * x[kept])


def test_input_is_left_alone() -> None:
    x = torch.ones(100)
    dropout(x, 0.5, training=True)
    assert torch.equal(x, torch.ones(100))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_nothing_to_do(p: float, training: bool) -> None:
    x = torch.randn(10)
    state = torch.get_rng_state()
    assert dropout(x, p, training) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_probabilities_below_the_resolution_are_not_lost() -> None:
    assert int((dropout(torch.ones(4_000_000), 2e-6, training=True) == 0).sum()) <= 40
    assert int((dropout(torch.ones(1_000), 1 - 1e-7, training=True) != 0).sum()) == 0


def test_seed_decides_and_steps_differ() -> None:
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5, True), first)
    assert not torch.equal(first, second)


def test_layer_follows_the_mode() -> None:
    layer, x = Dropout(0.5), torch.ones(1000)
    assert 350 < int((layer(x) == 0).sum()) < 650
    assert layer.eval()(x) is x
    assert "p=0.5" in repr(layer)
