"""Packing and unpacking: any mask, any shape of it, loses and invents nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from transformers.layers import packing
from transformers.layers.packing import GROUP_PADDING, PackedLayout, PackedOutput, group_rows


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Any mask: rows right-padded, left-padded, with holes, full, or empty. Shape: (B, L)."""
    length = draw(st.integers(1, 17))
    row = st.one_of(
        st.lists(st.integers(0, 1), min_size=length, max_size=length),
        st.integers(0, length).map(lambda n: [1] * n + [0] * (length - n)),
        st.integers(0, length).map(lambda n: [0] * (length - n) + [1] * n),
    )
    return torch.tensor(draw(st.lists(row, min_size=1, max_size=9)))


def _numbered(mask: Tensor) -> Tensor:
    """Give each place of the padded batch values of its own. Shape: (B, L, 2)."""
    return torch.arange(1, 2 * mask.numel() + 1, dtype=torch.float32).view(*mask.shape, 2)


@given(masks())
def test_round_trip_keeps_valid_positions_and_zeroes_the_rest(mask: Tensor) -> None:
    layout, padded = PackedLayout.from_mask(mask), _numbered(mask)
    packed = layout.pack(padded)
    assert packed.shape == (layout.tokens, 2)
    assert torch.equal(layout.unpack(packed), padded * mask[..., None])


@given(masks())
def test_each_valid_token_is_packed_once_and_valid_says_which(mask: Tensor) -> None:
    layout = PackedLayout.from_mask(mask)
    assert layout.token_index.unique().numel() == layout.tokens
    chosen = layout.pack(mask).bool()
    assert int(chosen.sum()) == int(mask.sum())
    if layout.valid is None:
        assert bool(chosen.all())
    else:
        assert torch.equal(layout.valid, chosen)


@given(masks())
def test_each_rows_first_valid_token(mask: Tensor) -> None:
    layout, padded = PackedLayout.from_mask(mask), _numbered(mask)
    first = layout.restore_rows(layout.first_tokens(layout.pack(padded)))
    for row in range(mask.shape[0]):
        columns = mask[row].nonzero()
        if columns.numel():
            assert torch.equal(first[row], padded[row, int(columns[0])])
        else:
            assert first[row, 0] in padded[row, :, 0], "an empty row borrowed another row's token"


@given(masks(), st.sampled_from([2, 3, 7, 32]))
def test_a_number_of_tokens_that_comes_again(mask: Tensor, sizes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SIZES", sizes)
        layout = PackedLayout.from_mask(mask, few_sizes=True)
    plain, padded = PackedLayout.from_mask(mask), _numbered(mask)
    assert layout.tokens % sizes == 0 or layout.tokens == plain.tokens
    assert abs(layout.tokens - plain.tokens) < sizes + mask.shape[1]
    packed = layout.pack(padded)
    assert torch.equal(layout.unpack(packed), padded * mask[..., None])
    assert layout.token_index.unique().numel() == layout.tokens
    assert layout.groups[0].length == max(group.length for group in layout.groups)  # as attention is told
    firsts = [each.restore_rows(each.first_tokens(each.pack(padded))) for each in (layout, plain)]
    filled = mask.sum(1) > 0
    assert torch.equal(firsts[0][filled], firsts[1][filled])
    keys = layout.key_mask
    attended = torch.ones(layout.tokens, dtype=torch.bool) if keys is None else keys
    assert int(attended[layout.pack(mask).bool()].sum()) == int(mask.sum())
    if filled.all():
        assert int(attended.sum()) == int(mask.sum())


@pytest.mark.parametrize(("tokens", "multiple"), [(300, 32), (1500, 64)])
def test_batches_of_like_sizes_have_few_numbers_of_tokens(tokens: int, multiple: int) -> None:
    found = set()
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(3, 2 * tokens // 16, (16, 1), generator=generator)
        lengths[0] = 2 * tokens // 16
        mask = torch.arange(int(lengths.max())) < lengths
        layout = PackedLayout.from_mask(mask, few_sizes=True)
        assert layout.tokens <= (int(mask.sum()) + multiple) * (1 + GROUP_PADDING)
        found.add(layout.tokens)
    assert sum(number % multiple == 0 for number in found) >= 0.9 * len(found)
    assert len(found) <= 15


@given(masks())
def test_rows_moved_to_their_first_valid_token(mask: Tensor) -> None:
    layout, padded = PackedLayout.from_mask(mask), _numbered(mask)
    moved = layout.start_rows(padded)
    for row in range(mask.shape[0]):
        first = int(mask[row].int().argmax())
        assert torch.equal(moved[row], padded[row].roll(-first, 0))


@given(masks())
def test_groups_are_slices_of_whole_rows_with_little_padding(mask: Tensor) -> None:
    layout = PackedLayout.from_mask(mask)
    rows = torch.arange(mask.shape[0])[:, None].expand(mask.shape)
    packed_rows, start, first_row = layout.pack(rows), 0, 0
    for group in layout.groups:
        assert (group.start, group.first_row) == (start, first_row)
        start, first_row = start + group.rows * group.length, first_row + group.rows
        tokens = group.tokens(packed_rows)  # (G, n)
        assert torch.equal(tokens, group.row_values(layout.row_order)[:, None].expand_as(tokens))
        window = [_window(mask[int(row)]) for row in tokens[:, 0]]
        assert max(window) == group.length
        assert sum(group.length - n for n in window) <= GROUP_PADDING * group.rows * group.length
    assert (start, first_row) == (layout.tokens, mask.shape[0])


def _window(row: Tensor) -> int:
    """Count the columns from a row's first to its last valid token; 1 for an empty row."""
    columns = row.nonzero()
    return int(columns[-1] - columns[0]) + 1 if columns.numel() else 1


@given(masks())
def test_key_masks_allow_exactly_the_valid_tokens_of_a_row(mask: Tensor) -> None:
    layout = PackedLayout.from_mask(mask)
    packed_mask = layout.pack(mask).bool()
    empty = mask.sum(1) == 0
    for group in layout.groups:
        own = group.tokens(packed_mask) | empty[group.row_values(layout.row_order)][:, None]
        allowed = torch.ones_like(own) if group.key_mask is None else group.key_mask
        assert torch.equal(allowed, own)
        assert bool(allowed.any(1).all()), "a row without any key gives NaN"


@given(masks())
def test_attentions_return_to_their_columns(mask: Tensor) -> None:
    layout = PackedLayout.from_mask(mask)
    columns = torch.arange(mask.shape[1]).expand(mask.shape)
    rows = torch.arange(mask.shape[0])[:, None].expand(mask.shape)
    number = layout.pack(rows * 10_000 + columns)
    probabilities = []
    for group in layout.groups:
        q, k = group.tokens(number)[:, None, :, None], group.tokens(number)[:, None, None, :] % 10_000
        p = (q * 100 + k).double().expand(-1, 2, -1, -1)
        keys = torch.ones_like(q) if group.key_mask is None else group.key_mask[:, None, None, :]
        probabilities.append(p * keys)
    unpacked = layout.unpack_attentions(probabilities)
    both = mask[:, None, :, None] * mask[:, None, None, :]
    expected = ((rows * 10_000 + columns)[:, None, :, None] * 100 + columns[:, None, None, :]) * both
    filled = mask.sum(1) > 0  # an empty row's single token attends to itself
    assert unpacked.shape == (mask.shape[0], 2, mask.shape[1], mask.shape[1])
    assert torch.equal(unpacked[filled], expected.double().expand_as(unpacked)[filled])


def test_padding_is_not_packed() -> None:
    mask = (torch.arange(128) < torch.tensor([[128], [32], [31], [4]])).long()
    assert PackedLayout.from_mask(mask).tokens <= (128 + 32 + 31 + 4) * (1 + GROUP_PADDING)


@pytest.mark.parametrize("mask", [torch.ones(3, 5), torch.ones(1, 1), torch.ones(4, 1)], ids=str)
def test_full_batches_have_one_group_and_no_masks(mask: Tensor) -> None:
    layout = PackedLayout.from_mask(mask)
    assert len(layout.groups) == 1
    assert layout.valid is None
    assert layout.groups[0].key_mask is None


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.long, torch.float32, torch.bfloat16])
def test_masks_of_any_dtype(dtype: torch.dtype) -> None:
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert torch.equal(PackedLayout.from_mask(mask.to(dtype)).token_index, PackedLayout.from_mask(mask).token_index)


