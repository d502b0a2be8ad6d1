"""What a value from a file must be: descriptions of formats, and the one checker that reads them.

A format is described by nested objects of this module, such as ``Record({"hidden_size": Whole(1, 65536)})``. Every
reader checks what it has read against the description of its format, once, before anything is done with it; the fuzz
targets under ``tests/fuzz`` make their inputs from the same descriptions.
"""

from __future__ import annotations

import math
import re
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from operator import call
from typing import Any

__all__ = [
    "Anything",
    "Flag",
    "ListOf",
    "MapOf",
    "Null",
    "OneOf",
    "Real",
    "Record",
    "Shape",
    "Text",
    "TupleOf",
    "Whole",
    "optional",
    "shown",
]

Test = Callable[[Any], bool]
_NUMBER = re.compile(r"[0-9]{1,10}")
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxstring, _SHORT.maxother = 3, 8, 80, 80


def shown(value: Any) -> str:
    """Write a value into a message, cut where it is long or deep."""
    return _SHORT.repr(value)


class Shape(ABC):
    """What a value must be.

    A file can hold a hundred thousand values of one shape. So `accepts` looks at them first, and only where something
    is wrong they are gone through again to say what and where.
    """

    @property
    @abstractmethod
    def expected(self) -> str:
        """The shape in words, as the object of "… was expected"."""

    @abstractmethod
    def is_kind(self, value: Any) -> bool:
        """Say whether a value is of the right type; it may still be out of range, or wrong inside."""

    def check(self, value: Any, place: str) -> None:
        """Check a value.

        Args:
            value: As read.
            place: What it is, for the message: file and field.

        Raises:
            ValueError: Naming the place, the value, and what was expected.
        """
        if not self.accepts(value):
            self._explain(value, place)
            raise ValueError(f"{place} is {shown(value)}; {self.expected} was expected.")

    @cached_property
    def accepts(self) -> Test:
        """Say whether a value passes `check`."""
        is_kind, in_range, are_parts = self.is_kind, self._in_range, self._test_of_parts()
        return lambda value: is_kind(value) and in_range(value) and are_parts(value)

    def _in_range(self, value: Any) -> bool:
        return True

    def _test_of_parts(self) -> Test:
        """Give a function that says whether all parts of a value are right."""
        return lambda value: True

    def _explain(self, value: Any, place: str) -> None:
        """Raise the error of a part that is wrong, if it is not the value itself."""
        if self.is_kind(value) and self._in_range(value):
            for shape, part, where in self._parts(value, place):
                shape.check(part, where)

    def _parts(self, value: Any, place: str) -> Iterable[tuple[Shape, Any, str]]:
        """Give the parts of a value: what each must be, the part, and its place."""
        return ()


@dataclass(frozen=True)
class Anything(Shape):
    """Any value at all: what other programs keep there, or what the reader checks by other means."""

    @property
    def expected(self) -> str:
        """The shape in words."""
        return "anything"

    def is_kind(self, value: Any) -> bool:
        """Say yes."""
        return True


@dataclass(frozen=True)
class Null(Shape):
    """Nothing (``null``, None)."""

    @property
    def expected(self) -> str:
        """The shape in words."""
        return "null"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is None."""
        return value is None


@dataclass(frozen=True)
class Flag(Shape):
    """True or false."""

    @property
    def expected(self) -> str:
        """The shape in words."""
        return "true or false"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a truth value."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Whole(Shape):
    """A whole number.

    Attributes:
        least: The smallest allowed.
        most: The largest allowed.
    """

    least: int = -(2**63)
    most: int = 2**63 - 1

    @property
    def expected(self) -> str:
        """The shape in words."""
        if self.least <= -(2**63):
            return "a whole number"
        kind = "a positive whole number" if self.least == 1 else f"a whole number of at least {self.least}"
        return kind if self.most >= 2**63 - 1 else f"{kind} (up to {self.most:,})"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a whole number; truth values are none."""
        return isinstance(value, int) and not isinstance(value, bool)

    def _in_range(self, value: Any) -> bool:
        return bool(self.least <= value <= self.most)


