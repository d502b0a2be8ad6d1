"""Descriptions of formats: what they allow, and what they say of what they do not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers.utils.shapes import (
    Flag,
    ListOf,
    MapOf,
    OneOf,
    Real,
    Record,
    Shape,
    Text,
    TupleOf,
    Whole,
    optional,
)

PERSON = Record(
    {"name": Text(), "age": optional(Whole(0, 150)), "tags": ListOf(Text(("a", "b"))), "rate": Real(0, below=1)},
    required=("name",),
)

ALLOWED: list[tuple[Shape, Any]] = [
    *((Whole(1, 8), value) for value in (1, 8)),
    *((Real(0, 1), value) for value in (0, 1, 0.5)),
    *((Real(above=0), value) for value in (1e-300, 10**300)),
    *((optional(Flag()), value) for value in (None, True, False)),
    *((Text(pattern="[ab]+", named="a's and b's"), value) for value in ("a", "abba")),
    (MapOf(Whole(), numbered=True), {"0": 1, "17": -1}),
    (MapOf(Whole(), numbered=True), {0: 1}),  # as callers write it
    (PERSON, {"name": "x", "age": None, "tags": [], "other": object()}),
]


@pytest.mark.parametrize(("shape", "value"), ALLOWED)
def test_what_is_allowed(shape: Shape, value: Any) -> None:
    shape.check(value, "it")
    assert shape.accepts(value)


REFUSED: list[tuple[Shape, Any, str]] = [
    *((Whole(1, 8), value, f"it is {value}; a positive whole number (up to 8) was expected.") for value in (0, 9, -1)),
    *((Whole(), value, f"it is {value!r}; a whole number was expected.") for value in (True, 1.0, "1", None, [1])),
    (Whole(), 10**50, "it is 1"),
    *((Real(), value, "a finite number was expected") for value in (math.nan, math.inf, 10**400, True, "1")),
    *((Real(above=0), value, "a positive number was expected") for value in (0, -1, 0.0)),
    *((Real(0, below=1), value, "a number from 0 up to, not including, 1") for value in (1, 1.5, -0.1)),
    *((Flag(), value, "true or false was expected") for value in (0, 1, "true", None)),
    (Text(("right", "left")), "up", "it is 'up'; 'right' or 'left' was expected."),
    (optional(Text()), 5, "it is 5; null or a text was expected."),
    (ListOf(Text()), "ab", "it is 'ab'; a list (of a text) was expected."),
    (ListOf(Text()), ["a", 5], "it[1] is 5; a text was expected."),
    (ListOf(Text(), least=2, most=2), ["a"], "a list of 2 values"),
    *((MapOf(Whole(), numbered=True), {key: 1}, "a whole number was expected") for key in ("a", "-1", " 1", "٣")),
    (MapOf(Whole()), {"a": "1"}, "it.a is '1'; a whole number was expected."),
    (PERSON, [], "it is []; an object ({…}) was expected."),
    (PERSON, {}, "it has no 'name'; a text was expected there."),
    (
        PERSON,
        {"name": "x", "age": 200},
        "it.age is 200; null or a whole number of at least 0 (up to 150) was",
    ),
    (PERSON, {"name": "x", "tags": ["a", "c"]}, "it.tags[1] is 'c'; 'a' or 'b' was expected."),
    (Record({"a": Flag()}, others=None), {"b": 1}, "it holds 'b', which is no field of it; its fields are a."),
]


@pytest.mark.parametrize(("shape", "value", "message"), REFUSED)
def test_what_is_refused_and_how(shape: Shape, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        shape.check(value, "it")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not shape.accepts(value)


SOME = st.sampled_from([None, True, 0, 1, -1, 2**70, 0.5, -0.5, math.nan, math.inf, 1e300, "", "a", "ab", "3"])
VALUES = st.recursive(
    SOME, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab3"), inner, max_size=3)
)
LEAVES: list[Shape] = [
    *(Flag(), Whole(), Whole(0, 1), Real(), Real(0, 1), Real(above=0), Real(0, below=0.5), Real(finite=False)),
    *(Text(), Text(("a", "b")), Text(pattern="a+", named="a's")),
]
SHAPES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.builds(ListOf, inner, st.integers(0, 1), st.integers(1, 3))
        | st.lists(inner, max_size=2).map(lambda items: TupleOf(tuple(items)))
        | st.builds(MapOf, inner, st.booleans())
        | st.builds(lambda a, b, more: Record({"a": a, "b": b}, ("a",), more), inner, inner, st.none() | inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda shapes: OneOf(tuple(shapes)))
    ),
    max_leaves=4,
)


def _fits(shape: Shape, value: Any) -> bool:
    """Say whether a value and each of its parts is right, one after the other."""
    if isinstance(shape, OneOf):
        return any(_fits(each, value) for each in shape.shapes)
    try:
        return (
            shape.is_kind(value)
            and shape._in_range(value)
            and all(_fits(inner, part) for inner, part, _ in shape._parts(value, ""))
        )
    except ValueError:  # a field that is missing, or has no such name
        return False


@given(SHAPES, VALUES)
def test_the_short_way_says_what_the_long_way_says(shape: Shape, value: Any) -> None:
    assert shape.accepts(value) is _fits(shape, value)
    if not shape.accepts(value):
        with pytest.raises(ValueError, match=r"was expected|is no field of it"):
            shape.check(value, "it")


def test_a_file_is_named_before_the_field() -> None:
    with pytest.raises(ValueError, match=r"^'a/b\.json': age is -1; "):
        PERSON.check({"name": "", "age": -1}, "'a/b.json'")


def test_long_and_deep_values_are_cut_in_messages() -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    for value in ("x" * 10**6, list(range(10**5)), deep, {"k" * 1000: deep}):
        with pytest.raises(ValueError, match="was expected") as caught:
            Whole().check(value, "it")
        assert len(str(caught.value)) < 400
