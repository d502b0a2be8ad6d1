"""README's commands are run, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from snippet_programs import run_page, tiny_checkout
from snippets import ROOT, Snippet, read_snippets, run_python
from tiny_checkpoint import write_tiny_checkpoint

README = ROOT / "README.md"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkout(tmp_path_factory.mktemp("readme") / "checkout")


@pytest.fixture(scope="module")
def said(checkout: Path) -> list[tuple[Snippet, str]]:
    """What each of the README's blocks prints, run in order."""
    return run_page(README, checkout)


def said_by(words: str, said: list[tuple[Snippet, str]]) -> str:
    """Give what the one block that holds some words prints."""
    (found,) = [output for snippet, output in said if words in snippet.text]
    return found


def block_with(words: str) -> str:
    """Give the one block that holds some words."""
    found = [snippet.text for snippet in read_snippets(README) if words in snippet.text]
    assert len(found) == 1, f"README should have one block with '{words}', it has {len(found)}"
    return found[0]


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=ROOT, timeout=600, check=False)


def test_every_file_that_it_names_exists() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^):]+)\)", text)
    named = re.findall(
        r"`((?:src|scripts|examples/[a-z-]+|docs)/[\w./-]+)`",
        text,
    )
    for path in links + named:
        assert (ROOT / path).exists(), f"README names {path}"


@pytest.mark.slow
def test_the_first_command_trains_the_demo(tmp_path: Path) -> None:
    done = run(shlex.split(block_with("quickstart")), LORA_OUTPUT=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "trained / all values" in done.stdout
    accuracy = float(re.search(r"accuracy\s*│\s*([0-9.]+)", done.stdout).group(1))  # type: ignore[union-attr]
    assert accuracy > 0.8, "guessing gives 0.5"


def test_the_second_command_is_the_one_that_continuous_integration_runs() -> None:
    assert block_with("scripts/test.sh").strip() == "bash scripts/test.sh"
    assert "scripts/test.sh" in (ROOT / ".ci" / "run").read_text()


def test_the_launcher_that_it_names_starts(tmp_path: Path) -> None:
    [launcher] = re.findall(r"`(bash scripts/\w+\.sh)` and its", (ROOT / "README.md").read_text())
    done = run(shlex.split(launcher), DRY_RUN="1", NUM_GPUS="0", LORA_PYTHON=sys.executable, OUTPUT_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "run_glue.py" in done.stdout


def test_the_glue_command_leaves_what_the_table_says(checkout: Path, said: list[tuple[Snippet, str]]) -> None:
    section = README.read_text().partition("## Reading the result")[2].partition("\n## ")[0]
    for name in re.findall(r"^\| `([\w.]+)`", section, flags=re.MULTILINE):
        if name != "MRPC.tsv":  # only with --do_predict
            assert (checkout / "output" / "mrpc" / name).exists(), f"README says that the run leaves {name}"
    assert said_by("model.config.id2label", said).strip() in ("equivalent", "not_equivalent")
    assert (checkout / "output" / "mrpc-merged" / "model.safetensors").is_file()
    assert (checkout / "output" / "mrpc.bin").is_file()


def test_the_command_for_entities(checkout: Path, said: list[tuple[Snippet, str]]) -> None:
    assert "f1 PER" in said_by("run_ner.py", said)
    assert (checkout / "output" / "ner" / "predictions.txt").is_file()


def test_the_lora_model_in_python(checkout: Path, said: list[tuple[Snippet, str]]) -> None:
    assert said_by("model.save_adapter", said).splitlines()[1] == "True"
    for folder in ("film", "film-trainer"):
        assert (checkout / "output" / folder / "adapter_model.safetensors").is_file()
        assert not (checkout / "output" / folder / "model.safetensors").exists()


def test_the_lora_model_in_python_learns(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "roberta-base", initializer_range=0.2, hidden_dropout_prob=0.0)
    torch.manual_seed(0)  # as luck has it, the tiny base learns or does not
    (snippet,) = [each for each in read_snippets(README) if "model.save_adapter" in each.text]
    faster = replace(snippet, text=snippet.text.replace("lr=1e-3", "lr=3e-2"))  # the tiny base knows nothing yet
    lines = run_python(faster, tmp_path, {}).splitlines()
    assert float(lines[0].removeprefix("loss ")) < 0.4, "guessing gives 0.69"
    assert lines[1] == "True"
