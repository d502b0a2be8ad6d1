"""The pages of docs: their snippets run, their flags, names and files exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from snippet_programs import run_page, tiny_checkout
from snippets import ROOT, Snippet, read_snippets

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
SNIPPETS = [snippet for page in PAGES for snippet in read_snippets(page)]
SHOWN = {"csv", "tsv", "json", "jsonl", "text", "yaml"}  # data.md's have a test of their own; the others are only read
WITH_RUNS = [page for page in PAGES[:-1] if any(snippet.is_run for snippet in SNIPPETS if snippet.page == page)]


def test_all_blocks_are_found_and_known() -> None:
    assert len(SNIPPETS) == sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES) / 2
    for snippet in SNIPPETS:
        assert snippet.language in {"bash", "python"} | SHOWN, f"{snippet} is in no known language"


@pytest.mark.parametrize("page", WITH_RUNS, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    checkout = tiny_checkout(tmp_path / "checkout")
    run_page(page, checkout)
    for name in re.findall(r"`(output/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (checkout / name).exists(), f"{page.name} names {name}, which its snippets do not write"


@pytest.mark.parametrize("snippet", [snippet for snippet in SNIPPETS if snippet.reason], ids=str)
def test_a_snippet_that_is_not_run_is_right_as_far_as_can_be_seen(snippet: Snippet) -> None:
    if snippet.language == "python":
        tree = ast.parse(snippet.text)
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), str(snippet), "exec"), {})
    elif snippet.language == "bash":
        checked = subprocess.run(["bash", "-n", "-c", snippet.text], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        for script in re.findall(r"(?<![\w/])((?:scripts|examples)/[\w./-]+\.(?:sh|py))", snippet.text):
            assert (ROOT / script).is_file(), f"{snippet} calls {script}"
