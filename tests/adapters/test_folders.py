"""A folder that is written can be read again, or nothing is written: labels, settings, folders of something else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import LORA, random_ids, same_tensors, shake, values, write_base

from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.adapters.folder import load_adapter_weights
from transformers.methods.lora.layers import lora_layers


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("models") / "base")


def make(base: Path, **fields: Any) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(base, **{**LORA, **fields})
    shake(model)
    return model.eval()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LABELS: dict[str, list[str]] = {
    **{f"{number} labels": [f"LABEL_{each}" for each in range(number)] for number in (1, 2, 3, 10, 11, 12, 150)},
    "numbers": ["1", "0", "10", "2"],
    "equal up to case": ["pos", "Pos", "POS"],
    "empty": ["", "a"],
    "quotes": ['"', "'", "\\", "a\nb"],
    "Unicode": ["ä", "中文", "🙂", "\u2028"],
    "equal": ["a", "a"],
}


@pytest.mark.parametrize("labels", LABELS)
def test_labels_come_back(labels: str, base: Path, tmp_path: Path) -> None:
    model, ids = make(base, id2label=LABELS[labels]), random_ids()
    model.save_adapter(tmp_path / "a")
    plain = AutoModelForSequenceClassification.from_pretrained(base)
    plain.load_adapter(tmp_path / "a", "a")
    in_place = make(base, id2label=LABELS[labels])
    load_adapter_weights(in_place, tmp_path / "a")
    for again in (AutoModelForSequenceClassification.from_pretrained(tmp_path / "a"), plain.eval(), in_place):
        assert again.config.id2label == dict(enumerate(LABELS[labels]))
        assert again.config.label2id == model.config.label2id
        assert torch.equal(again(ids).logits, model(ids).logits)
    assert AutoConfig.from_pretrained(tmp_path / "a").id2label == model.config.id2label


def test_a_map_of_labels_of_its_own_comes_back(base: Path, tmp_path: Path) -> None:
    model = make(base, label2id={"yes": 1, "no": 0, "nope": 0})
    model.save_adapter(tmp_path / "a")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    assert again.config.label2id == {"yes": 1, "no": 0, "nope": 0}


def scale_one_layer(model: PreTrainedModel) -> None:
    _, layer = list(lora_layers(model))[-1]
    layer.lora_alpha = 3.0


CHANGES: dict[str, tuple[Callable[[PreTrainedModel], object], str]] = {
    "labels from 1": (lambda m: m.config.update({"id2label": {1: "neg", 2: "pos"}}), "each class id from 0 on"),
    "a gap": (lambda m: m.config.update({"id2label": {0: "a", 2: "b"}}), "each class id from 0 on"),
    "no labels": (lambda m: m.config.update({"id2label": {}}), "each class id from 0 on"),
    "a name that is a number": (lambda m: m.config.update({"id2label": {0: 0, 1: "b"}}), "texts were expected"),
    "no name": (lambda m: m.config.update({"id2label": {0: None, 1: "b"}}), "texts were expected"),
    "num_labels": (lambda m: setattr(m.config, "num_labels", 3), "out_proj.weight scores 2 labels"),
    "lora_r": (lambda m: setattr(m.config, "lora_r", 8), "lora_r is 8, but .* computes with 4"),
    "lora_alpha": (lambda m: setattr(m.config, "lora_alpha", 32), "lora_alpha is 32, but .* computes with 8"),
    "one layer's scaling": (scale_one_layer, "lora_alpha is 8, but .*value computes with 3"),
    "lora_dropout": (lambda m: setattr(m.config, "lora_dropout", 1.5), "could not be loaded again.*lora_dropout"),
    "problem_type": (lambda m: setattr(m.config, "problem_type", 3), "could not be loaded again.*problem_type"),
    "finetuning_task": (lambda m: setattr(m.config, "finetuning_task", {"a"}), "cannot be written"),
    "not finite": (lambda m: m.classifier.out_proj.bias.data.fill_(float("nan")), "not finite"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_could_not_be_loaded_is_not_written(change: str, base: Path, tmp_path: Path) -> None:
    make(base).save_adapter(tmp_path / "old")
    before = contents(tmp_path)
    model = make(base)
    CHANGES[change][0](model)
    for folder in (tmp_path / "old", tmp_path / "new", tmp_path / "deep" / "er"):
        with pytest.raises(ValueError, match=CHANGES[change][1]) as error:
            model.save_adapter(folder)
        assert "\n" not in str(error.value)
    assert contents(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"old"}, "nothing is left behind"


def test_labels_of_the_base_s_configuration_that_begin_at_1(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="each class id from 0 on"):
        make(base, id2label={1: "neg", 2: "pos"}).save_adapter(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_keeps_what_it_had(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of the files cannot be put in place: the first two go back."""
    make(base).save_adapter(tmp_path / "a")
    before, rename, calls = contents(tmp_path), Path.rename, []

    def fail_late(self: Path, target: Path) -> Path:
        calls.append(self.name)
        if len(calls) == 5:
            raise OSError("No space left on device")
        return rename(self, target)

    model = make(base, num_labels=5)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_late)
        with pytest.raises(OSError, match="No space left"):
            model.save_adapter(tmp_path / "a")
    assert contents(tmp_path) == before
    model.save_adapter(tmp_path / "a")
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "a").config.num_labels == 5