def test_gradients_reach_valid_positions_alone() -> None:
    mask = torch.tensor([[0, 1, 1, 0], [1, 0, 1, 1]])
    padded = torch.randn(2, 4, 3, requires_grad=True)
    layout = PackedLayout.from_mask(mask)
    layout.unpack(layout.pack(padded)).sum().backward()
    assert torch.equal(padded.grad, mask[..., None].expand(2, 4, 3).float())


def test_output_gives_rows_in_the_batchs_order() -> None:
    mask = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
    layout, padded = PackedLayout.from_mask(mask), _numbered(mask)
    packed = layout.pack(padded)
    shown: list[Tensor] = []
    whole = PackedOutput(layout.show(layout.show(packed, shown), shown), layout, hidden_states=tuple(shown))
    first_only = PackedOutput(layout.first_tokens(packed), layout, first_token_only=True)
    expected = padded[torch.arange(3), torch.tensor([1, 0, 0])]
    assert torch.equal(whole.first_tokens(), expected)
    assert torch.equal(first_only.first_tokens(), expected)
    assert torch.equal(whole.last_hidden_state, packed)
    assert len(shown) == 2
    assert all(torch.equal(state, padded * mask[..., None]) for state in whole.hidden_states or ())
    assert whole.padded() is shown[-1]
    assert layout.show(packed, None) is packed


@pytest.mark.parametrize(
    ("shape", "message"), [((3,), "shape"), ((2, 3, 3), "shape"), ((0, 5), "empty"), ((3, 0), "empty")]
)
def test_masks_that_are_none(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackedLayout.from_mask(torch.ones(shape))


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (3, 5), (4, 3), (12,)])
def test_tensors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    layout = PackedLayout.from_mask(torch.ones(3, 4))
    with pytest.raises(ValueError, match="3 rows and 4 columns"):
        layout.pack(torch.zeros(shape))


def test_one_row_stands_for_all() -> None:
    layout = PackedLayout.from_mask(torch.tensor([[1, 1, 0], [1, 1, 1]]))
    row = torch.tensor([[7, 8, 9]])
    assert torch.equal(layout.pack(row), layout.pack(row.expand(2, 3)))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(0, 3000))
def test_groups_take_the_padding_that_is_free_and_no_more(lengths: list[int], free: int) -> None:
    lengths = sorted(lengths, reverse=True)
    groups = group_rows(lengths, free)
    assert [row for begin, end in groups for row in range(begin, end)] == list(range(len(lengths)))

    def fits(begin: int, end: int) -> bool:
        size = lengths[begin] * (end - begin)
        return size - sum(lengths[begin:end]) <= max(free, GROUP_PADDING * size)

    for begin, end in groups:
        assert fits(begin, end)
        assert end == len(lengths) or not fits(begin, end + 1), "no group could be larger"
