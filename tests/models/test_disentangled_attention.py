"""Disentangled attention: positions listed by hand, and equality with attention written out plainly, on any mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from transformers.layers.packing import PackedLayout
from transformers.models.deberta_v2.disentangled_attention import disentangled_attention
from transformers.models.deberta_v2.disentangled_scores import fused_scores, plain_scores
from transformers.models.deberta_v2.relative_positions import (
    RelativePositions,
    log_buckets,
    relative_positions,
    rows_of_all_distances,
    table_rows,
)

HEADS, SIZE = 2, 4


def test_relative_positions_fall() -> None:
    assert relative_positions(1).tolist() == [0]
    assert relative_positions(4).tolist() == [3, 2, 1, 0, -1, -2, -3]


def test_log_buckets_listed() -> None:
    # 8 buckets: distances up to 4 are alone; 15 = 16 - 1 comes into the last one, 7.
    wanted = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 5, 7: 6, 8: 6, 9: 6, 10: 7, 14: 7, 15: 7, 16: 8, 20: 8}
    distances = torch.tensor(list(wanted))
    assert log_buckets(distances, 8, 16).tolist() == list(wanted.values())
    assert log_buckets(-distances, 8, 16).tolist() == [-bucket for bucket in wanted.values()]


def test_log_buckets_of_the_published_models() -> None:
    buckets = log_buckets(torch.arange(512), 256, 512)
    assert buckets[:129].tolist() == list(range(129))
    assert [int(buckets[distance]) for distance in (130, 200, 300, 400, 511)] == [130, 169, 207, 233, 255]


@given(st.integers(2, 64), st.integers(0, 500))
def test_log_buckets_rise_and_end_at_the_last(buckets: int, more: int) -> None:
    max_distance = buckets // 2 + 2 + more
    found = log_buckets(torch.arange(max_distance), buckets, max_distance)
    assert bool((found.diff() >= 0).all())
    assert int(found[-1]) - (2 * (buckets // 2) - 1) in (0, 1)  # rounding in fp32 may lift the last distance by one


@pytest.mark.parametrize(
    ("length", "span", "buckets", "max_distance", "wanted"),
    [
        (1, 3, -1, 3, [3]),
        (3, 3, -1, 3, [5, 4, 3, 2, 1]),
        (5, 3, -1, 3, [5, 5, 5, 4, 3, 2, 1, 0, 0]),  # distances 3 and 4 share the last row, -3 and -4 the first
        (6, 4, 4, 8, [7, 7, 7, 6, 5, 4, 3, 2, 1, 1, 1]),  # buckets of 5 … -5: 3 3 3 2 1 0 -1 -2 -3 -3 -3
    ],
)
def test_table_rows_listed(length: int, span: int, buckets: int, max_distance: int, wanted: list[int]) -> None:
    assert table_rows(length, span, buckets, max_distance).tolist() == wanted


def test_each_relative_embedding_that_occurs_is_taken_once() -> None:
    table = nn.Embedding(8, 3)
    rows = table_rows(6, 4, 4, 8)
    positions = RelativePositions.from_table(table, rows, torch.device("cpu"))
    assert positions.embeddings.shape == (7, 3)
    assert torch.equal(positions.by_distance(positions.embeddings), table.weight[rows])


def _plain(q: Tensor, k: Tensor, v: Tensor, k_pos: Tensor | None, q_pos: Tensor | None, keep: Tensor) -> Tensor:
    """Attend within one row, entry by entry. Shapes: (n, H, d), positions (2n - 1, H, d) falling; to (n, H·d)."""
    length = q.shape[0]
    scores = torch.einsum("ihd,jhd->hij", q, k)
    for i in range(length):
        for j in range(length):
            place = length - 1 - (i - j)
            if k_pos is not None:
                scores[:, i, j] += (q[i] * k_pos[place]).sum(-1)
            if q_pos is not None:
                scores[:, i, j] += (k[j] * q_pos[place]).sum(-1)
    terms = 1 + (k_pos is not None) + (q_pos is not None)
    scores = (scores / (q.shape[-1] * terms) ** 0.5).masked_fill(~keep, float("-inf"))
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1)


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Any mask with a valid token in each row. Shape: (B, L)."""
    length = draw(st.integers(1, 9))
    rows = draw(st.lists(st.lists(st.integers(0, 1), min_size=length, max_size=length), min_size=1, max_size=5))
    mask = torch.tensor(rows)
    mask[mask.sum(1) == 0, draw(st.integers(0, length - 1))] = 1
    return mask


