"""A figure with its interval, and figures as JSON takes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["figure", "plain", "table_of"]


def figure(value: Any, low: Any = math.nan, high: Any = math.nan) -> dict[str, Any]:
    """Give a value with its interval; what is not finite becomes None in `plain`."""
    return {"value": float(value), "low": float(low), "high": float(high)}


def table_of(names: Sequence[str], values: Iterable[Any], low: Iterable[Any], high: Iterable[Any]) -> dict[str, Any]:
    """Give figures by name."""
    return {name: figure(*row) for name, *row in zip(names, values, low, high, strict=True)}


def plain(value: Any, digits: int = 6) -> Any:
    """Turn everything into what JSON has: numbers of numpy into Python's, numbers that are not finite into None.

    Args:
        value: Anything.
        digits: How many digits of a number are kept.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(each, digits) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist(), digits)
    if isinstance(value, list | tuple):
        return [plain(each, digits) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
