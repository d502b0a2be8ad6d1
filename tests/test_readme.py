"""README's commands are run, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint
from tiny_glue import write_tiny_glue

ROOT = Path(__file__).resolve().parent.parent


def blocks(language: str) -> list[str]:
    """Give the README's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def block_with(words: str, language: str = "bash") -> str:
    """Give the one block that holds some words."""
    found = [block for block in blocks(language) if words in block]
    assert len(found) == 1, f"README should have one {language} block with '{words}', it has {len(found)}"
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


def test_the_glue_command_and_what_follows_it(tmp_path: Path) -> None:
    tiny = write_tiny_checkpoint(tmp_path / "tiny")
    glue = tmp_path / "glue"
    glue.mkdir()
    write_tiny_glue(glue)
    words = shlex.split(block_with("--task_name mrpc").replace("\\\n", " "))
    assert words[0] == "python"
    replaced = {"roberta-base": str(tiny), "output/mrpc": str(tmp_path / "out"), "python": sys.executable}
    words = [replaced.get(word, word) for word in words]
    words += ["--glue_dataset", str(glue), "--max_steps", "2", "--report_to", "none"]
    done = run(words, HF_DATASETS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr[-3000:]
    section = (ROOT / "README.md").read_text().partition("## Reading the result")[2].partition("\n## ")[0]
    for name in re.findall(r"^\| `([\w.]+)`", section, flags=re.MULTILINE):
        if name != "MRPC.tsv":  # only with --do_predict
            assert (tmp_path / "out" / name).exists(), f"README says that the run leaves {name}"

    out = str(tmp_path / "out")
    code = block_with("model.config.id2label", "python")
    done = run([sys.executable, "-c", code.replace("output/mrpc", out)])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() in ("equivalent", "not_equivalent")

    code = block_with("adapter_names", "python").replace("output/mrpc", out).replace("output/rte", out)
    done = run([sys.executable, "-c", code.replace("roberta-base", str(tiny))])
    assert done.returncode == 0, done.stderr[-3000:]

    for line in block_with("transformers-cli").splitlines():
        words = [sys.executable, "-m", "transformers.commands.transformers_cli", *shlex.split(line)[1:]]
        done = run([word.replace("output/mrpc", out) for word in words])
        assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"


def test_the_command_for_entities(tmp_path: Path) -> None:
    tiny = write_tiny_checkpoint(tmp_path / "tiny")
    words = shlex.split(block_with("run_ner.py").replace("\\\n", " "))
    replaced = {"models/minilm-roberta": str(tiny), "output/ner": str(tmp_path / "out"), "python": sys.executable}
    words = [*(replaced.get(word, word) for word in words), "--max_steps", "2", "--report_to", "none"]
    done = run(words, HF_DATASETS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "f1 PER" in done.stdout
    assert (tmp_path / "out" / "predictions.txt").is_file()


def test_the_lora_model_in_python(tmp_path: Path) -> None:
    tiny = write_tiny_checkpoint(tmp_path / "tiny", initializer_range=0.2, hidden_dropout_prob=0.0)
    code = "import torch\n\ntorch.manual_seed(0)  # as luck has it, the tiny base learns or does not\n"
    code += block_with("model.save_adapter", "python") + block_with("trainer.save_model", "python")
    code = code.replace("roberta-base", str(tiny)).replace("output/", f"{tmp_path}/")
    code = code.replace("lr=1e-3", "lr=3e-2")  # the tiny base knows nothing yet
    done = run([sys.executable, "-c", code], HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert float(lines[0].removeprefix("loss ")) < 0.4, "guessing gives 0.69"
    assert lines[1] == "True"
    for folder in ("film", "film-trainer"):
        assert (tmp_path / folder / "adapter_model.safetensors").is_file()
        assert not (tmp_path / folder / "model.safetensors").exists()
