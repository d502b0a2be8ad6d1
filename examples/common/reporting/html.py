"""Pieces of a page, each of which escapes what it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "Markup",
    "bar",
    "card",
    "details",
    "figure_text",
    "joined",
    "number",
    "paragraph",
    "picture",
    "table",
    "text",
]


class Markup(str):
    """Text that is HTML already."""


def text(value: Any) -> Markup:
    """Give a value as HTML: escaped, unless it is HTML already."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def words_of(name: str) -> str:
    """Give a figure's name as people write it."""
    return name.replace("_", " ")


def joined(*parts: Any) -> Markup:
    """Put pieces one behind the other."""
    return Markup("".join(text(part) for part in parts))


def number(value: Any, digits: int = 3) -> Markup:
    """Give a number as people read it; a dash for none."""
    if value is None:
        return Markup("&ndash;")
    if isinstance(value, int):
        return Markup(f"{value:,}")
    if value and not 0.001 <= abs(value) < 100_000:
        return Markup(f"{value:.2e}")
    return Markup(f"{value:.{digits if abs(value) < 10 else min(digits, 1)}f}")


def figure_text(found: Mapping[str, Any] | None) -> Markup:
    """Give a figure with its interval."""
    if found is None or found["value"] is None:
        return Markup("&ndash;")
    if found["low"] is None:
        return number(found["value"])
    return joined(number(found["value"]), Markup(f' <small class="interval">{interval_text(found)}</small>'))


def interval_text(found: Mapping[str, Any]) -> Markup:
    """Give a figure's interval."""
    if found["low"] is None:
        return Markup("&ndash;")
    return Markup(f"{number(found['low'])} &ndash; {number(found['high'])}")


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], words: str = "") -> Markup:
    """Make a table that scrolls by itself where the page is narrow; its first column names the rows.

    Args:
        header: The columns' names.
        rows: Their cells.
        words: Classes of the table.
    """
    head = "".join(f"<th>{text(each)}</th>" for each in header)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>' + "".join(f"<td>{text(each)}</td>" for each in rest) + "</tr>"
        for first, *rest in rows
    )
    return Markup(
        f'<div class="scroll"><table class="{escape(words)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def bar(value: float | None, label: Any = None) -> Markup:
    """Give a share from 0 to 1 as a bar with its number."""
    width = 100 * min(max(value or 0.0, 0.0), 1.0)
    shown = number(value) if label is None else text(label)
    return Markup(f'<span class="bar"><i style="width:{width:.1f}%"></i></span><span class="value">{shown}</span>')


def card(name: str, title: str, *parts: Any, words: str = "") -> Markup:
    """Make a section of a page.

    Args:
        name: Its anchor.
        title: Its heading.
        *parts: What is in it.
        words: Classes of the section.
    """
    return Markup(
        f'<section class="card {escape(words)}" id="{escape(name)}"><h2>{text(title)}</h2>{joined(*parts)}</section>'
    )


def paragraph(*parts: Any) -> Markup:
    """Make a paragraph that explains."""
    return Markup(f'<p class="note">{joined(*parts)}</p>')


def picture(svg: str, says: str) -> Markup:
    """Put a picture into a page, with words for those who cannot see it."""
    return Markup(f'<figure role="img" aria-label="{escape(says)}">{svg}</figure>')


def details(title: str, *parts: Any) -> Markup:
    """Hide something behind its title."""
    return Markup(f"<details><summary>{text(title)}</summary>{joined(*parts)}</details>")
