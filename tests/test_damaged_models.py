"""Configurations, weights and indexes that are damaged or made to do harm: refused in one line that names the file."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, tiny_config

from transformers import AutoConfig, AutoTokenizer, DebertaV2Config, PretrainedConfig, RobertaConfig, RobertaModel
from transformers.modeling.weights import read_tensors
from transformers.utils.hub import cached_file

DEBERTA = {"model_type": "deberta-v2", **TINY, "relative_attention": True, "pos_att_type": "c2p|p2c"}


def write_config(folder: Path, **changes: Any) -> Path:
    """Write a DeBERTa's ``config.json`` with some fields changed."""
    (folder / "config.json").write_text(json.dumps({**DEBERTA, **changes}))
    return folder


# config.json ----------------------------------------------------------------------------------------------------

FIELDS: list[tuple[str, Any]] = [
    *(("pos_att_type", value) for value in ([1], 5, {"c2p": 1}, [["c2p"]], True)),
    *(("num_hidden_layers", value) for value in (100_000, 10**12, -1, 2.0, "2", None, [2], True)),
    *(("hidden_size", value) for value in (10**9, 0, 32.0, {}, None)),
    *(("vocab_size", value) for value in (2**31, "61", [])),
    *(("layer_norm_eps", value) for value in ("1e-7", -1, None, [1e-7])),
    *(("hidden_dropout_prob", value) for value in ("0.1", 1, -0.5, None)),
    *(("hidden_act", value) for value in (5, None, ["gelu"])),
    *(("id2label", value) for value in (5, "ab", {"a": "b"}, {"0": ["a"]}, {"-1": "a"})),
    *(("label2id", value) for value in (5, "ab", {"a": "b"}, {"a": None}, ["a"])),
    *(("num_labels", value) for value in (10**9, 0, "2", 2.5, [2])),
    *(("apply_lora", value) for value in ("yes", 1, [])),
    *(("architectures", value) for value in ("RobertaModel", [5])),
    *(("pad_token_id", value) for value in ("1", 1.0, [0])),
    *(("problem_type", value) for value in ("guess", 5)),
    *(("relative_attention", value) for value in ("true", 1)),
    *(("conv_kernel_size", value) for value in ("3", -1, 10**9)),
    *(("position_buckets", value) for value in ("256", None, 2**40)),
    *(("torch_dtype", value) for value in (5, ["float32"])),
    *(("pruned_heads", value) for value in (5, {"0": "all"})),
    *(("task_specific_params", value) for value in (5, [1])),
]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_field_of_another_kind_is_named_with_its_file(field: str, value: Any, tmp_path: Path) -> None:
    write_config(tmp_path, **{field: value})
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"config\.json': {field}(\.|\[| is | has the key )"):
        AutoConfig.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=field):
        DebertaV2Config.from_json_file(tmp_path / "config.json")
    assert time.monotonic() - start < 2


RESERVED = ["to_dict", "from_dict", "__class__", "__dict__", "__init__", "use_return_dict", "lora_targets", "self"]


@pytest.mark.parametrize("name", [*RESERVED, "freezes_base", "field_shapes", "check_fields", "_set_labels"])
def test_no_field_hides_a_part_of_the_class(name: str, tmp_path: Path) -> None:
    write_config(tmp_path, **{name: 5})
    with pytest.raises(ValueError, match=rf"config\.json': {name} is "):
        AutoConfig.from_pretrained(tmp_path)
    if name != "self":
        with pytest.raises(ValueError, match=f"{name} is 5"):
            PretrainedConfig(**{name: 5})


def test_fields_of_others_are_kept(tmp_path: Path) -> None:
    other = {"my_field": {"a": [1, None]}, "_private": 1, "output_past": True, "kwargs": 3}
    config = AutoConfig.from_pretrained(write_config(tmp_path, **other))
    assert other.items() <= config.to_dict().items()
    config.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_a_subclass_may_have_defaults_of_its_own_fields(tmp_path: Path) -> None:
    class Own(RobertaConfig):
        my_width = 3

    (tmp_path / "config.json").write_text(json.dumps({**TINY, "my_width": 5}))
    assert Own.from_pretrained(tmp_path).my_width == 5


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000])
def test_nesting_without_end(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    for load in (AutoConfig, AutoTokenizer, RobertaModel):
        with pytest.raises(ValueError, match=r"config\.json' is nested more than 64 levels deep"):
            load.from_pretrained(tmp_path)


def test_a_padding_token_has_a_row() -> None:
    for changes in ({"pad_token_id": 61}, {"pad_token_id": -1}, {"pad_token_id": 30}):
        with pytest.raises(ValueError, match=r"pad_token_id is .*0 to \d+ was expected"):
            tiny_config(**changes)


# Weights --------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A saved model of one layer."""
    RobertaModel(tiny_config(num_hidden_layers=1), add_pooling_layer=False).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_configuration_that_its_weights_have_nothing_to_do_with(model: Path) -> None:
    content = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**content, "num_hidden_layers": 100_000}))
    with pytest.raises(ValueError, match=r"num_hidden_layers is 100000"):
        RobertaModel.from_pretrained(model)
    (model / "config.json").write_text(json.dumps({**content, "num_hidden_layers": 40, "intermediate_size": 2**20}))
    tensors = read_tensors(model / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "intermediate" not in name and "output" not in name}
    save_file(kept, model / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks \d+ of the model's parameters.* do not belong together"):
        RobertaModel.from_pretrained(model)


FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.uint16, torch.uint64]