def test_the_umask_decides_who_may_read(base: Path, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        make(base).save_adapter(tmp_path / "a")
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {0o640}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o750


def test_other_files_of_a_folder_stay(base: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    make(base).save_adapter(tmp_path / "a")
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "a").iterdir())) == 5


# A folder means one thing -------------------------------------------------------------------------------------


def test_an_adapter_is_not_put_beside_a_whole_model(base: Path, tmp_path: Path) -> None:
    model = make(base)
    model.save_pretrained(tmp_path / "whole")
    model.save_adapter(tmp_path / "adapter")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"holds a whole model \(model.safetensors\)"):
        model.save_adapter(tmp_path / "whole")
    with pytest.raises(ValueError, match=r"holds an adapter \(adapter_config.json\)"):
        model.save_pretrained(tmp_path / "adapter")
    shutil.copytree(base, tmp_path / "base")
    with pytest.raises(ValueError, match="holds a whole model"):
        make(tmp_path / "base").save_adapter(tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("own_base", [True, False], ids=["the base's own folder", "a folder with another model"])
def test_side_by_side_it_is_the_adapter_as_upstream_reads_it(own_base: bool, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(base, folder)
    model = make(folder if own_base else base)
    model.save_adapter(tmp_path / "adapter")
    if not own_base:
        shutil.rmtree(folder)
        make(base, num_labels=4).save_pretrained(folder)
    shutil.copytree(tmp_path / "adapter", folder, dirs_exist_ok=True)
    again, ids = AutoModelForSequenceClassification.from_pretrained(folder), random_ids()
    assert same_tensors(values(again), values(model))
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert AutoConfig.from_pretrained(folder).lora_r == 4


def test_pefts_older_file_is_read(base: Path, tmp_path: Path) -> None:
    model = make(base)
    model.save_adapter(tmp_path / "a")
    torch.save(load_file(tmp_path / "a" / "adapter_model.safetensors"), tmp_path / "a" / "adapter_model.bin")
    for name in ("adapter_model.safetensors", "lora_metadata.json"):
        (tmp_path / "a" / name).unlink()
    assert same_tensors(values(AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")), values(model))
    torch.save({"a": print}, tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(ValueError, match="could run code and is refused"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    model.save_adapter(tmp_path / "a")
    assert not (tmp_path / "a" / "adapter_model.bin").exists(), "of the adapter that was replaced"


def test_a_mixture_of_two_folders_is_none(base: Path, tmp_path: Path) -> None:
    """Whatever stops the writing in between: the configuration goes first and comes last."""
    make(base).save_adapter(tmp_path / "a")
    (tmp_path / "a" / "adapter_config.json").unlink()
    with pytest.raises(OSError, match="no adapter"):
        load_adapter_weights(make(base), tmp_path / "a")


def test_numpys_numbers_and_lists_of_labels(base: Path, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    numbers = {"lora_r": numpy.int64(2), "lora_alpha": numpy.float32(4), "lora_dropout": numpy.float64(0.5)}
    model = make(base, **numbers, num_labels=numpy.int64(3))
    model.save_adapter(tmp_path / "a")
    content = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert (content["r"], content["lora_alpha"], content["lora_dropout"]) == (2, 4, 0.5)
    model.save_pretrained(tmp_path / "whole")
    assert make(base, id2label=["a", "b"]).config.label2id == {"a": 0, "b": 1}
