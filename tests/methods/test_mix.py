"""Updates of several adapters in one batch: each thing gets its own adapter's."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from transformers.methods.lora.layers import LoraLinear
from transformers.methods.lora.mix import AdapterMix, Places, add_updates
from transformers.methods.lora.update import LoraUpdate, add_to_output

IN, OUT = 6, 5


def _update(rank: int, kind: str) -> LoraUpdate:
    def parameter(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(*shape, dtype=torch.float64))

    magnitude = parameter(OUT) if kind == "dora" else None
    start = (parameter(rank, IN), parameter(OUT, rank)) if kind == "start" else (None, None)
    return LoraUpdate(
        parameter(rank, IN), parameter(OUT, rank), 3.0, magnitude=magnitude, start_A=start[0], start_B=start[1]
    )


def _layer(weight: Tensor) -> LoraLinear:
    """Give a layer without a bias around a weight."""
    layer = LoraLinear(IN, OUT, 1, 1, bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


@st.composite
def _batches(draw: st.DrawFn) -> tuple[list[LoraUpdate | None], Tensor]:
    kinds = st.sampled_from(["plain", "dora", "start", "none"])
    torch.manual_seed(draw(st.integers(0, 1000)))
    chosen = draw(st.lists(st.tuples(st.integers(1, 4), kinds), min_size=1, max_size=5))
    updates = [None if kind == "none" else _update(rank, kind) for rank, kind in chosen]
    numbers = draw(st.lists(st.integers(0, len(updates) - 1), min_size=1, max_size=12))
    return updates, torch.tensor(numbers)


def _expected(updates: list[LoraUpdate | None], numbers: Tensor, result: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    rows = []
    for place, number in enumerate(numbers.tolist()):
        update, own = updates[number], slice(place, place + 1)
        base = _layer(weight)
        rows.append(result[own] if update is None else add_to_output(update, result[own], x[own], base, None))
    return torch.cat(rows)


@given(batch=_batches())
@settings(max_examples=60, deadline=None)
def test_each_token_gets_its_adapters_update(batch: tuple[list[LoraUpdate | None], Tensor]) -> None:
    updates, numbers = batch
    x = torch.randn(len(numbers), IN, dtype=torch.float64)
    weight = torch.randn(OUT, IN, dtype=torch.float64)
    result = x @ weight.t()
    kept = result.clone()
    places = Places.of([str(number) for number in range(len(updates))], numbers)
    expected = _expected(updates, numbers, result, x, weight)
    assert_close(add_updates(updates, places, result, x, _layer(weight)), expected)
    assert torch.equal(result, kept)


def test_gradients_are_those_of_each_token_by_itself() -> None:
    torch.manual_seed(0)
    updates = [_update(2, "plain"), None, _update(3, "plain")]
    numbers = torch.tensor([2, 0, 1, 0, 2, 2])
    places = Places.of(["a", "b", "c"], numbers)
    weight = torch.randn(OUT, IN, dtype=torch.float64)
    towards = torch.randn(6, OUT, dtype=torch.float64)
    found = []
    for together in (False, True):
        x = torch.linspace(-1, 1, 6 * IN, dtype=torch.float64).view(6, IN).requires_grad_()
        result = x @ weight.t()
        if together:
            made = add_updates(updates, places, result, x, _layer(weight))
        else:
            made = _expected(updates, numbers, result, x, weight)
        parameters = [each for update in updates if update is not None for each in update.parameters]
        found.append(torch.autograd.grad((made * towards).sum(), [x, *parameters]))
    assert_close(found[1], found[0])


def test_rows_and_tokens_are_told_apart_by_their_number() -> None:
    tokens, rows = Places.of(["a", "b"], torch.tensor([0, 0, 1, 1, 1])), Places.of(["a", "b"], torch.tensor([0, 1]))
    mix = AdapterMix(tokens, rows)
    assert mix.places(5) is tokens
    assert mix.places(2) is rows