@pytest.mark.parametrize("dtype", FLOAT8)
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_tensors_of_no_use(dtype: torch.dtype, kind: str, tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 2), "b": torch.zeros(2, 2).to(dtype)}
    path = tmp_path / f"x.{kind}"
    save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    named = str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=rf"x\.{kind}': the tensor 'b' is {named}; a plain one of float64, float32"):
        read_tensors(path)


@pytest.mark.parametrize("key", [0, -1, ("a",), None, b"a"])
def test_keys_that_are_no_names(key: Any, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1), key: torch.zeros(2)}, tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"x\.bin' (holds a tensor under the key|cannot be read)"):
        read_tensors(tmp_path / "x.bin")


def test_tensors_larger_than_their_file(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "x.bin")
    with pytest.raises(
        ValueError, match=r"tensor 'a' has the shape \(1000000000000,\), which is more than the file's"
    ):
        read_tensors(tmp_path / "x.bin")


def test_special_layouts(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"x\.bin'.*(of a special layout|cannot be read)"):
        read_tensors(tmp_path / "x.bin")


def test_an_archive_that_is_packed(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "whole.bin")
    with zipfile.ZipFile(tmp_path / "whole.bin") as whole, zipfile.ZipFile(tmp_path / "x.bin", "w") as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.bin").stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"x\.bin' cannot be read as a state dict: its archive is packed"):
        read_tensors(tmp_path / "x.bin")


def test_an_index_that_is_none(model: Path) -> None:
    (model / "model.safetensors").rename(model / "a.safetensors")
    index = model / "model.safetensors.index.json"
    for weight_map in ([], "a.safetensors", 5, None, {"a": ["a.safetensors"]}, {"a": "a.txt"}, {"a": "..\\a.bin"}):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(ValueError, match=r"index\.json': weight_map"):
            RobertaModel.from_pretrained(model)
    index.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested more than 64 levels deep"):
        RobertaModel.from_pretrained(model)


# Names that lead out of the folder ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_link_that_leads_out_of_the_folder(name: str, model: Path) -> None:
    outside = model.parent / "outside"
    (model / name).rename(outside)
    (model / name).symlink_to(outside)
    with pytest.raises(OSError, match=rf"{name}' leads out of its folder, to .*outside', and is not read"):
        RobertaModel.from_pretrained(model)
    (model / name).unlink()
    (model / name).symlink_to(name)  # to itself
    with pytest.raises(OSError, match=r"leads nowhere|holds no"):
        RobertaModel.from_pretrained(model)


def test_links_that_stay(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(model / "real.bin")
    (model / "model.safetensors").symlink_to("real.bin")  # within the folder
    (tmp_path / "link").symlink_to(model)  # the folder itself
    assert cached_file(tmp_path / "link", "model.safetensors") is not None
    cache = tmp_path / "models--a--b"
    shutil.copytree(model, cache / "snapshots" / "1", symlinks=True)
    (cache / "blobs").mkdir()
    (cache / "snapshots" / "1" / "config.json").rename(cache / "blobs" / "abc")
    (cache / "snapshots" / "1" / "config.json").symlink_to("../../blobs/abc")  # as the hub's cache has them
    assert cached_file(cache / "snapshots" / "1", "config.json") is not None


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside"])
def test_names_that_lead_out(name: str, model: Path) -> None:
    (model.parent / "outside").write_text("{}")
    (model / "a").mkdir()
    with pytest.raises(OSError, match="leads out of its folder"):
        cached_file(model, name)


def test_what_stands_in_a_files_place(model: Path) -> None:
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")  # reading it would wait for ever
    with pytest.raises(OSError, match=r"holds no config\.json"):
        AutoConfig.from_pretrained(model)
    (model / "config.json").unlink()
    (model / "config.json").mkdir()
    with pytest.raises(OSError, match=r"holds no config\.json"):
        AutoConfig.from_pretrained(model)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "a/../../x"])
def test_names_that_lead_out_of_a_repository(name: str) -> None:
    with pytest.raises(OSError, match="leads out of the repository 'owner/model'"):
        cached_file("owner/model", name, local_files_only=True)
