"""Compiled attention against the plain operations it stands for, its products in registers and on matrix units."""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch
from kernel_ways import DTYPES, both_ways, check_close, masks
from torch import Tensor
from torch.nn import functional

from transformers.kernels import calls, compiling
from transformers.layers.attention import grouped_attention
from transformers.layers.packing import PackedLayout
from transformers.models.deberta_v2.disentangled_attention import disentangled_attention

pytestmark = pytest.mark.usefixtures("compiled")

IN_REGISTERS, ON_MATRIX_UNITS = False, True
LENGTHS = [[1], [7, 3, 3], [17, 16, 16, 5, 1, 17], [600, 31], [130, 64, 63, 65, 128, 2, 2, 2, 2, 2]]


def floor_of(lengths: list[int]) -> float:
    """Give a floor for `check_close`: the gradients of a single key's score are zero but for rounding."""
    return 1.0 if max(lengths) == 1 else 1e-3


PRODUCTS = [(torch.float32, IN_REGISTERS), (torch.bfloat16, IN_REGISTERS), (torch.bfloat16, ON_MATRIX_UNITS)]


def multiply_on(tiles: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attention of a dtype multiply on matrix units, or in registers though there are such units."""
    library = compiling.load()
    assert library is not None
    if tiles and not calls.has_tiles(library, dtype):
        pytest.skip("needs matrix units")
    assert calls._compiled is not None
    monkeypatch.setitem(calls._compiled, dtype, calls.Kernels(library, dtype, tiles))


def test_matrix_units_are_used_where_pytorch_finds_them() -> None:
    library = compiling.load()
    assert library is not None
    found = torch.cpu._is_amx_tile_supported() and torch.cpu._init_amx()
    assert calls.has_tiles(library, torch.bfloat16) == found
    assert not calls.has_tiles(library, torch.float32)
    assert calls._compiled is not None
    assert calls._compiled[torch.bfloat16]._attend.__name__ == (
        "attend_bfloat16_tiles" if found else "attend_bfloat16"
    )


@pytest.mark.parametrize(("dtype", "tiles"), PRODUCTS)
@pytest.mark.parametrize("p", [0.0, 0.1])
@pytest.mark.parametrize("holes", [True, False])
@pytest.mark.parametrize("one_query", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("heads", "size"), [(4, 16), (3, 5), (2, 72)])
def test_attention(
    lengths: list[int],
    heads: int,
    size: int,
    one_query: bool,
    holes: bool,
    p: float,
    dtype: torch.dtype,
    tiles: bool,
    counts: Counter[tuple[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    multiply_on(tiles, dtype, monkeypatch)
    layout = PackedLayout.from_mask(masks(lengths, max(lengths), holes))
    queries = len(lengths) if one_query else layout.tokens
    query, outer = (torch.randn(queries, heads, size).to(dtype) for _ in range(2))
    beside = torch.randn(layout.tokens, 2, heads, size).to(dtype)  # as one product of keys and values gives them

    def compute() -> list[Tensor]:
        own = [query.clone().requires_grad_(), *(each.detach().requires_grad_() for each in beside.unbind(1))]
        result, _ = grouped_attention(*own, layout, dropout_prob=p)
        with torch.no_grad():
            torch.manual_seed(1)
            again, _ = grouped_attention(*own, layout, dropout_prob=p)
        return [result.detach(), again, *torch.autograd.grad(result, own, outer.flatten(1))]

    check_close(compute, dtype, floor_of(lengths))
    assert counts == {("attend", True): 2, ("attend_backward", True): 1}


@pytest.mark.parametrize(("length", "kept"), [(20, 4 * 20 * 20), (600, 2 * 4 * 600)])
def test_of_long_rows_two_numbers_a_query_are_kept(length: int, kept: int) -> None:
    layout = PackedLayout.from_mask(torch.ones(1, length))
    own = [torch.randn(length, 4, 16).requires_grad_() for _ in range(3)]
    context, _ = grouped_attention(*own, layout, dropout_prob=0.1)
    view = context.grad_fn
    assert view is not None
    saved = view.next_functions[0][0].saved_tensors  # type: ignore[union-attr]
    assert sum(each.numel() for each in saved if each is not None) == 3 * own[0].numel() + kept


TERMS = [(True, True), (True, False), (False, True)]


@pytest.mark.parametrize(("dtype", "tiles"), PRODUCTS)
@pytest.mark.parametrize("p", [0.0, 0.1])
@pytest.mark.parametrize("one_query", [True, False])
@pytest.mark.parametrize("terms", TERMS, ids=["both", "c2p", "p2c"])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("heads", "size"), [(4, 16), (3, 5), (2, 72)])
def test_disentangled_attention(
    lengths: list[int],
    heads: int,
    size: int,
    terms: tuple[bool, bool],
    one_query: bool,
    p: float,
    dtype: torch.dtype,
    tiles: bool,
    counts: Counter[tuple[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    multiply_on(tiles, dtype, monkeypatch)
    mask = masks(lengths, max(lengths) + 2, holes=True).roll(2, dims=1)
    mask[-1, 0] = 1  # a row whose first token is not the first of its window
    layout = PackedLayout.from_mask(mask)
    longest = layout.groups[0].length
    queries = len(lengths) if one_query else layout.tokens
    query, outer = (torch.randn(queries, heads, size).to(dtype) for _ in range(2))
    tokens = [torch.randn(layout.tokens, heads, size).to(dtype) for _ in range(2)]
    tables = [torch.randn(2 * longest - 1, heads, size).to(dtype) if term else None for term in terms]

    def compute() -> list[Tensor]:
        own = [each if each is None else each.clone().requires_grad_() for each in (query, *tokens, *tables)]
        result, _ = disentangled_attention(*own, layout, dropout_prob=p)  # type: ignore[arg-type]
        learned = [each for each in own if each is not None]
        return [result.detach(), *torch.autograd.grad(result, learned, outer.flatten(1))]

    check_close(compute, dtype, floor_of(lengths))
    assert counts == {("attend", True): 1, ("attend_backward", True): 1}


def test_shown_probabilities_and_causal_attention_are_plain(counts: Counter[tuple[str, bool]]) -> None:
    layout = PackedLayout.from_mask(masks([5, 4, 2], 5, holes=False))
    key = torch.randn(layout.tokens, 2, 4)
    _, shown = grouped_attention(key, key, key, layout, dropout_prob=0.5, output_attentions=True)
    assert shown is not None
    assert shown.shape == (3, 2, 5, 5)
    grouped_attention(key, key, key, layout, causal=True)
    assert set(counts) == {("drop", True)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_at_its_ends(dtype: torch.dtype) -> None:
    """A query of ones and keys of one number each: scores far apart, infinite, and none at all."""
    layout = PackedLayout.from_mask(torch.ones(1, 5))
    value = torch.eye(5, 8).to(dtype)[:, None]  # the context is the probabilities
    for row in ([0.0, -50.0, -86.0, -87.5, -100.0], [1e30, 1e30, -1e30, 0.0, -3e38], [-3.0, -3e38, -3e38, -3e38, 2.0]):
        key = torch.tensor(row).to(dtype)[:, None, None] * torch.eye(1, 8).to(dtype)
        query = (math.sqrt(8) * torch.ones(5, 1, 8)).to(dtype)
        found, _ = grouped_attention(query, key, value, layout)
        scores = (query[:, 0].double() @ key[:, 0].double().T) / math.sqrt(8)
        wanted = functional.softmax(scores, -1)
        torch.testing.assert_close(
            found[:, :5].double(), wanted, rtol=4e-3 if dtype == torch.bfloat16 else 3e-6, atol=1e-36
        )
    for bad in (math.nan, math.inf):
        key = torch.tensor([0.0, bad, 1.0, 2.0, 3.0]).to(dtype)[:, None, None].expand(5, 1, 8)
        query = torch.ones(5, 1, 8).to(dtype)
        found, _ = grouped_attention(query, key, value, layout)
        assert found.isnan().all()


@pytest.mark.parametrize(("dtype", "tiles"), PRODUCTS)
@pytest.mark.parametrize("positions", [True, False])
def test_what_is_beside_a_wrong_row_is_right(
    positions: bool, dtype: torch.dtype, tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of numbers that are none leave nothing behind in the memory where the next rows are computed."""
    multiply_on(tiles, dtype, monkeypatch)
    layout = PackedLayout.from_mask(masks([70, 37, 5, 1], 70, holes=False))
    x, outer = torch.randn(layout.tokens, 2, 24).to(dtype), torch.randn(layout.tokens, 48).to(dtype)
    tables = [torch.randn(139, 2, 24).to(dtype) for _ in range(2)]

    def compute(x: Tensor) -> list[Tensor]:
        own = [x.clone().requires_grad_() for _ in range(3)]
        if positions:
            result, _ = disentangled_attention(*own, *tables, layout, dropout_prob=0.0)
        else:
            result, _ = grouped_attention(*own, layout)
        return [result.detach(), *torch.autograd.grad(result, own, outer)]

    wanted, broken = compute(x), x.clone()
    broken[:70] = math.nan
    for found, right in zip(compute(broken), wanted, strict=True):
        assert found[:70].isnan().all()
        assert torch.equal(found[70:], right[70:])


@pytest.mark.parametrize("positions", [True, False])
def test_matrix_units_are_as_exact_as_plain_operations(positions: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against doubles, errors of the context and of each gradient are at most a quarter above the plain form's."""
    multiply_on(ON_MATRIX_UNITS, torch.bfloat16, monkeypatch)
    layout = PackedLayout.from_mask(masks([100, 99, 64, 17], 100, holes=True))
    shapes = [(layout.tokens, 4, 32)] * 3 + [(199, 4, 32)] * (2 if positions else 0)
    given = [torch.randn(shape).bfloat16() for shape in shapes]
    outer = torch.randn(layout.tokens, 128).bfloat16()

    def compute(dtype: torch.dtype) -> list[Tensor]:
        own = [each.to(dtype).requires_grad_() for each in given]
        attend = disentangled_attention if positions else grouped_attention
        result, _ = attend(*own, layout, dropout_prob=0.0)  # type: ignore[operator]
        return [result.detach(), *torch.autograd.grad(result, own, outer.to(dtype))]

    exact = compute(torch.float64)
    for found, plain, wanted in zip(*both_ways(lambda: compute(torch.bfloat16)), exact, strict=True):
        assert (found - wanted).norm() <= 1.25 * (plain - wanted).norm()


UNITS = """
struct Units { char bytes[64]; };
extern "C" void set_up(const Units* units) { asm volatile("ldtilecfg %0" ::"m"(*units)); }
extern "C" void look_at(Units* units) { asm volatile("sttilecfg %0" : "=m"(*units)); }
"""


def test_matrix_units_are_left_as_they_were_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library may remember how it has set a thread's units up, and not look again."""
    multiply_on(ON_MATRIX_UNITS, torch.bfloat16, monkeypatch)
    (tmp_path / "units.cpp").write_text(UNITS)
    command = ["g++", "-shared", "-fPIC", str(tmp_path / "units.cpp"), "-o", str(tmp_path / "units.so")]
    subprocess.run(command, check=True)
    units = ctypes.CDLL(str(tmp_path / "units.so"))
    layout = PackedLayout.from_mask(masks([20, 3], 20, holes=False))
    x = [torch.randn(layout.tokens, 2, 16).bfloat16().requires_grad_() for _ in range(3)]
    small_tiles = bytes([1]) + bytes(15) + bytes([12, 0] * 8) + bytes(16) + bytes([3] * 8) + bytes(8)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for wanted in (small_tiles, bytes(64)):
        units.set_up(wanted)
        context, _ = grouped_attention(*x, layout)
        torch.autograd.grad(context.sum(), x)
        found = ctypes.create_string_buffer(64)
        units.look_at(found)
        assert found.raw == wanted
    torch.set_num_threads(before)


def test_a_value_alone_that_learns_gets_its_gradient_alone() -> None:
    layout = PackedLayout.from_mask(masks([7, 3, 3], 7, holes=False))
    query, key, value, outer = (torch.randn(layout.tokens, 2, 4) for _ in range(4))

    def compute() -> list[Tensor]:
        own = value.clone().requires_grad_()
        result, _ = grouped_attention(query, key, own, layout, dropout_prob=0.1)
        return [result.detach(), *torch.autograd.grad(result, own, outer.flatten(1))]

    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
