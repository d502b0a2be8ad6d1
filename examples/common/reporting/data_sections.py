"""The section of a report that says what the data are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .drawing import draw_histogram
from .html import Markup, bar, card, details, joined, number, paragraph, picture, table, text, words_of

__all__ = ["show_data"]

_MOST_LABELS = 40

Figures = Mapping[str, Any]


def show_data(report: Figures) -> Markup:
    """Show label counts, lengths, and texts that stand there twice."""
    found = report["data"]
    parts = [_labels(found["labels"])] if found["labels"] else []
    parts += [_lengths(found)] if found["lengths"] else []
    parts += [_duplicates(found["duplicates"])] if "duplicates" in found else []
    return card("data", "Data", *parts)


def _labels(counts: Figures) -> Markup:
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    totals = {split: sum(found.values()) for split, found in counts.items()}
    rows = [
        (
            name,
            *(
                bar(
                    found.get(name, 0) / totals[split],
                    f"{found.get(name, 0):,} ({found.get(name, 0) / totals[split]:.0%})",
                )
                for split, found in counts.items()
            ),
        )
        for name in names[:_MOST_LABELS]
    ]
    more = paragraph(f"{len(names) - _MOST_LABELS} more.") if len(names) > _MOST_LABELS else ""
    return joined(Markup("<h3>Labels</h3>"), table(("label", *counts), rows, "wide"), more)


def _lengths(found: Figures) -> Markup:
    limit = found["max_seq_length"]
    splits, rows = found["lengths"], []
    known = any("tokens" in split for split in splits.values())
    lost = "several_windows" if any("several_windows" in split for split in splits.values()) else "cut"
    for name, split in splits.items():
        tokens = split.get("tokens", {})
        share = f" ({split[lost] / split['examples']:.1%})" if split.get(lost) else ""
        cut = f"{split[lost]:,}{share}" if lost in split else Markup("&ndash;")
        shares = [number(tokens.get(each), 0) for each in _SHARES if known]
        rows.append((name, number(split["examples"]), *shares, cut))
    header = [f"{each} tokens" for each in _SHARES if known]
    table_ = table(("", "examples", *header, words_of(lost)), rows)
    title = "Lengths" + (f", at most {limit:,} tokens are read" if limit else "")
    drawn = "".join(
        picture(
            draw_histogram(
                split["histogram"]["counts"], split["histogram"]["edges"], f"tokens, {name}", f"tokens-{name}"
            ),
            f"histogram of lengths, {name}",
        )
        for name, split in list(splits.items())[:3]
        if "histogram" in split
    )
    return Markup(f'<h3>{text(title)}</h3>{table_}<div class="pictures">{drawn}</div>')


_SHARES = ("median", "95 %", "longest")


def _duplicates(found: Figures) -> Markup:
    rows = [(f"twice within {name}", number(count)) for name, count in found["within"].items()]
    rows += [(f"in both: {name}", number(count)) for name, count in found["across"].items()]
    rows += [("with labels that contradict", number(found["contradicting"]))] if rows else []
    title = Markup("<h3>Duplicates</h3>")
    if not rows:
        return joined(title, paragraph("No text stands there twice (but for case and white space)."))
    shown = [(" | ".join(each["texts"]), _places(each["places"])) for each in found["shown"]]
    examples = details("The texts with contradicting labels", table(("text", "labels"), shown, "left"))
    return joined(title, table(("texts", ""), rows), examples if shown else "")


def _places(places: list[Figures]) -> Markup:
    lines = (f"{text(each['source'])}, {each['row']:,}: <b>{text(each['label'])}</b>" for each in places)
    return Markup("<br>".join(lines))
