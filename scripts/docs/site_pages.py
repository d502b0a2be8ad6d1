"""What the site is built of, gathered in one folder: `docs/`, the files that it links to, and the reference."""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from site_flags import flag_pages
from site_http import http_page
from site_reference import reference_pages

__all__ = ["gather"]

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def gather(target: Path) -> None:
    """Lay the site's pages out anew.

    Pages of `docs/` link to files beside that folder as they lie in a checkout; these come along, and the links are
    turned to where they are in the site.

    Args:
        target: A folder, which is emptied.

    Raises:
        ValueError: If a page links to what does not exist.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target)
    waiting = [(path, Path("docs") / path.relative_to(target)) for path in sorted(target.rglob("*.md"))]
    while waiting:
        path, source = waiting.pop()
        text = path.read_text(encoding="utf-8")
        path.write_text(_LINK.sub(lambda found, source=source: _follow(found[1], source, target, waiting), text))
    (target / "reference").mkdir()
    for name, text in (*reference_pages(), *flag_pages(), http_page()):
        (target / "reference" / name).write_text(text, encoding="utf-8")


def _follow(link: str, source: Path, target: Path, waiting: list[tuple[Path, Path]]) -> str:
    """Bring what a link leads to, and say where it is then.

    Args:
        link: As it stands in the page.
        source: The page's place in the checkout.
        target: Where the site is gathered.
        waiting: Pages whose links are still to be followed.
    """
    place = posixpath.normpath(posixpath.join(source.parent.as_posix(), link))
    if place.startswith("docs/reference/"):
        return link  # made, not kept: the build checks it
    if not (ROOT / place).exists() or place.startswith(".."):
        raise ValueError(f"{source} links to {link}, which is not there.")
    here, there = _in_site(source), _in_site(Path(place))
    if not (target / there).exists() and (ROOT / place).is_file():
        (target / there).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, target / there)
        if there.suffix == ".md":
            waiting.append((target / there, Path(place)))
    return posixpath.relpath(there.as_posix(), here.parent.as_posix())


def _in_site(place: Path) -> Path:
    """Say where a file of the checkout is in the site: ``docs/` is its root."""
    return place.relative_to("docs") if place.parts[0] == "docs" else place
