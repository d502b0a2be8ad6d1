"""Files of a checkpoint that are damaged or not what they were: said in one line; no training goes on from them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from transformers.training.checkpoint import (
    MANIFEST_NAME,
    TornCheckpointError,
    find_last_checkpoint,
    verify_checkpoint,
    writing_checkpoint,
)
from transformers.training.checkpoint_state import capture_rng_state, load_tree, restore_rng_state, save_tree
from transformers.training.deepspeed_config import read_config
from transformers.training.shapes import OPTIMIZER, RANDOM_STATES, SCHEDULER
from transformers.training.state import TrainerState


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A whole checkpoint, before which there is an older one."""
    for step in (3, 6):
        with writing_checkpoint(tmp_path / f"checkpoint-{step}") as partial:
            (partial / "model.safetensors").write_text("weights")
            (partial / "optimizer.json").write_text("{}")
    return tmp_path / "checkpoint-6"


MANIFESTS: list[Any] = [
    *([], None, 5, "files", {}, {"files": []}, {"files": {}}, {"files": None}, {"files": {"model.safetensors": 7}}),
    *({"files": {"model.safetensors": entry}} for entry in ({}, {"bytes": 7}, {"bytes": "7", "sha256": "0" * 64})),
    {"files": {"model.safetensors": {"bytes": 7, "sha256": "x" * 64}}},
    {"files": {"model.safetensors": {"bytes": -1, "sha256": "0" * 64}}},
    {"files": {"model.safetensors": {"bytes": 7, "sha256": "0" * 64}}, "more": 1},
]


@pytest.mark.parametrize("content", MANIFESTS)
def test_manifests_that_are_none(sealed: Path, content: Any) -> None:
    (sealed / MANIFEST_NAME).write_text(json.dumps(content))
    with pytest.raises(TornCheckpointError, match=r"manifest\.json' cannot be read: "):
        verify_checkpoint(sealed)
    assert find_last_checkpoint(sealed.parent) == sealed.parent / "checkpoint-3"


def test_every_bit_of_a_manifest(sealed: Path) -> None:
    whole = (sealed / MANIFEST_NAME).read_bytes()
    meaning = json.loads(whole)
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            (sealed / MANIFEST_NAME).write_bytes(changed)
            try:
                verify_checkpoint(sealed)
            except TornCheckpointError:
                continue
            assert json.loads(changed) == meaning, (place, bit)  # white space alone


def test_a_file_that_its_manifest_does_not_list(sealed: Path) -> None:
    content = json.loads((sealed / MANIFEST_NAME).read_text())
    del content["files"]["optimizer.json"]
    (sealed / MANIFEST_NAME).write_text(json.dumps(content))
    with pytest.raises(TornCheckpointError, match=r"optimizer\.json' is none of the files that its manifest"):
        verify_checkpoint(sealed)


def test_notes_may_be_put_beside_a_checkpoint(sealed: Path) -> None:
    (sealed / "notes.txt").write_text("the good one")
    verify_checkpoint(sealed)


def test_what_stands_in_a_files_place(sealed: Path, tmp_path: Path) -> None:
    path = sealed / "model.safetensors"
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)  # the same bytes, but not the checkpoint's
    with pytest.raises(TornCheckpointError, match=r"model\.safetensors' is a folder or a link"):
        verify_checkpoint(sealed)
    path.unlink()
    path.mkdir()
    with pytest.raises(TornCheckpointError, match=r"model\.safetensors' is a folder or a link"):
        verify_checkpoint(sealed)
    path.rmdir()
    shutil.copy(outside, path)
    verify_checkpoint(sealed)
    (sealed / MANIFEST_NAME).unlink()
    (sealed / MANIFEST_NAME).mkdir()
    with pytest.raises(TornCheckpointError, match=r"manifest\.json' cannot be read: .*a file was expected"):
        verify_checkpoint(sealed)


def test_names_in_a_manifest_stay_in_the_folder(sealed: Path) -> None:
    content = json.loads((sealed / MANIFEST_NAME).read_text())
    os.link(sealed / "model.safetensors", sealed.parent / "other")
    content["files"]["../other"] = content["files"]["model.safetensors"]
    (sealed / MANIFEST_NAME).write_text(json.dumps(content))
    with pytest.raises(TornCheckpointError, match=r"other' is a folder or a link"):
        verify_checkpoint(sealed)


