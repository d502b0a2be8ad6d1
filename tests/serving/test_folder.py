"""What happens in the watched folder: adapters come, change, break and go while others are served."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from served import Running, running, write_adapter
from tiny_checkpoint import write_tiny_checkpoint

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, LoraConfig
from transformers.serving.engine import tokenizer_digest


@pytest.fixture
def folder(adapters: Path, tmp_path: Path) -> Path:
    for name in ("texts-2-2", "texts-5-4"):
        shutil.copytree(adapters / name, tmp_path / "adapters" / name)
    shutil.copytree(adapters.parent / "base", tmp_path / "base")
    return tmp_path / "adapters"


def until(found: Callable[[], bool]) -> None:
    """Wait for something that is to become so."""
    end = time.monotonic() + 20
    while not found():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def names(server: Running) -> list[str]:
    return [each["name"] for each in server.client.get("/adapters").json()]


def labels(server: Running, name: str) -> int:
    return len(server.outputs(name, "good film", top_k=None))


def test_adapters_come_change_break_and_go(folder: Path, adapters: Path) -> None:
    with running(folder) as server:
        assert labels(server, "texts-2-2") == 2

        shutil.copytree(adapters / "texts-20-3", folder / "new")
        until(lambda: "new" in names(server))
        assert labels(server, "new") == 20

        shutil.copytree(adapters / "texts-5-4", folder / "new", dirs_exist_ok=True)  # in place, under load or not
        until(lambda: labels(server, "new") == 5)

        of_bad = server.outputs("new", "bad film")
        AutoTokenizer.from_pretrained(adapters.parent / "base").save_pretrained(folder / "new")  # and nothing else
        vocabulary = folder / "new" / "tokenizer.json"
        swapped = {"good": "bad", "bad": "good"}
        vocabulary.write_text(re.sub(r'(?<=")(good|bad)(?=":)', lambda word: swapped[word[0]], vocabulary.read_text()))
        until(lambda: server.outputs("new", "good film") == of_bad)

        weights = folder / "new" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        until(lambda: bool(server.client.get("/adapters/new").json()["problem"]))
        assert labels(server, "new") == 5, "what is in memory goes on"
        server.client.delete("/adapters/new")
        response = server.predict("new", "good film")
        assert response.status_code == 503
        assert "The adapter 'new' cannot be used" in response.json()["error"]
        assert "sha256" in response.json()["error"]

        shutil.copytree(adapters / "texts-20-3", folder / "new", dirs_exist_ok=True)
        until(lambda: server.predict("new", "good film").status_code == 200)
        assert labels(server, "new") == 20
        assert server.client.get("/adapters/new").json()["problem"] is None

        shutil.rmtree(folder / "new")
        until(lambda: "new" not in names(server))
        assert server.predict("new", "good film").status_code == 404
        assert labels(server, "texts-2-2") == 2


def other_base(path: Path, adapters: Path) -> None:
    write_adapter(path, write_tiny_checkpoint(path.parent / ".other", initializer_range=0.3), seed=1)


def other_shape(path: Path, adapters: Path) -> None:
    write_adapter(path, write_tiny_checkpoint(path.parent / ".wide", hidden_size=64), seed=1)
    as_peft(path, adapters.parent / "base")


def other_name(path: Path, adapters: Path) -> None:
    shutil.copytree(adapters / "texts-2-2", path)
    as_peft(path, path.parent / ".elsewhere")


def as_peft(path: Path, base: Path) -> None:
    """Leave what PEFT writes: its base's name, and no hash."""
    (path / "lora_metadata.json").unlink()
    config = json.loads((path / "adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))


def other_task(path: Path, adapters: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(adapters.parent / "base", is_decoder=True)
    model.add_adapter(LoraConfig(r=2, lora_alpha=4), "default")
    model.save_adapter(path)


def other_method(path: Path, adapters: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(adapters.parent / "base", apply_bitfit=True)
    model.save_adapter(path)


def not_finite(path: Path, adapters: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(adapters / "texts-2-2", path)
    (path / "lora_metadata.json").unlink()
    tensors = load_file(path / "adapter_model.safetensors")
    tensors[min(tensors)][0] = torch.nan
    save_file(tensors, path / "adapter_model.safetensors")


def no_json(path: Path, adapters: Path) -> None:
    shutil.copytree(adapters / "texts-2-2", path)
    (path / "adapter_config.json").write_text("{")


def no_weights(path: Path, adapters: Path) -> None:
    shutil.copytree(adapters / "texts-2-2", path)
    (path / "adapter_model.safetensors").unlink()


BROKEN: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "other-base": (other_base, "holds other weights"),
    "other-name": (other_name, "If both are the same, start with --model"),
    "other-shape": (other_shape, "does not fit this model"),
    "other-task": (other_task, "Its task is causal-lm; adapters for base, masked-lm"),
    "other-method": (other_method, "bottleneck adapters"),
    "not-finite": (not_finite, "not finite"),
    "no-json": (no_json, "adapter_config.json"),
    "no-weights": (no_weights, "no adapter_model.safetensors"),
}


def test_a_bad_folder_disturbs_nobody(folder: Path, adapters: Path) -> None:
    for name, (write, _) in BROKEN.items():
        write(folder / name, adapters)
    (folder / "no-adapter").mkdir()
    (folder / "file").write_text("")
    with running(folder, "--no_watch") as server:
        assert names(server) == sorted([*BROKEN, "texts-2-2", "texts-5-4"])
        for name, (_, sentence) in BROKEN.items():
            for _ in range(2):
                response = server.predict(name, "good film")
                assert (name, response.status_code) == (name, 503)
                assert sentence in response.json()["error"]
                assert "\n" not in response.json()["error"]
            assert sentence in server.client.get(f"/adapters/{name}").json()["problem"]
            assert labels(server, "texts-2-2") == 2
        assert labels(server, "texts-5-4") == 5
        assert server.client.get("/healthz").status_code == 200
        assert "transformers_serve_adapters_in_memory 2.0" in server.client.get("/metrics").text
        log = (folder.parent / "server.log").read_text(encoding="utf-8")
        assert "Traceback" not in log
    assert json.loads((folder / "texts-2-2" / "adapter_config.json").read_text())


def test_a_base_that_was_chosen_takes_what_names_another(folder: Path, adapters: Path) -> None:
    """``--model`` says that it is the adapters' base, wherever they were trained."""
    other_name(folder / "other-name", adapters)
    with running(folder, "--no_watch", "--model", str(adapters.parent / "base")) as server:
        expected = server.outputs("texts-2-2", "good film")
        assert server.outputs("other-name", "good film")[0]["score"] == pytest.approx(expected[0]["score"], abs=1e-5)


def test_tokenizers_are_one_only_where_all_of_their_files_are(adapters: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "same", "added")]
    for each in folders:
        shutil.copytree(adapters / "names", each)
    (folders[2] / "added_tokens.json").write_text('{"good film": 99}')
    one, same, added = map(tokenizer_digest, folders)
    assert one == same != added
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "added_tokens.json").write_text("{}")
    assert tokenizer_digest(tmp_path / "none") == ""