@dataclass(frozen=True)
class Real(Shape):
    """A finite number.

    Attributes:
        least: The smallest allowed.
        most: The largest allowed.
        below: The first that is no more allowed, if any.
        above: The last that is not yet allowed, if any.
        finite: Whether NaN and infinities are refused.
    """

    least: float = -math.inf
    most: float = math.inf
    below: float = math.inf
    above: float = -math.inf
    finite: bool = True

    @property
    def expected(self) -> str:
        """The shape in words."""
        if self.below < math.inf:
            return f"a number from {self.least:g} up to, not including, {self.below:g}"
        if self.most < math.inf:
            return f"a number from {self.least:g} to {self.most:g}"
        if self.above > -math.inf:
            return "a positive number" if self.above == 0 else f"a number above {self.above:g}"
        if not self.finite:
            return "a number"
        return "a finite number" if self.least == -math.inf else f"a number of at least {self.least:g}"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a number; truth values are none."""
        return isinstance(value, int | float) and not isinstance(value, bool)

    @cached_property
    def accepts(self) -> Test:
        """Say whether a value passes `check`."""
        least, most, above, below, whole = self.least, self.most, self.above, self.below, super().accepts
        # NaN and infinities pass no comparison here, or are looked at by the longer way
        return lambda value: (
            (type(value) is float and least <= value <= most and above < value < below) or whole(value)
        )

    def _in_range(self, value: Any) -> bool:
        if not isinstance(value, float) and abs(value) >= 2**1000:
            return False  # beyond what a float can hold
        if not self.finite and not math.isfinite(value):
            return True
        return math.isfinite(value) and self.least <= value <= self.most and self.above < value < self.below


@dataclass(frozen=True)
class Text(Shape):
    """A text.

    Attributes:
        choices: The texts allowed; any where there are none.
        pattern: A regular expression that it must match from end to end; any text where it is empty.
        named: What such a text is, in words.
    """

    choices: tuple[str, ...] = ()
    pattern: str = ""
    named: str = "a text"

    @property
    def expected(self) -> str:
        """The shape in words."""
        return " or ".join(map(repr, self.choices)) or self.named

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a text."""
        return isinstance(value, str)

    @cached_property
    def accepts(self) -> Test:
        """Say whether a value passes `check`."""
        return super().accepts if self.pattern or self.choices else self.is_kind

    def _in_range(self, value: Any) -> bool:
        matches = not self.pattern or re.fullmatch(self.pattern, value) is not None
        return matches and (not self.choices or value in self.choices)


@dataclass(frozen=True)
class ListOf(Shape):
    """A list of values of one shape.

    Attributes:
        item: The shape of each.
        least: The smallest number of them.
        most: The largest number of them.
    """

    item: Shape
    least: int = 0
    most: int = 2**63 - 1

    @property
    def expected(self) -> str:
        """The shape in words."""
        if self.least == self.most:
            return f"a list of {self.most} values (each {self.item.expected})"
        return f"a list (of {self.item.expected})" if self.least == 0 else f"a list of at least {self.least} values"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a list; callers may give a tuple."""
        return isinstance(value, list | tuple)

    def _in_range(self, value: Any) -> bool:
        return self.least <= len(value) <= self.most

    def _test_of_parts(self) -> Test:
        accepts = self.item.accepts
        return lambda value: all(map(accepts, value))

    def _parts(self, value: Any, place: str) -> Iterable[tuple[Shape, Any, str]]:
        return ((self.item, item, f"{place}[{number}]") for number, item in enumerate(value))


@dataclass(frozen=True)
class TupleOf(Shape):
    """A list with a shape of its own for each place.

    Attributes:
        items: The shapes, one a place.
    """

    items: tuple[Shape, ...]

    @property
    def expected(self) -> str:
        """The shape in words."""
        return f"a list of {len(self.items)} values ({', '.join(item.expected for item in self.items)})"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a list; callers may give a tuple."""
        return isinstance(value, list | tuple)

    def _in_range(self, value: Any) -> bool:
        return len(value) == len(self.items)

    def _test_of_parts(self) -> Test:
        tests = [item.accepts for item in self.items]
        return lambda value: all(map(call, tests, value))

    def _parts(self, value: Any, place: str) -> Iterable[tuple[Shape, Any, str]]:
        pairs = zip(self.items, value, strict=True)
        return ((shape, item, f"{place}[{number}]") for number, (shape, item) in enumerate(pairs))


