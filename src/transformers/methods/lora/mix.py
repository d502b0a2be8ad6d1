"""A batch whose rows have different adapters: what belongs to which, and all their updates of a layer at once.

The base's product is one for the whole batch; the adapters' matrices are thin, and their parts of the batch are few
tokens each. A GPU would wait for the calls of so many small products: there they are put side by side, each filled up
to the largest rank and to the most tokens, and multiplied in two batched products. On a CPU that takes as long as
computing adapter by adapter, or longer.

Letters in shapes: ``K`` adapters, ``N`` things (tokens, or rows), ``M`` the most things of one adapter, ``I`` input
features, ``O`` output features, ``R`` the largest rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .update import BaseLayer, LoraUpdate, add_to_output

__all__ = ["MIX", "AdapterMix", "Places", "add_updates"]

_MOST_FILLING = 4  # side by side, things may become so many times as many; then each adapter is computed by itself


@dataclass(frozen=True)
class Places:
    """Which of several things, tokens or rows, belong to which adapter.

    Attributes:
        names: The adapters.
        order: The things' places, those of one adapter behind each other. Shape: (N,).
        counts: How many are each adapter's.
    """

    names: Sequence[str]
    order: Tensor
    counts: list[int]

    @classmethod
    def of(cls, names: Sequence[str], numbers: Tensor) -> Places:
        """Sort things by their adapter.

        Args:
            names: The adapters.
            numbers: For each thing the number of its adapter among the names. Shape: (N,).
        """
        return cls(names, numbers.argsort(stable=True), torch.bincount(numbers, minlength=len(names)).tolist())

    @property
    def go_side_by_side(self) -> bool:
        """Whether batched products are the faster way: on a GPU, where filling up does not make many of few."""
        return self.order.is_cuda and len(self.names) * max(self.counts) <= _MOST_FILLING * len(self.order)

    @cached_property
    def side_by_side(self) -> Tensor:
        """The things of each adapter, filled up with the first of all, which is computed in vain. Shape: (K, M)."""
        return pad_sequence(list(self.order.split(self.counts)), batch_first=True)

    @cached_property
    def found_at(self) -> Tensor:
        """Where `side_by_side`, made flat, has each thing. Shape: (N,)."""
        most = max(self.counts)
        places = [torch.arange(count) + number * most for number, count in enumerate(self.counts)]
        found = torch.empty_like(self.order)
        found[self.order] = torch.cat(places).to(found.device)
        return found


@dataclass(frozen=True)
class AdapterMix:
    """What belongs to which adapter in a packed batch.

    Attributes:
        tokens: The packed tokens.
        rows: The rows, in their packed order.
    """

    tokens: Places
    rows: Places

    def places(self, number: int) -> Places:
        """Give the places of so many things: of the tokens, or of the rows where a layer gets their first tokens."""
        return self.tokens if number == len(self.tokens.order) else self.rows


# Which adapters the running call wants. It belongs to the call, not to the layers: another thread's is its own.
MIX: ContextVar[AdapterMix | None] = ContextVar("MIX", default=None)


def add_updates(
    updates: Sequence[LoraUpdate | None],
    places: Places,
    result: Tensor,
    x: Tensor,
    base: BaseLayer,
) -> Tensor:
    """Add to each token the update of its adapter.

    Args:
        updates: One an adapter of ``places``; None where it has no part in this layer.
        places: Which tokens are whose.
        result: The base layer's output. Shape: (N, O).
        x: Its input. Shape: (N, I).
        base: The base layer.

    Returns:
        Shape: (N, O).
    """
    if len(updates) == 1:  # all rows are of one adapter
        return result if updates[0] is None else add_to_output(updates[0], result, x, base, None)
    if places.go_side_by_side:
        plain = [update if update is not None and update.is_plain else None for update in updates]
        result = _add_side_by_side(plain, places, result, x)
        updates = [None if update is None or update.is_plain else update for update in updates]
    if all(update is None for update in updates):
        return result
    sorted_result, sorted_x = (each.index_select(0, places.order).split(places.counts) for each in (result, x))
    changed = [
        own_result if update is None else add_to_output(update, own_result, own_x, base, None)
        for update, own_result, own_x in zip(updates, sorted_result, sorted_x, strict=True)
    ]
    return result.index_copy(0, places.order, torch.cat(changed))


def _add_side_by_side(updates: Sequence[LoraUpdate | None], places: Places, result: Tensor, x: Tensor) -> Tensor:
    """Add plain updates in two batched products. Shapes as of `add_updates`."""
    if all(update is None for update in updates):
        return result
    down_empty, up_empty = x.new_empty(0, x.shape[1]), x.new_empty(0, result.shape[1])
    down = [down_empty if each is None else each.lora_A for each in updates]  # each (r, I)
    up = [up_empty if each is None else each.lora_B.t() for each in updates]  # each (r, O)
    scaling = torch.tensor([0.0 if each is None else each.scaling for each in updates], dtype=x.dtype, device=x.device)
    own = x.index_select(0, places.side_by_side.flatten()).unflatten(0, places.side_by_side.shape)  # (K, M, I)
    low_rank = own @ pad_sequence(down, batch_first=True).to(x.dtype).mT  # (K, M, R)
    update = (low_rank * scaling[:, None, None]) @ pad_sequence(up, batch_first=True).to(x.dtype)  # (K, M, O)
    return result + update.flatten(0, 1).index_select(0, places.found_at)
