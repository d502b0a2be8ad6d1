"""The number of items in a step, which knows whether a loss was computed with it.

A loss of the caller's may be the mean of its pass, or the pass's sum divided by the items of the whole step
(``num_items_in_batch``). The first is to be weighted by the pass's share of the step, the second has that share
already. The two cannot be told apart by their values, but by whether the number was computed with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["ItemCount"]

# What looks at the number, or puts it elsewhere, without computing with it; anything else counts as a use.
_LOOKS = frozenset({"__repr__", "__format__", "__get__", "__bool__", "dim", "size", "numel", "is_floating_point"}) | {
    *("__eq__", "__ne__", "__gt__", "__ge__", "__lt__", "__le__", "eq", "ne", "gt", "ge", "lt", "le")
}
_MOVES = frozenset({"to", "cpu", "cuda", "clone", "detach", "float", "double", "half", "bfloat16", "int", "long"})


class ItemCount(Tensor):
    """A whole number as a tensor of no axes, on the device of the training.

    Args:
        count: The number.
        device: The device.
    """

    _uses: list[str]

    @staticmethod
    def __new__(cls, count: int, device: torch.device) -> ItemCount:  # noqa: D102
        made: ItemCount = torch.full((), count, device=device).as_subclass(cls)  # nothing to copy, so no wait
        made._uses = []
        return made

    @property
    def used(self) -> bool:
        """Whether something was computed with the number, or with a copy of it."""
        return bool(self._uses)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute with a plain tensor, and remember that it was done."""
        name = getattr(func, "__name__", "")
        counts = [value for value in tree_leaves((args, kwargs or {})) if isinstance(value, ItemCount)]
        if name not in _LOOKS | _MOVES:
            for count in counts:
                count._uses.append(name)
        plain, plain_keywords = tree_map(_plain, (args, kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*plain, **plain_keywords)
        if name in _MOVES and counts and isinstance(result, Tensor):
            result = result.as_subclass(ItemCount)
            result._uses = counts[0]._uses
        return result


def _plain(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, ItemCount) else value
