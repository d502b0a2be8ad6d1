"""The pages of docs: their snippets run, their flags, names and files exist."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snippet_programs import Programs
from snippets import ROOT, Snippet, lay_out, read_snippets, run_bash, run_python
from supposed import prepare
from tiny_checkpoint import write_tiny_checkpoint

PAGES = sorted((ROOT / "docs").rglob("*.md"))
SNIPPETS = [snippet for page in PAGES for snippet in read_snippets(page)]
SHOWN = {"csv", "tsv", "json", "jsonl", "text", "yaml"}  # data.md's have a test of their own; the others are only read
RUN = [snippet for snippet in SNIPPETS if not snippet.reason and snippet.language not in SHOWN]
WITH_RUNS = [page for page in PAGES if any(snippet.page == page for snippet in RUN)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("base") / "base", initializer_range=0.2)


@pytest.fixture
def checkout(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the names that pages use lead to tiny models and data."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "checkout"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "minilm-roberta").symlink_to(base)
    (folder / "roberta-base").symlink_to(base)  # a folder of that name comes before the hub
    return lay_out(folder)


@pytest.fixture
def programs() -> Iterator[Programs]:
    found = Programs()
    yield found
    found.close()


def test_all_blocks_are_found_and_known() -> None:
    assert len(SNIPPETS) == sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES) / 2
    for snippet in SNIPPETS:
        assert snippet.language in {"bash", "python"} | SHOWN, f"{snippet} is in no known language"


@pytest.mark.parametrize("page", WITH_RUNS, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_the_snippets_of_a_page_run(page: Path, checkout: Path, programs: Programs) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    prepare(page, checkout, checkout / "roberta-base", names)
    for snippet in (snippet for snippet in RUN if snippet.page == page):
        if snippet.language == "python":
            run_python(snippet, checkout, names)
            continue
        done = run_bash(snippet.text, checkout, programs, {})
        assert done.code == 0, f"{snippet} ended with {done.code}:\n{done.output[-3000:]}"
    for name in re.findall(r"`(output/[\w./-]+)`", page.read_text()):
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
