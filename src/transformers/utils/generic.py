"""Small base types that everything else shares: enums that explain themselves, and the models' output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, NoReturn

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
    same; ``output[0]``, ``output[:2]``, ``keys()`` and ``to_tuple()`` leave out the fields that are None.
    A mapping as the only argument is taken as the fields (``accelerate`` rebuilds outputs that way).
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Without this FSDP2 and torch.compile take an output for a leaf and see no tensors in it.
        pytree.register_pytree_node(cls, _flatten, lambda values, names: cls(**dict(zip(names, values, strict=True))))

    def __post_init__(self) -> None:
        """Fill the dict side from the dataclass's fields.

        Raises:
            ValueError: If a mapping was given that holds a name which is not a field.
        """
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        values = {name: getattr(self, name) for name in names}
        first = values[names[0]]
        if isinstance(first, Mapping) and all(values[name] is None for name in names[1:]):
            unknown = sorted(set(first) - set(names))
            if unknown:
                raise ValueError(f"{type(self).__name__} has no field {unknown[0]!r}; its fields are {names}.")
            values = {name: first.get(name) for name in names}
        super().clear()
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name not in getattr(type(self), "__dataclass_fields__", {}):
            return
        if value is None:
            if name in self:
                super().__delitem__(name)
            return
        super().__setitem__(name, value)
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        for later in names[names.index(name) + 1 :]:  # a loss that is set last still comes first
            if later in self:
                self.move_to_end(later)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """Give the values that are not None, in the fields' order."""
        names = (field.name for field in fields(self))  # type: ignore[arg-type]
        return tuple(super(ModelOutput, self).__getitem__(name) for name in names if name in self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    def __delitem__(self, key: str) -> NoReturn:
        raise TypeError(f"The fields of {type(self).__name__} are fixed; set '{key}' to None instead of deleting it.")

    def pop(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the fields are fixed.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"The fields of {type(self).__name__} are fixed; 'pop' is not possible.")


def _flatten(output: ModelOutput) -> tuple[list[Any], list[str]]:
    """Split an output into its values and their names, as torch's pytree wants it."""
    return list(output.values()), list(output.keys())