def _inputs(layout: PackedLayout, seed: int = 0, scale: float = 1.0) -> list[Tensor]:
    """Draw query, key, value and both positions of the longest row."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(group.length for group in layout.groups)
    counts = [layout.tokens] * 3 + [2 * longest - 1] * 2
    return [scale * torch.randn(count, HEADS, SIZE, generator=generator, dtype=torch.float64) for count in counts]


@settings(deadline=None)
@given(masks(), st.booleans(), st.booleans())
def test_equals_plain_attention_on_any_mask(mask: Tensor, c2p: bool, p2c: bool) -> None:
    layout = PackedLayout.from_mask(mask)
    query, key, value, k_pos, q_pos = _inputs(layout)
    k_pos, q_pos = (k_pos if c2p else None), (q_pos if p2c else None)
    found, _ = disentangled_attention(query, key, value, k_pos, q_pos, layout)
    firsts, _ = disentangled_attention(layout.first_tokens(query), key, value, k_pos, q_pos, layout)
    longest = max(group.length for group in layout.groups)
    for group in layout.groups:
        middle = slice(longest - group.length, longest + group.length - 1)
        positions = [None if x is None else x[middle] for x in (k_pos, q_pos)]
        q, k, v, ours = (group.tokens(x) for x in (query, key, value, found))
        keep = torch.ones(group.rows, group.length, dtype=torch.bool) if group.key_mask is None else group.key_mask
        for row in range(group.rows):
            wanted = _plain(q[row], k[row], v[row], *positions, keep[row])
            torch.testing.assert_close(ours[row], wanted, atol=1e-5, rtol=1e-5)  # the softmax is in fp32
            first = int(keep[row].int().argmax())
            torch.testing.assert_close(group.row_values(firsts)[row], wanted[first], atol=1e-5, rtol=1e-5)


def test_gradients_of_the_scores() -> None:
    shapes = [(HEADS, 3, 4, SIZE), (HEADS, 3, 4, SIZE), (HEADS, 7, SIZE), (HEADS, 7, SIZE)]
    inputs: list[Any] = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(fused_scores, inputs)
    assert torch.autograd.gradcheck(fused_scores, [*inputs[:2], None, inputs[3]])
    assert torch.autograd.gradcheck(fused_scores, [*inputs[:3], None])


@pytest.mark.parametrize("length", [1, 2, 5])
def test_plain_scores_are_the_fused_ones(length: int) -> None:
    query, key = torch.randn(2, HEADS, 3, length, SIZE)
    position_key, position_query = torch.randn(2, HEADS, 2 * length - 1, SIZE)
    for c2p, p2c in ((position_key, position_query), (position_key, None), (None, position_query), (None, None)):
        torch.testing.assert_close(plain_scores(query, key, c2p, p2c), fused_scores(query, key, c2p, p2c))


@pytest.mark.parametrize(("span", "buckets", "furthest"), [(8, 8, 24), (256, 256, 512), (5, -1, 5), (4, 4, 4)])
def test_rows_of_all_distances(span: int, buckets: int, furthest: int) -> None:
    rows = rows_of_all_distances(span, buckets, furthest)
    table = nn.Embedding(2 * span, 3)
    for length in (1, 2, 7, 3 * rows.shape[0]):  # the last is longer than all that is listed
        found = RelativePositions.of_length(table, rows, length)
        assert torch.equal(found.rows, table_rows(length, span, buckets, furthest))


class _IndexSizes(TorchDispatchMode):
    """Notes the size of every tensor of whole numbers that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype in (torch.int32, torch.int64):
            self.largest = max(self.largest, result.numel())
        return result


def test_no_index_of_the_scores_size() -> None:
    layout = PackedLayout.from_mask(torch.ones(4, 50))
    inputs = [x.requires_grad_() for x in _inputs(layout)]
    with _IndexSizes() as sizes:
        context, _ = disentangled_attention(*inputs, layout)
        context.sum().backward()
        firsts, _ = disentangled_attention(layout.first_tokens(inputs[0]), *inputs[1:], layout)
        firsts.sum().backward()
    assert sizes.largest <= layout.tokens


@pytest.mark.parametrize("one_query", [False, True])
def test_fp16_where_unscaled_products_overflow(one_query: bool) -> None:
    layout = PackedLayout.from_mask(torch.ones(1, 6))
    query = torch.full((6, 1, 64), 32.0).half()
    key = (33 + torch.arange(6.0) / 2)[:, None, None].expand(6, 1, 64).half()
    value, zeros = torch.randn(6, 1, 64).half(), torch.zeros(11, 1, 64).half()
    assert bool((query.float() * key.float()).sum(-1).gt(65504).all())
    first = layout.first_tokens(query) if one_query else query
    context, _ = disentangled_attention(first, key, value, zeros, zeros, layout)
    assert torch.equal(context, value[-1].expand_as(context))  # the scores rise by 74 from key to key: the last wins


@pytest.mark.parametrize("one_query", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close_at_usual_sizes(dtype: torch.dtype, one_query: bool) -> None:
    layout = PackedLayout.from_mask(torch.tensor([[1] * 12, [1] * 7 + [0] * 5]))
    half = [x.to(dtype) for x in _inputs(layout)]
    full = [x.float() for x in half]
    if one_query:
        half[0], full[0] = layout.first_tokens(half[0]), layout.first_tokens(full[0])
    wanted, _ = disentangled_attention(*full, layout)
    found, _ = disentangled_attention(*half, layout)
    tolerance = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("one_query", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_adversarial_activations_stay_finite(dtype: torch.dtype, one_query: bool) -> None:
    layout = PackedLayout.from_mask(torch.tensor([[1] * 12, [1] * 7 + [0] * 5, [0, 1, 0, 1] * 3]))
    inputs = [x.to(dtype) for x in _inputs(layout, scale=3000.0)]  # products up to 1e8, of both signs
    inputs = [x.requires_grad_() for x in inputs]
    query = layout.first_tokens(inputs[0]) if one_query else inputs[0]
    context, _ = disentangled_attention(query, *inputs[1:], layout)
    (context.float() / 1e6).sum().backward()
    assert bool(context.isfinite().all())
    for x in inputs:
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    layout = PackedLayout.from_mask(torch.ones(8, 30))
    inputs = _inputs(layout)
    _, plain = disentangled_attention(*inputs, layout, output_attentions=True)
    _, dropped = disentangled_attention(*inputs, layout, dropout_prob=0.25, output_attentions=True)
    assert plain is not None
    assert dropped is not None
    zeros = dropped == 0
    assert abs(float(zeros.double().mean()) - 0.25) < 0.02
    torch.testing.assert_close(dropped[~zeros], plain[~zeros] / 0.75)