def rewrite(path: Path, **changes: Any) -> None:
    """Change some entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("global_step", value) for value in (-1, 2.5, "3", None, [3])),
        *(("epoch", value) for value in ("1", [], -1)),
        *(("log_history", value) for value in ({}, 5, [5])),
        *(("callback_states", value) for value in ([], {"a": 1}, None)),
        ("best_model_checkpoint", 5),
        ("loss_sum", "1"),
        ("is_world_process_zero", 1),
    ],
)
def test_states_of_a_trainer_that_are_none(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "trainer_state.json"
    TrainerState(global_step=3, max_steps=6).save_to_json(path)
    rewrite(path, **{field: value})
    with pytest.raises(ValueError, match=rf"trainer_state\.json': {field}(\.|\[| is )"):
        TrainerState.load_from_json(path)


def test_a_state_keeps_values_that_are_not_finite(tmp_path: Path) -> None:
    state = TrainerState(global_step=1, max_steps=2, log_history=[{"loss": float("nan")}], loss_sum=float("inf"))
    state.save_to_json(tmp_path / "trainer_state.json")
    loaded = TrainerState.load_from_json(tmp_path / "trainer_state.json")
    assert loaded.loss_sum == float("inf")
    assert loaded.log_history[0]["loss"] != loaded.log_history[0]["loss"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"param_groups": [], "state": {}}', "param_groups is "),
        ('{"state": {}}', "has no 'param_groups'"),
        ("[]", "an object"),
        ("[" * 100_000, "nested more than 64"),
        ('{"param_groups": [{"params": ["__tensor__"]}], "state": {"__tensor__": "ghost"}}', "the tensor 'ghost'"),
        ('{"param_groups": [{"params": []}], "state": {"__tensor__": [1]}}', r"the tensor \[1\]"),
        ('{"param_groups": [{"params": []}], "state": {"__tuple__": 5}}', "__tuple__ is 5"),
        ('{"param_groups": [{"params": []}], "state": {"__pairs__": [[1]]}}', "a list of 2 values"),
        ('{"param_groups": [{"params": []}], "state": {"__pairs__": [[[1], 2]]}}', r"has the key \[1\]"),
        ("{", "is not a JSON file"),
    ],
)
def test_states_of_an_optimizer_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "optimizer.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_tree(tmp_path, "optimizer", OPTIMIZER)
    assert str(tmp_path / "optimizer.json") in str(caught.value)


def test_tensors_of_a_state_that_are_damaged(tmp_path: Path) -> None:
    save_tree({"param_groups": [{"params": [0]}], "state": {0: torch.ones(3)}}, tmp_path, "optimizer")
    path = tmp_path / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"optimizer\.safetensors' is not a whole safetensors file"):
        load_tree(tmp_path, "optimizer", OPTIMIZER)


@pytest.mark.parametrize("damage", [{}, {"python": [3, [0] * 5, None]}, {"numpy": []}, {"torch": 5}, {"torch": "x"}])
def test_random_states_that_are_none(tmp_path: Path, damage: dict[str, Any]) -> None:
    before = capture_rng_state(torch.device("cpu"))
    save_tree([{**before, **damage} if damage else {}], tmp_path, "rng_state")
    with pytest.raises(ValueError, match=r"rng_state\.json'|is damaged"):
        restore_rng_state(load_tree(tmp_path, "rng_state", RANDOM_STATES)[0], torch.device("cpu"))
    restore_rng_state(before, torch.device("cpu"))


def test_a_schedule_that_is_none(tmp_path: Path) -> None:
    save_tree({"scheduler": 5, "scaler": {}}, tmp_path, "scheduler")
    with pytest.raises(ValueError, match=r"scheduler\.json': scheduler is 5; an object"):
        load_tree(tmp_path, "scheduler", SCHEDULER)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"zero_optimization": 5}, "zero_optimization is 5"),
        ({"zero_optimization": {"stage": "2"}}, "stage is '2'"),
        ({"zero_optimization": {"stage": 2, "offload_param": "cpu"}}, "offload_param is 'cpu'"),
        ({"fp16": True}, "fp16 is True"),
        ({"fp16": {"enabled": "yes"}}, "enabled is 'yes'; true or false or 'auto' was expected"),
        ({"train_batch_size": [8]}, r"train_batch_size is \[8\]"),
        ({"optimizer": {"type": 5}}, "type is 5"),
    ],
)
def test_deepspeed_configurations_of_another_kind(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    (tmp_path / "ds.json").write_text(json.dumps(content))
    for source in (str(tmp_path / "ds.json"), content):
        with pytest.raises(ValueError, match=message):
            read_config(source)
    (tmp_path / "ds.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested more than 64 levels"):
        read_config(str(tmp_path / "ds.json"))
