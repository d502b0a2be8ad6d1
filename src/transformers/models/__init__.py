"""The model types, a folder each."""

from __future__ import annotations

from ..utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {},
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
