"""Packages whose names and submodules are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["LazyNames"]


class LazyNames:
    """What a package's ``__getattr__`` and ``__dir__`` answer from.

    Args:
        namespace: The package's ``globals()``; what was loaded is kept there.
        names: The public names by the submodule that has them, such as ``{"trainer": ("Trainer",)}``; a dot in front
            is a module of the package above.
    """

    def __init__(self, namespace: dict[str, Any], names: Mapping[str, Sequence[str]]) -> None:
        self._namespace = namespace
        self._package: str = namespace["__name__"]
        self._module_of = {name: module for module, listed in names.items() for name in listed}
        self.public = sorted(self._module_of)

    def load(self, name: str) -> Any:
        """Import what holds a public name and give its value, or import the submodule of that name.

        Raises:
            AttributeError: If the package has neither.
        """
        if name in self._module_of:
            value = getattr(import_module(f".{self._module_of[name]}", self._package), name)
        elif not name.startswith("_") and find_spec(f"{self._package}.{name}") is not None:
            value = import_module(f"{self._package}.{name}")
        else:
            raise AttributeError(f"module '{self._package}' has no attribute '{name}'")
        self._namespace[name] = value
        return value

    def listed(self) -> list[str]:
        """List the public names, loaded or not, and what else the package holds."""
        return sorted({*self._namespace, *self.public})
