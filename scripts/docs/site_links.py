"""Whether all links of a built site lead somewhere, and no page loads anything from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["find_problems"]

_LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
_OUTSIDE = re.compile(r"url\(\s*['\"]?(https?:)?//|@import\s+['\"]?(https?:)?//")


class _Page(HTMLParser):
    """What a page has: anchors, links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        loads = _LOADING.get(tag)
        if loads in found and not (tag == "link" and found.get("rel") in ("canonical", "prev", "next")):
            self.loaded.append(found[loads])


def find_problems(site: Path) -> list[str]:
    """List dead links and anchors, addresses that are none, and what is loaded from elsewhere.

    Args:
        site: The built site.
    """
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html"))}
    problems = []
    for path, page in pages.items():
        where = path.relative_to(site)
        for address in page.loaded:
            if urlsplit(address).scheme in ("http", "https") or address.startswith("//"):
                problems.append(f"{where} loads {address}")
            elif not address.startswith("data:"):
                problems += [f"{where}: {why}" for why in _dead(address, path, site, pages)]
        for address in page.links:
            problems += [f"{where}: {why}" for why in _dead(address, path, site, pages)]
    for path in sorted(site.rglob("*.css")):
        if _OUTSIDE.search(path.read_text(encoding="utf-8")):
            problems.append(f"{path.relative_to(site)} loads something from elsewhere")
    return problems


def _dead(address: str, path: Path, site: Path, pages: dict[Path, _Page]) -> list[str]:
    """Say why an address leads nowhere; nothing where it leads somewhere, or out and is well formed."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        return (
            [] if "." in parts.netloc or parts.hostname in ("localhost", "127.0.0.1") else [f"{address} is no address"]
        )
    if parts.scheme:
        return [] if parts.scheme == "mailto" else [f"{address} has a scheme that no page here needs"]
    start = site if parts.path.startswith("/") else path.parent
    place = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    place = place / "index.html" if place.is_dir() else place
    if not place.is_file():
        return [f"{address} leads nowhere"]
    anchor = unquote(parts.fragment)
    if anchor and place in pages and anchor not in pages[place].anchors:
        return [f"{address} leads to a page without that anchor"]
    return []
