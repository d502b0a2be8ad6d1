"""Every flag that a page names exists."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from snippets import ROOT, Snippet, read_snippets

from common.arguments import ModelArguments
from site_flags import SCRIPTS, data_flags
from transformers import TrainingArguments

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
_FLAG = re.compile(r"(?<![\w-])--([A-Za-z][\w-]*)")
ELSEWHERE = {
    "torchrun": {"nproc_per_node"},
    "deepspeed": {"num_gpus", "master_port"},
    "accelerate": {"cpu", "use_fsdp", "use_deepspeed", "multi_gpu", "mixed_precision", "num_processes"},
    "accelerate config": {"deepspeed_config_file"},
    "sbatch": {"signal"},
    "pip": {"no-deps"},
    "everybody": {"help"},
    "a mistake that troubleshooting.md shows": {"learning_rat"},
}
"""Flags of other programs that pages name."""


def flags_of(*classes: type) -> set[str]:
    return {field.name for kind in classes for field in fields(kind) if field.init}


@pytest.fixture(scope="module")
def of_scripts() -> dict[str, set[str]]:
    shared = flags_of(ModelArguments, TrainingArguments) | set(TrainingArguments._aliases)
    return {Path(script).name: flags_of(data_flags(script)) | shared for script in SCRIPTS}


@pytest.fixture(scope="module")
def of_all(of_scripts: dict[str, set[str]]) -> set[str]:
    added = re.compile(r"add_argument\(\s*\"--([\w-]+)\"")
    files = [file for room in ("src", "scripts", "benchmarks", "tests") for file in (ROOT / room).rglob("*.py")]
    found = {flag for file in files for flag in added.findall(file.read_text(encoding="utf-8"))}
    found |= {flag for file in (ROOT / "scripts").glob("launch*.py") for flag in _FLAG.findall(file.read_text())}
    return found.union(*of_scripts.values(), *ELSEWHERE.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_flag_that_a_page_names_exists(page: Path, of_all: set[str]) -> None:
    named = set(_FLAG.findall(page.read_text(encoding="utf-8")))
    assert {flag for flag in named if flag not in of_all and flag.removeprefix("no_") not in of_all} == set()


COMMANDS = [s for page in PAGES for s in read_snippets(page) if s.language == "bash" and "run_" in s.text]


@pytest.mark.parametrize("snippet", COMMANDS, ids=str)
def test_a_script_is_called_with_its_own_flags(snippet: Snippet, of_scripts: dict[str, set[str]]) -> None:
    for line in snippet.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        script = next((Path(word).name for word in words if word.endswith(tuple(of_scripts))), None)
        if script is not None:
            assert set(_FLAG.findall(line)) <= of_scripts[script], f"{snippet}: {script} has not all of these flags"
