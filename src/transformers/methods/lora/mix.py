"""A batch whose rows have different adapters: what belongs to which, and all their updates of a layer at once.

The base's product is one for the whole batch. What is of one adapter is brought together, so that each update is
computed of a slice: one gathering for all adapters of a layer instead of one for each. (Two batched products over
matrices that are filled up to the largest rank took as long, on a CPU and on a GPU.)

Letters in shapes: ``N`` things (tokens, or rows), ``I`` input features, ``O`` output features.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from .update import BaseLayer, LoraUpdate, add_to_output

__all__ = ["MIX", "AdapterMix", "Places", "add_updates"]


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
    if all(update is None for update in updates):
        return result
    sorted_result, sorted_x = (each.index_select(0, places.order).split(places.counts) for each in (result, x))
    changed = [
        own_result if update is None else add_to_output(update, own_result, own_x, base, None)
        for update, own_result, own_x in zip(updates, sorted_result, sorted_x, strict=True)
    ]
    return result.index_copy(0, places.order, torch.cat(changed))
