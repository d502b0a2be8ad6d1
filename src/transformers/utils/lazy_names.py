"""Packages whose names and submodules are imported when they are first asked for, and modules with such names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["LazyNames"]


class LazyNames:
    """What a package's, or a module's, ``__getattr__`` and ``__dir__`` answer from.

    A module becomes a package without files: of what it does not have, Python then asks the import system, where
    `transformers.compatibility.absent` answers for names of 4.4.2.

    Args:
        namespace: The package's ``globals()``; what was loaded is kept there.
        names: The public names by the submodule that has them, such as ``{"trainer": ("Trainer",)}``; a dot in front
            is a module of the package above.
    """

    def __init__(self, namespace: dict[str, Any], names: Mapping[str, Sequence[str]]) -> None:
        self._namespace = namespace
        namespace.setdefault("__path__", [])
        self._package: str = namespace["__name__"]
        self._module_of = {name: module for module, listed in names.items() for name in listed}
        self.public = sorted(self._module_of)

    def load(self, name: str) -> Any:
        """Import what holds a public name and give its value, or import the submodule of that name.

        Raises:
            AttributeError: If the package has neither; for a name of 4.4.2 it says what to use instead.
        """
        if name in self._module_of:
            value = getattr(import_module(f".{self._module_of[name]}", self._package), name)
        elif not name.startswith("_") and self._is_submodule(name):
            value = import_module(f"{self._package}.{name}")
        else:
            raise AttributeError(f"module '{self._package}' has no attribute '{name}'")
        self._namespace[name] = value
        return value

    def _is_submodule(self, name: str) -> bool:
        try:
            return find_spec(f"{self._package}.{name}") is not None
        except ModuleNotFoundError as absent:
            raise AttributeError(str(absent)) from absent

    def listed(self) -> list[str]:
        """List the public names, loaded or not, and what else the package holds."""
        return sorted({*self._namespace, *self.public})
