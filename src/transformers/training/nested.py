"""What a model takes and gives is nested: dicts, lists, tuples and named tuples of tensors or arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["map_nested"]


def map_nested(function: Callable[..., Any], nested: Any, *others: Any) -> Any:
    """Apply a function to everything inside nested mappings, lists and tuples.

    Args:
        function: Called with what is no mapping, list or tuple; with one argument of each nested value.
        nested: The value, which may be a single one.
        *others: Further values, nested alike.

    Returns:
        The results, nested alike: a list or tuple becomes one of the same type, named tuples included, and any mapping
        a dict.

    Raises:
        ValueError: If lists or tuples that belong together differ in length.
    """
    if isinstance(nested, Mapping):
        return {name: map_nested(function, *(value[name] for value in (nested, *others))) for name in nested}
    if isinstance(nested, list | tuple):
        made = (map_nested(function, *items) for items in zip(nested, *others, strict=True))
        return type(nested)(*made) if hasattr(nested, "_fields") else type(nested)(made)
    return function(nested, *others)
