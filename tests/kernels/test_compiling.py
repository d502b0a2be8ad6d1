"""Compiling, keeping and loading: what cannot be had, or not be trusted, is done without."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import run_python

from transformers.kernels import compiling

KEEP = """
import logging, sys
import transformers
from transformers.kernels.calls import use_kernels
logging.getLogger("transformers").setLevel(logging.INFO)
print(use_kernels())
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources that compile at once, in place of the real ones."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "numbers.h").write_text("constexpr int ONE = 1;\n")
    for name in compiling._CONTRACTION:
        (folder / name).write_text(f'#include "numbers.h"\nextern "C" int {Path(name).stem}() {{ return ONE; }}\n')
    monkeypatch.setattr(compiling, "_SOURCES", folder)
    return folder


@pytest.fixture(autouse=True)
def home(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of one's own to keep what is compiled."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    if compiling.load() is None:
        pytest.skip("needs a C++ compiler")
    return tmp_path / compiling.FOLDER


def test_is_compiled_once_and_kept_for_its_user_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept,) = home.iterdir()
    assert not stat.S_IMODE(kept.stat().st_mode) & 0o022
    monkeypatch.setattr(compiling, "_compile", lambda *arguments: pytest.fail("compiled once more"))
    assert compiling.load() is not None
    assert list(home.iterdir()) == [kept]


def test_a_umask_that_lets_the_group_write(home: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path / "shared")}
    program = "import os; os.umask(0o002)\n" + KEEP
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[-1] == "True"
    folder = tmp_path / "shared" / compiling.FOLDER
    (kept,) = folder.iterdir()
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(kept.stat().st_mode)) == (0o700, 0o600)


@pytest.mark.parametrize("name", ["attention.cpp", "numbers.h"])
def test_another_source_is_another_file(home: Path, sources: Path, name: str) -> None:
    with (sources / name).open("a") as source:
        source.write("// changed\n")
    assert compiling.load() is not None
    assert len(list(home.iterdir())) == 2


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_others_may_write_is_not_loaded(home: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept,) = home.iterdir()
    kept.write_bytes(b"somebody else's")
    (kept if what == "file" else home).chmod(0o777)
    loaded = []
    plain = compiling._compile
    monkeypatch.setattr(compiling, "_compile", lambda *arguments: loaded.append(plain(*arguments)) or loaded[-1])
    assert compiling.load() is not None
    assert len(loaded) == 1
    assert kept.read_bytes() == b"somebody else's"


@pytest.mark.parametrize("content", [b"", b"no library at all", b"\x7fELF"])
def test_a_damaged_file_is_done_without(home: Path, content: bytes) -> None:
    (kept,) = home.iterdir()
    kept.write_bytes(content)
    assert compiling.load() is not None


def test_a_home_that_cannot_be_written(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "a file"))
    assert compiling.load() is not None


def test_without_a_compiler(home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.INFO, "transformers"):
        assert compiling.load() is None
    assert "Without a C++ compiler" in caplog.text


def test_a_compiler_that_fails_says_why(sources: Path, caplog: pytest.LogCaptureFixture) -> None:
    (sources / "attention.cpp").write_text("this is no C++\n")
    with caplog.at_level(logging.INFO, "transformers"):
        assert compiling.load() is None
    assert "Kernels were not compiled, plain operations do their work" in caplog.text
    assert "error" in caplog.text


def test_several_processes_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path / "fresh")}
    running = [
        subprocess.Popen([sys.executable, "-c", KEEP], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[0].split()[-1] for process in running] == ["True"] * 4
    assert len(list((tmp_path / "fresh" / compiling.FOLDER).iterdir())) == 1


TRAIN = """
import json, sys, torch
from transformers import RobertaConfig, RobertaForSequenceClassification, Trainer, TrainingArguments
from transformers.kernels.calls import uses_kernels

config = RobertaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
data = [{"input_ids": [5, 6, 7], "labels": 0}] * 4
args = TrainingArguments(sys.argv[1], max_steps=2, report_to="none", disable_tqdm=True, **json.loads(sys.argv[2]))
torch.manual_seed(0)
trained = Trainer(RobertaForSequenceClassification(config), args, train_dataset=data).train()
print(trained.training_loss, uses_kernels())
"""


def test_the_trainer_uses_them_unless_told_otherwise(tmp_path: Path) -> None:
    with_kernels = run_python(TRAIN, tmp_path / "with", "{}").split()[-2:]
    without = run_python(TRAIN, tmp_path / "without", '{"compile_kernels": false}').split()[-2:]
    assert (with_kernels[1], without[1]) == ("True", "False")
    torch.testing.assert_close(float(with_kernels[0]), float(without[0]), rtol=1e-5, atol=0)
