"""Hypothesis strategies made from the descriptions of formats that the readers check against."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from transformers.utils.shapes import (
    Anything,
    Flag,
    ListOf,
    MapOf,
    Null,
    OneOf,
    Real,
    Record,
    Shape,
    Text,
    TupleOf,
    Whole,
)

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANY_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def fitting(shape: Shape) -> st.SearchStrategy[Any]:
    """Give values that a description allows, small numbers among them more often than large ones."""
    match shape:
        case Null():
            return st.none()
        case Flag():
            return st.booleans()
        case Whole(least, most):
            return st.integers(max(least, -8), min(most, 64)) | st.integers(least, most)
        case Real():
            top = min(shape.most, shape.below)
            span = {"min_value": max(shape.least, shape.above, -1e9), "max_value": min(top, 1e9)}
            return st.floats(**span, exclude_max=shape.below <= 1e9, exclude_min=shape.above == span["min_value"])
        case Text():
            return st.sampled_from(shape.choices) if shape.choices else _text(shape)
        case ListOf():
            return st.lists(fitting(shape.item), min_size=shape.least, max_size=min(shape.most, shape.least + 3))
        case TupleOf():
            return st.tuples(*map(fitting, shape.items)).map(list)
        case MapOf():
            keys = st.integers(0, 50).map(str) if shape.numbered else st.text(max_size=8)
            return st.dictionaries(keys, fitting(shape.value), min_size=shape.least, max_size=4)
        case Record():
            needed = {name: fitting(shape.fields[name]) for name in shape.required}
            others = {name: fitting(each) for name, each in shape.fields.items() if name not in needed}
            return st.fixed_dictionaries(needed, optional=others)
        case OneOf():
            return st.one_of(*map(fitting, shape.shapes))
        case Anything():
            return ANY_JSON
    raise TypeError(f"no strategy for {shape!r}")


def _text(shape: Text) -> st.SearchStrategy[str]:
    return st.from_regex(shape.pattern, fullmatch=True) if shape.pattern else st.text(max_size=12)


def nearly_fitting(shape: Record) -> st.SearchStrategy[dict[str, Any]]:
    """Give objects of which one field may be anything at all."""

    def spoil(content: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        names = st.sampled_from([*shape.fields, "to_dict", "__class__", "self", "unknown"])
        return st.tuples(names, ANY_JSON).map(lambda one: {**content, one[0]: one[1]})

    whole = fitting(shape)
    return whole | whole.flatmap(spoil)
