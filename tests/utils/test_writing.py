"""Nothing is half written: what was there stays, nothing is left over, and one line says what, where and why."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny_checkpoint import write_tiny_checkpoint

from transformers import AutoTokenizer
from transformers.integrations import TensorBoardCallback
from transformers.modeling.weights import save_weights, write_tensors
from transformers.trainer_utils import speed_metrics
from transformers.utils.writing import NotWrittenError, remove_unfinished, replacing, unless_failing, write_text


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to make any file larger, as ``ulimit -f`` does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_text_is_replaced_or_untouched(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_text(path, "first")
    with files_of_at_most(100), pytest.raises(NotWrittenError, match=r"config.json' could not be written \(File too"):
        write_text(path, "x" * 1000)
    assert content_of(tmp_path) == {"config.json": b"first"}
    write_text(path, "second")
    assert content_of(tmp_path) == {"config.json": b"second"}


def test_the_name_of_a_file_may_be_as_long_as_names_may_be(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "text")
    with pytest.raises(NotWrittenError, match="File name too long"):
        write_text(tmp_path / ("n" * 256), "text")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_any_other_error_leaves_nothing_either_and_stays_what_it_is(tmp_path: Path) -> None:
    def write_half() -> None:
        with replacing(tmp_path / "file") as beside:
            beside.write_text("half")
            raise KeyError("mine")

    with pytest.raises(KeyError):
        write_half()
    assert not list(tmp_path.iterdir())


def test_weights_of_every_format_stay_whole(tmp_path: Path) -> None:
    small, large = {"a": torch.ones(4)}, {"a": torch.ones(4000), "b": torch.ones(4000)}
    for safe in (True, False):
        folder = tmp_path / str(safe)
        folder.mkdir()
        save_weights(small, folder, safe=safe)
        before = content_of(folder)
        for shard in ("5GB", "16KB"):
            with files_of_at_most(9000), pytest.raises(NotWrittenError, match="could not be written"):
                save_weights(large, folder, safe=safe, max_shard_size=shard)
            assert content_of(folder) == before
    write_tensors(small, tmp_path / "optimizer.safetensors")
    before = (tmp_path / "optimizer.safetensors").read_bytes()
    with files_of_at_most(9000), pytest.raises(NotWrittenError, match=r"optimizer\.safetensors' could not be written"):
        write_tensors(large, tmp_path / "optimizer.safetensors")
    assert (tmp_path / "optimizer.safetensors").read_bytes() == before


def test_shards_of_an_earlier_save_do_not_stay_beside_one_file(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(4000), "b": torch.ones(4000)}
    save_weights(tensors, tmp_path, max_shard_size="16KB")
    assert len(content_of(tmp_path)) == 3
    save_weights(tensors, tmp_path)
    assert list(content_of(tmp_path)) == ["model.safetensors"]


def test_a_tokenizer_is_never_half_written(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(write_tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny"))
    tokenizer.save_pretrained(tmp_path, legacy_format=True)
    before = content_of(tmp_path)
    tokenizer.add_tokens(["another"])
    with files_of_at_most(600), pytest.raises(NotWrittenError, match=r"tokenizer\.json' could not be written"):
        tokenizer.save_pretrained(tmp_path)
    assert content_of(tmp_path)["tokenizer.json"] == before["tokenizer.json"]
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    with files_of_at_most(100), pytest.raises(NotWrittenError, match="could not be written"):
        tokenizer.save_vocabulary(str(vocabulary))
    assert not list(vocabulary.iterdir())
    assert [Path(path).name for path in tokenizer.save_vocabulary(str(vocabulary))] == ["vocab.txt"]


def test_what_a_kill_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as beside:
        beside.write_text("text")
        left = tmp_path / beside.name.replace("file", "other")
    left.write_text("half")
    remove_unfinished(tmp_path)
    assert list(content_of(tmp_path)) == ["file"]


def test_a_by_product_warns_once_and_only_of_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    @unless_failing("The picture")
    def draw(error: Exception) -> None:
        raise error

    for _ in range(2):
        draw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert capsys.readouterr().err.count("The picture could not be written (No space left on device)") == 1
    with pytest.raises(ValueError, match="mine"):
        draw(ValueError("mine"))


def test_tensorboard_on_a_path_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    (tmp_path / "logs").write_text("a file")
    args = TrainingArguments(str(tmp_path / "out"), logging_dir=str(tmp_path / "logs"), report_to="tensorboard")
    callback, state, control = TensorBoardCallback(), TrainerState(), TrainerControl()
    callback.on_train_begin(args, state, control)
    callback.on_log(args, state, control, logs={"loss": 1.0})
    callback.on_train_end(args, state, control)
    assert capsys.readouterr().err.count("TensorBoard's file could not be written") == 1


def test_a_clock_that_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    assert speed_metrics("train", 5000.0, 10) == {"train_runtime": 0.0}
