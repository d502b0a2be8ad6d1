"""Hashes of large files are remembered by what the files are, and are never those of another content."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from head_models import make_head
from huggingface_hub import constants

from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.utils import remembered_hashes
from transformers.utils.remembered_hashes import FOLDER, ReadFiles

SIZE = 17 * 2**20


class Hashing:
    """Hashes a file as one does who reads it, and counts how often that was done anew."""

    def __init__(self, path: Path) -> None:
        self.path, self.computed = path, 0

    def new(self) -> str:
        self.computed += 1
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def __call__(self, what: str = "content", meanwhile: Callable[[], None] = lambda: None) -> str:
        files = ReadFiles()
        files.note(self.path)
        meanwhile()
        return files.hash(what, self.new)

    def is_right_and_new(self) -> bool:
        before = self.computed
        return self() == hashlib.sha256(self.path.read_bytes()).hexdigest() and self.computed == before + 1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / FOLDER


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large files that nobody has changed for a while."""
    folder = tmp_path_factory.mktemp("settled")
    for name in "abcdef":
        with (folder / name).open("wb") as file:
            file.write(name.encode())
            file.truncate(SIZE)
    time.sleep(2.1)
    return folder


def test_an_unchanged_file_is_hashed_once(settled: Path, home: Path) -> None:
    hashing = Hashing(settled / "a")
    first = hashing()
    assert first == hashlib.sha256(b"a" + bytes(SIZE - 1)).hexdigest()
    assert [hashing(), Hashing(settled / "a")()] == [first, first]
    assert hashing.computed == 1
    hashing("something else that depends on it")
    assert hashing.computed == 2
    (settled / "link").symlink_to(settled / "a")
    assert Hashing(settled / "link")() == first
    assert len(list(home.iterdir())) == 2


def test_a_changed_file_is_hashed_anew(settled: Path, tmp_path: Path) -> None:
    hashing = Hashing(settled / "b")
    hashing()
    times = (settled / "b").stat()
    with (settled / "b").open("r+b") as file:
        file.write(b"x")
    os.utime(settled / "b", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hashing.is_right_and_new(), "the time of its content was set back"
    shutil.copy2(settled / "c", tmp_path / "copy")
    with (tmp_path / "copy").open("r+b") as file:
        file.write(b"y")
    shutil.copystat(settled / "c", tmp_path / "copy")
    Hashing(settled / "c")()
    os.replace(tmp_path / "copy", settled / "c")
    assert Hashing(settled / "c").is_right_and_new(), "another file of the same size and time"


def test_a_file_that_was_just_changed_is_not_remembered(tmp_path: Path, home: Path) -> None:
    (tmp_path / "new").write_bytes(bytes(SIZE))
    hashing = Hashing(tmp_path / "new")
    assert hashing.is_right_and_new()
    assert hashing.is_right_and_new()
    assert not home.exists()


def test_a_file_that_changes_while_it_is_read(settled: Path, home: Path) -> None:
    hashing = Hashing(settled / "d")

    def change() -> None:
        with (settled / "d").open("r+b") as file:
            file.write(b"z")

    hashing(meanwhile=change)
    assert not home.exists(), "which of the two was read cannot be known"
    known = Hashing(settled / "e")
    first = known()

    def change_known() -> None:
        with (settled / "e").open("r+b") as file:
            file.write(b"z")

    assert known(meanwhile=change_known) != first
    assert known.computed == 2


def test_damaged_entries_count_for_nothing(settled: Path, home: Path) -> None:
    hashing = Hashing(settled / "f")
    right = hashing()
    [entry] = home.iterdir()
    whole = entry.read_bytes()
    damaged = [whole[:count] for count in range(0, len(whole), 13)] + [whole + b"0", b"\xff" * 130, bytes(130)]
    for place in range(0, len(whole), 7):
        damaged.append(whole[:place] + (b"0" if whole[place] != 48 else b"1") + whole[place + 1 :])
    for content in damaged:
        entry.write_bytes(content)
        before = hashing.computed
        assert hashing() == right
        assert hashing.computed == before + 1, content
        assert entry.read_bytes() == whole
    assert hashing() == right
    assert hashing.computed == 1 + len(damaged)


def test_where_nothing_can_be_written_it_is_hashed_anew(settled: Path, home: Path) -> None:
    home.parent.write_text("a file where the folder should be")
    hashing = Hashing(settled / "a")
    assert hashing.is_right_and_new()
    assert hashing.is_right_and_new()
    home.parent.unlink()
    home.mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Hashing(settled / "a")(), range(16)))
    assert len(set(found)) == 1
    assert hashing() == found[0]
    assert [len(entry.read_bytes()) for entry in home.iterdir()] == [130], "and nothing unfinished"


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_a_model_has_the_hash_of_its_own_base(
    family: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered_hashes, "_SMALLEST", 0)
    monkeypatch.setattr(remembered_hashes, "_SETTLED", -1e9)
    made = make_head(family, "sequence-classification")
    made.save_pretrained(tmp_path / "base")
    options = {"apply_lora": True, "lora_r": 2, "lora_alpha": 2}

    def load(**more: object) -> torch.nn.Module:
        return AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", **options, **more)

    expected = load(state_dict=made.state_dict()).base_sha256()
    assert not home.exists()
    model = load()
    assert len(list(home.iterdir())) == 1
    assert [each.base_sha256() for each in (model, load(), load(dtype=torch.bfloat16))] == [expected] * 3
    assert AutoModel.from_pretrained(tmp_path / "base", **options).base_sha256() == expected
    weight = next(parameter for parameter in model.base_model.parameters() if not parameter.requires_grad)
    with torch.no_grad():
        weight[0] += 1
        made.get_parameter(next(name for name, each in model.named_parameters() if each is weight))[0] += 1
    changed = model.base_sha256()
    assert changed != expected
    made.save_pretrained(tmp_path / "base")
    assert load().base_sha256() == changed
