"""The sections of a report that show examples, each with its texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .html import Markup, card, details, joined, number, paragraph, text

__all__ = [
    "show_answers",
    "show_entity_mistakes",
    "show_example",
    "show_largest_errors",
    "show_list",
    "show_mistakes",
]

_OPEN = 12
"""Examples that are seen at once; the others are a click away."""

Figures = Mapping[str, Any]


def show_mistakes(report: Figures) -> Markup:
    """Show the mistakes that the model is surest of."""
    found = report["mistakes"]
    items = []
    for each in found["shown"]:
        certainty = f"{each['class']}: {each['probability']:.3f}" if "class" in each else f"{each['probability']:.3f}"
        items.append(
            show_example(
                each,
                Markup(f'predicted <span class="wrong">{text(each["predicted"])}</span> {text(certainty)}'),
                Markup(f'labelled <span class="right">{text(each["label"])}</span>'),
                *([Markup('<span class="badge">label suspect</span>')] if each.get("suspect") else []),
            )
        )
    note = f"{found['number']:,} mistakes" + (", the surest first." if found["number"] else ".")
    if found.get("suspects"):
        note += (
            f" {found['suspects']:,} labels are suspect: the model means another class as surely as it means that "
            "class elsewhere (confident learning). Look at them first; they may be wrong in the data."
        )
    return card("mistakes", "Surest mistakes", paragraph(note), show_list(items))


def show_largest_errors(report: Figures) -> Markup:
    """Show the examples of a regression that are farthest off."""
    items = [
        show_example(
            each,
            Markup(f'predicted <span class="wrong">{number(each["predicted"])}</span>'),
            Markup(f'right <span class="right">{number(each["label"])}</span>'),
        )
        for each in report["largest_errors"]
    ]
    return card("largest_errors", "Largest errors", show_list(items))


def show_entity_mistakes(report: Figures) -> Markup:
    """Show wrong entities in their sentences."""
    found = report["entity_mistakes"]
    items = []
    for each in found["shown"]:
        said = each["predicted"] or "nothing"
        sure = "" if each["probability"] is None else f" {each['probability']:.3f}"
        items.append(
            show_example(
                each,
                Markup(f'{text(each["kind"])}: predicted <span class="wrong">{text(said)}</span>{text(sure)}'),
                Markup(f'right <span class="right">{text(each["label"] or "nothing")}</span>'),
                context=_marked(each["context"]),
            )
        )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found["kinds"].items() if count)
    note = f"{found['number']:,} wrong entities" + (f": {kinds}." if kinds else ".")
    note += " Orange: what was predicted. Blue: what is right."
    return card("entity_mistakes", "Surest mistakes", paragraph(note), show_list(items))


def show_answers(report: Figures) -> Markup:
    """Show the questions with the worst answers."""
    found = report["answers"]
    items = []
    for each in found["shown"]:
        right = " / ".join(each["label"]) or "no answer"
        items.append(
            show_example(
                each,
                Markup(f'answered <span class="wrong">{text(each["predicted"] or "nothing")}</span>'),
                Markup(f"{number(each['probability'])}, F1 {number(each['f1'], 0)}"),
                Markup(f'right <span class="right">{text(right)}</span>'),
                context=_marked(each["context"]),
            )
        )
    note = paragraph(f"{found['number']:,} answers with an F1 below 50 %, the surest first.")
    return card("answers", "Worst answers", note, show_list(items))


def _marked(pieces: Iterable[tuple[str, str, str]]) -> Markup:
    """Give a text whose pieces are marked: ``(text, mark, word behind it)``; no mark for the rest."""
    found = []
    for words, mark, behind in pieces:
        small = f"<small>{text(behind)}</small>" if behind else ""
        found.append(f'<mark class="{text(mark)}">{text(words)}{small}</mark>' if mark else text(words))
    return Markup("".join(found))


def show_example(example: Figures, *says: Markup, context: Markup | None = None) -> Markup:
    """Show an example as an item of a list.

    Args:
        example: By `examples.Examples.shown`.
        *says: What is said of it.
        context: A marked text behind its texts.
    """
    place = example.get("where") or f"{example['source']}, row {example['row']:,}"
    where = Markup(f'<small class="where">{text(place)}</small>')
    line = " ".join(f"<span>{each}</span>" if each is not where else each for each in (*says, where))
    texts = example.get("texts", {})
    several = len(texts) > 1 or context is not None
    shown = "".join(
        f'<p class="text">{f"<small>{text(name)}</small>" if several else ""}{text(words)}</p>'
        for name, words in texts.items()
    )
    shown += f'<p class="text">{context}</p>' if context is not None else ""
    return Markup(f'<li><div class="says">{line}</div>{shown}</li>')


def show_list(items: list[Markup]) -> Markup:
    """Show the first items, and the others at a click."""
    if not items:
        return Markup("")
    first = Markup(f'<ol class="examples">{"".join(items[:_OPEN])}</ol>')
    if len(items) <= _OPEN:
        return first
    more = Markup(f'<ol class="examples">{"".join(items[_OPEN:])}</ol>')
    return joined(first, details(f"{len(items) - _OPEN} more", more))
