"""Several names for one field of a dataclass, and the flag's help text beside it."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature, signature
from typing import Any

__all__ = ["OlderAndNewerNames", "help_text", "other_name"]


class OlderAndNewerNames(type):
    """Lets a dataclass, and those derived from it, be built with the other names of its fields (``_aliases``)."""

    _aliases: Mapping[str, str]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Build the object; TypeError if a field is given under two names."""
        for alias, name in cls._aliases.items():
            if alias in kwargs:
                if name in kwargs:
                    raise TypeError(f"'{alias}' and '{name}' are two names of one argument; give only one of them.")
                kwargs[name] = kwargs.pop(alias)
        return super().__call__(*args, **kwargs)

    @property
    def __signature__(cls) -> Signature:
        """Show the fields, which ``__call__`` above would hide from ``inspect.signature``."""
        parameters = list(signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
        newer = [Parameter(alias, Parameter.KEYWORD_ONLY, default=None) for alias in cls._aliases]
        return Signature(parameters + newer)


def other_name(name: str) -> Any:
    """Make an attribute that reads and writes another one."""

    def read(self: Any) -> Any:
        return getattr(self, name)

    def write(self: Any, value: Any) -> None:
        setattr(self, name, value)

    return property(read, write, doc=f"Another name of ``{name}``.")


def help_text(text: str) -> dict[str, str]:
    """Give the metadata of a field whose flag has this help text."""
    return {"help": text}
