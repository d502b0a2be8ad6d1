"""What the caller of a pipeline may choose: when it is made, and again at every call."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """What every pipeline takes.

    Attributes:
        truncation: Cut texts that are longer than the model takes; without, they are refused. True or a strategy of
            the tokenizer's, such as ``"only_first"`` of a pair.
        max_length: Cut to so many tokens, special ones included; the most that the model takes where None.
        batch_size: The most texts that are computed at once; as many as fit into a budget of tokens where None.
    """

    truncation: bool | str | None = None
    max_length: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            ValueError: If one is out of its range.
        """
        for name in ("max_length", "batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is {value!r}; a whole number from 1 was expected.")

    def with_choices(self, choices: dict[str, Any]) -> Self:
        """Put a caller's choices over these.

        Raises:
            TypeError: If one is not known.
            ValueError: If one is out of its range.
        """
        known = [field.name for field in fields(self)]
        unknown = next((name for name in choices if name not in known), None)
        if unknown is not None:
            raise TypeError(f"'{unknown}' is no choice of this pipeline; it has {', '.join(known)}.")
        return replace(self, **choices)
