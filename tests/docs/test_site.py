"""The site of docs: it builds without a warning, every link leads somewhere, and it needs nothing from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM

from site_links import find_problems
from site_reference import PAGES, find_gaps

ROOT = Path(__file__).resolve().parents[2]

# Types into the search box as a reader does, and makes what is found the page's title.
SEARCH = """<script>addEventListener("load", () => setTimeout(() => {
  document.querySelector(".md-search__button").click();
  setTimeout(() => {
    const roots = [...document.querySelectorAll("*")].map(each => each.shadowRoot);
    const box = roots.find(each => each?.querySelector("input"));
    box.querySelector("input").value = "merge_and_unload";
    box.querySelector("input").dispatchEvent(new Event("input", {bubbles: true}));
    setTimeout(() => document.title = [...box.querySelectorAll("a")].map(link => link.href).join(" "), 3000);
  }, 800);
}, 500))</script></body>"""


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built as `scripts/docs.sh` builds it, into `site/`."""
    command = [sys.executable, str(ROOT / "scripts" / "docs" / "build_site.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "problems: 0" in done.stdout
    return ROOT / "site"


def test_all_pages_are_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file()
    for name in PAGES:
        assert (site / "reference" / f"{name}.html").is_file()


def test_every_page_of_docs_is_in_the_navigation(site: Path) -> None:
    shown = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in [*(ROOT / "docs").rglob("*.md"), *(ROOT / "build" / "docs" / "reference").iterdir()]:
        folder = ROOT / "docs" if page.is_relative_to(ROOT / "docs") else ROOT / "build" / "docs"
        assert f" {page.relative_to(folder)}\n" in shown, f"{page.name} is on no menu of the site"


@pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium")
def test_search_works_from_the_disk_without_a_network(site: Path, tmp_path: Path) -> None:
    page = site / "search_test.html"
    page.write_text((site / "index.html").read_text(encoding="utf-8").replace("</body>", SEARCH), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    flags += ["--virtual-time-budget=9000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    try:
        done = subprocess.run([CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=120)
    finally:
        page.unlink()
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    assert "reference/adapters.html?h=merge_and_unload#AdapterMethods.merge_and_unload" in title


def test_every_docstring_of_the_reference_explains_its_arguments() -> None:
    assert find_gaps() == []


BODY = '<h1 id="here">x</h1><a href="{}">x</a>'


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (BODY.format("#here"), ""),
        (BODY.format("other.html#there"), ""),
        (BODY.format("https://example.org/x"), ""),
        (BODY.format("#not"), "without that anchor"),
        (BODY.format("other.html#not"), "without that anchor"),
        (BODY.format("none.html"), "leads nowhere"),
        (BODY.format("https://example"), "no address"),
        (BODY.format("javascript:x"), "scheme"),
        ('<script src="https://example.org/x.js"></script>', "loads https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "loads //example.org/x.css"),
        ('<img src="none.png">', "leads nowhere"),
    ],
)
def test_a_dead_link_and_what_is_loaded_from_outside_are_found(body: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "other.html").write_text('<html><body><p id="there"></p></body></html>')
    found = find_problems(tmp_path)
    assert (len(found) == 1 and problem in found[0]) if problem else found == []


def test_a_style_that_loads_from_outside_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@import 'https://example.org/font.css';")
    assert len(find_problems(tmp_path)) == 1