@dataclass(frozen=True)
class MapOf(Shape):
    """An object whose keys are free and whose values are of one shape.

    Attributes:
        value: The shape of each value.
        numbered: The keys are whole numbers of at least 0, written as text (JSON has no others).
        least: The smallest number of entries.
        most: The largest number of entries.
    """

    value: Shape
    numbered: bool = False
    least: int = 0
    most: int = 2**63 - 1

    @property
    def expected(self) -> str:
        """The shape in words."""
        kind = "an object that is not empty" if self.least == 1 else "an object"
        return f"{kind} ({{…}} of {self.value.expected})"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a mapping."""
        return isinstance(value, Mapping)

    def _in_range(self, value: Any) -> bool:
        return self.least <= len(value) <= self.most

    def _test_of_parts(self) -> Test:
        accepts, numbered = self.value.accepts, self.numbered
        return lambda value: (
            all(map(accepts, value.values()))
            and not (numbered and any(_NUMBER.fullmatch(str(name)) is None for name in value))
        )

    def _parts(self, value: Any, place: str) -> Iterable[tuple[Shape, Any, str]]:
        for name, item in value.items():
            if self.numbered and not _NUMBER.fullmatch(str(name)):
                raise ValueError(f"{place} has the key {shown(name)}; a whole number was expected, such as '0'.")
            yield self.value, item, _inside(place, name)


@dataclass(frozen=True)
class Record(Shape):
    """An object with named fields.

    Attributes:
        fields: The shape of each field.
        required: Fields that must be there.
        others: The shape of fields that are not listed; None forbids them.
    """

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    others: Shape | None = field(default_factory=Anything)

    @property
    def expected(self) -> str:
        """The shape in words."""
        return "an object ({…})"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a mapping."""
        return isinstance(value, Mapping)

    def _test_of_parts(self) -> Test:
        tests = {name: shape.accepts for name, shape in self.fields.items()}
        others: Test = (lambda value: False) if self.others is None else self.others.accepts
        required = set(self.required)
        return lambda value: (
            required <= value.keys() and all(tests.get(name, others)(item) for name, item in value.items())
        )

    def _parts(self, value: Any, place: str) -> Iterable[tuple[Shape, Any, str]]:
        for name in self.required:
            if name not in value:
                raise ValueError(f"{place} has no '{name}'; {self.fields[name].expected} was expected there.")
        for name, item in value.items():
            shape = self.fields.get(name, self.others)
            if shape is None:
                raise ValueError(
                    f"{place} holds {shown(name)}, which is no field of it; its fields are {', '.join(self.fields)}."
                )
            yield shape, item, _inside(place, name)


@dataclass(frozen=True)
class OneOf(Shape):
    """A value of any of several shapes.

    Attributes:
        shapes: The shapes; the first that fits counts.
    """

    shapes: tuple[Shape, ...]

    @property
    def expected(self) -> str:
        """The shape in words."""
        return " or ".join(shape.expected for shape in self.shapes)

    def is_kind(self, value: Any) -> bool:
        """Say whether one of them has this type."""
        return any(shape.is_kind(value) for shape in self.shapes)

    @cached_property
    def accepts(self) -> Test:
        """Say whether a value passes `check`."""
        tests = [shape.accepts for shape in self.shapes]
        return lambda value: any(map(call, tests, repeat(value)))

    def _explain(self, value: Any, place: str) -> None:
        """Raise the error of a part, where one shape alone has the value's type."""
        fitting = [shape for shape in self.shapes if shape.is_kind(value)]
        if len(fitting) == 1 and fitting[0]._in_range(value):
            fitting[0].check(value, place)


def optional(shape: Shape) -> OneOf:
    """Let a value be missing (``null``) too."""
    return OneOf((Null(), shape))


def _inside(place: str, name: object) -> str:
    """Name a field of an object; ``place`` may be a file's name in quotes, or empty."""
    short = str(name)[:80]
    return short if not place else f"{place}: {short}" if place.endswith("'") else f"{place}.{short}"
