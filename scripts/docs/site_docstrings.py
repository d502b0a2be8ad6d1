"""Docstrings of Google's form as Markdown; griffe reads their sections."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

from griffe import Docstring, DocstringSectionKind

__all__ = ["described", "first_line", "gaps", "prose"]

# What has a docstring without a place in a file has no types that griffe could look up.
_READING = {
    "warn_unknown_params": False,
    "warn_missing_types": False,
    "returns_multiple_items": False,
    "returns_named_value": False,
    "warnings": False,
}
_ARGUMENTS = (DocstringSectionKind.parameters, DocstringSectionKind.attributes)


def described(thing: Any) -> list[str]:
    """Make paragraphs and tables of a docstring.

    Args:
        thing: A class, function, method or property.
    """
    types = _types(thing)
    parts = []
    for section in _sections(thing):
        kind = section.kind
        if kind is DocstringSectionKind.text:
            parts.append(_text(section.value))
        elif kind in _ARGUMENTS:
            title = "argument" if kind is DocstringSectionKind.parameters else "attribute"
            rows = [
                f"| `{each.name}` | {_code(types.get(each.name.lstrip('*'), ''))} | {_cell(each.description)} |"
                for each in section.value
            ]
            parts.append("\n".join((f"| {title} | type | what it is |", "| --- | --- | --- |", *rows)))
        elif kind in (DocstringSectionKind.returns, DocstringSectionKind.yields):
            label = "Returns" if kind is DocstringSectionKind.returns else "Yields"
            parts += [f"**{label}** {_text(each.description)}" for each in section.value]
        elif kind is DocstringSectionKind.raises:
            rows = [f"- `{each.annotation}`: {_line(each.description)}" for each in section.value]
            parts += ["**Raises**", "\n".join(rows)]
        elif kind is DocstringSectionKind.examples:
            parts += [
                f"```python\n{text}\n```" if "code" in str(form) else _text(text) for form, text in section.value
            ]
        elif kind is DocstringSectionKind.admonition:
            parts.append(f"**{section.title}** {_text(section.value.description)}")
        else:
            raise ValueError(
                f"The docstring of {thing!r} has a section '{kind}', which no page of the site shows yet."
            )
    return parts


def prose(thing: Any) -> list[str]:
    """Give the paragraphs of a docstring without its tables."""
    return [_text(section.value) for section in _sections(thing) if section.kind is DocstringSectionKind.text]


def first_line(thing: Any) -> str:
    """Give the first sentence or line of a docstring, in one line; nothing where the thing is a plain value."""
    if isinstance(thing, (str, int)):
        return f"`{thing!r}`" if len(str(thing)) < 40 and "/" not in str(thing) else ""
    return _cell(_doc(thing).partition("\n\n")[0])


def gaps(thing: Any, name: str) -> list[str]:
    """List what a docstring leaves out: itself, some of the arguments where it explains others, all of a class's."""
    if not inspect.getdoc(thing):
        return [f"{name} has no docstring"]
    sections = [section for section in _sections(thing) if section.kind in _ARGUMENTS]
    is_values = inspect.isclass(thing) and issubclass(thing, Enum)
    if isinstance(thing, property) or is_values or not (sections or inspect.isclass(thing)):
        return []
    told = {each.name.lstrip("*") for section in sections for each in section.value}
    told |= {name for name, field in _fields(thing).items() if "help" in field.metadata}
    told |= {name for name, value in inspect.getmembers_static(thing) if isinstance(value, property) and value.__doc__}
    try:
        taken = inspect.signature(thing).parameters
    except ValueError:  # compiled code may have none
        return []
    return [
        f"{name} does not explain '{each}'"
        for each in taken
        if not each.startswith(("self", "_")) and each not in told
    ]


def _fields(thing: Any) -> dict[str, Any]:
    return getattr(thing, "__dataclass_fields__", {})


def _doc(thing: Any) -> str:
    """Give a docstring, with Sphinx's roles as plain code: some of other libraries' have them."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", inspect.getdoc(thing) or "")


def _sections(thing: Any) -> list[Any]:
    """Read a docstring; what a class leaves to its parent to explain is taken from there."""
    sections = _read(thing)
    taken = set(_types(thing)) if inspect.isclass(thing) else set()
    for parent in thing.__mro__[1:-1] if taken else ():
        own = next((section for section in sections if section.kind in _ARGUMENTS), None)
        told = {each.name.lstrip("*") for each in own.value} if own is not None else set()
        for section in _read(parent):
            if section.kind not in _ARGUMENTS:
                continue
            section.value = [each for each in section.value if each.name.lstrip("*") in taken - told]
            if own is not None:
                own.value += section.value
            elif section.value:
                own = section
                sections.append(section)
    return sections


def _read(thing: Any) -> list[Any]:
    return list(Docstring(_doc(thing), parser="google", parser_options=_READING).parse())


def _types(thing: Any) -> dict[str, str]:
    """Give the types of arguments as they are written."""
    found = {name: _type(field.type) for name, field in _fields(thing).items()}
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (ValueError, TypeError):  # compiled code, and properties
        return found
    return found | {each.name: _type(each.annotation) for each in parameters if each.annotation is not each.empty}


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _text(text: str) -> str:
    """Keep paragraphs and lists as they stand."""
    return re.sub(r"(?<=\S)\n(?=- )", "\n\n", text.strip(), count=1)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    """Put a text into a cell of a table: its lines become one, and a bar parts no cells."""
    return re.sub(r"(`[^`]*`)|\|", lambda found: found[1] or "&#124;", _line(text))
