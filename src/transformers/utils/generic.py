"""Small base types that everything else shares: enums that explain themselves, and the models' output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, NoReturn, Self, TypeVar

from torch.utils import _pytree as pytree

__all__ = ["ExplicitEnum", "ModelOutput", "PaddingStrategy", "TensorType"]


class ExplicitEnum(StrEnum):
    """An enum of strings whose error for an unknown value names the values that exist."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        choices = ", ".join(repr(member.value) for member in cls)
        raise ValueError(f"{value!r} is not a valid {cls.__name__}; choose from {choices}.")


class PaddingStrategy(ExplicitEnum):
    """How far rows are filled up: to the longest of the batch, to ``max_length``, or not at all."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TensorType(ExplicitEnum):
    """The kinds of tensors that ``return_tensors`` can ask for: PyTorch's or NumPy's."""

    PYTORCH = "pt"
    NUMPY = "np"


class ModelOutput(OrderedDict[str, Any]):
    """Base class of the models' outputs: a dataclass, a dict and a tuple in one.

    Subclasses are dataclasses whose fields all have a default. ``output.logits`` and ``output["logits"]`` are the
    same; ``output[0]``, ``output[:2]``, ``keys()`` and ``to_tuple()`` leave out what is None.
    ``output["extra"] = value`` adds a key, which comes behind the fields; set to None it is gone again. A mapping as
    the only argument is taken as the keys (``accelerate`` rebuilds outputs that way).
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Without this FSDP2 and torch.compile take an output for a leaf and see no tensors in it.
        pytree.register_pytree_node(
            cls, _flatten, lambda values, names: _rebuilt(cls, dict(zip(names, values, strict=True)))
        )

    def __post_init__(self) -> None:
        """Fill the dict side from the dataclass's fields.

        Raises:
            ValueError: If a mapping was given that holds none of the fields.
        """
        names = self._field_names()
        values = {name: getattr(self, name) for name in names}
        first = values[names[0]]
        if isinstance(first, Mapping) and all(values[name] is None for name in names[1:]):
            unknown = sorted(set(first) - set(names))
            if unknown and len(unknown) == len(first):
                raise ValueError(f"{type(self).__name__} has no field {unknown[0]!r}; its fields are {names}.")
            values = dict.fromkeys(names) | dict(first)
        super().clear()
        for name, value in values.items():
            self[name] = value

    @classmethod
    def _field_names(cls) -> list[str]:
        return [field.name for field in fields(cls)]  # type: ignore[arg-type]

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in getattr(type(self), "__dataclass_fields__", {}) or name in self:
            self._store(name, value)

    def _store(self, name: str, value: Any) -> None:
        """Keep the dict side in step: the fields in their order, then what was added."""
        if value is None:
            if name in self:
                super().__delitem__(name)
            return
        super().__setitem__(name, value)
        names = self._field_names()
        if name not in names:
            return
        later = names[names.index(name) + 1 :]  # a loss that is set last still comes first
        for other in [*later, *(key for key in self if key not in names)]:
            if other in self:
                self.move_to_end(other)

    def __setitem__(self, key: str, value: Any) -> None:
        added = key not in getattr(type(self), "__dataclass_fields__", {})
        if added and hasattr(type(self), key):
            raise ValueError(f"'{key}' means something else on a {type(self).__name__}; add it under another name.")
        object.__setattr__(self, key, value)
        self._store(key, value)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """Give the values that are not None: the fields' in their order, then those that were added."""
        return tuple(self.values())

    def copy(self) -> Self:
        """Give a second output with the same values."""
        return _rebuilt(type(self), self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), dict(self))

    def _refuse(self, operation: str) -> NoReturn:
        raise TypeError(
            f"The fields of {type(self).__name__} are fixed; '{operation}' is not possible. "
            "Set output['name'] = value (None takes a value away)."
        )

    def __delitem__(self, key: str) -> NoReturn:
        """Refuse, as all that follow; without this each would change the dict side alone.

        Raises:
            TypeError: Always.
        """
        self._refuse(f"del output[{key!r}]")

    def pop(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse (`TypeError`)."""
        self._refuse("pop")

    def popitem(self, last: bool = True) -> NoReturn:
        """Refuse (`TypeError`)."""
        self._refuse("popitem")

    def clear(self) -> NoReturn:
        """Refuse (`TypeError`)."""
        self._refuse("clear")

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse (`TypeError`)."""
        self._refuse("update")

    def setdefault(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse (`TypeError`)."""
        self._refuse("setdefault")

    def __or__(self, other: Any) -> Self:  # type: ignore[override]
        return _rebuilt(type(self), {**self, **other})

    def __ior__(self, other: Any) -> NoReturn:
        self._refuse("|=")


Output = TypeVar("Output", bound=ModelOutput)


def _rebuilt(kind: type[Output], values: Mapping[str, Any]) -> Output:
    """Make an output that holds these values, added ones too."""
    output = kind()
    for name, value in values.items():
        output[name] = value
    return output


def _flatten(output: ModelOutput) -> tuple[list[Any], list[str]]:
    """Split an output into its values and their names, as torch's pytree wants it."""
    return list(output.values()), list(output.keys())
