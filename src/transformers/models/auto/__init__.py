"""Auto classes: the model type in a configuration chooses the class."""

from __future__ import annotations

from ...utils.lazy_names import LazyNames
from ..table import names_of_auto

_LAZY = LazyNames(globals(), names_of_auto())

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
