"""A page of its own, which asks nothing of any other place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .html import Markup, text

__all__ = ["make_page"]


def make_page(title: str, subtitle: str, cards: Sequence[tuple[str, str, Markup]]) -> str:
    """Put sections into a page.

    Args:
        title: Its heading.
        subtitle: The line below.
        cards: Of each section its anchor, its name in the list of contents (none for those that need no entry), and
            itself.
    """
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    contents = "".join(f'<a href="#{text(anchor)}">{text(name)}</a>' for anchor, name, _ in cards if name)
    sections = "\n".join(section for _, _, section in cards)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<h1>{text(title)}</h1>
<p>{text(subtitle)}</p>
<nav aria-label="Contents">{contents}</nav>
</header>
<main>
{sections}
</main>
</body>
</html>
"""
