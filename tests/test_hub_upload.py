"""Uploads to the hub: what comes back is what was sent, what was cut goes on, and nobody's secret or card is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import Hub, connect, serve
from tiny import LORA, shake
from tiny_checkpoint import write_tiny_checkpoint
from torch import nn

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    RobertaForSequenceClassification,
)
from transformers.utils.hub_upload import Destination, NotUploadedError, upload_folder
from transformers.utils.model_card import is_own_card
from transformers.utils.secrets import file_with_secret

TOKEN = "hf_SeCrEtSeCrEtSeCrEtSeCrEt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve(Hub()) as running:
        running.uploads.writers.add(TOKEN)
        connect(running, tmp_path / "home", monkeypatch)
        yield running


def _lora(checkpoint: Path) -> PreTrainedModel:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, **LORA, num_labels=3)
    shake(model)
    return model


def _equal(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_an_adapter_and_its_tokenizer_come_back(checkpoint: Path, hub: Hub) -> None:
    model, tokenizer = _lora(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    said = model.push_to_hub("rte", private=True, token=TOKEN, commit_message="first", tags=["mine"])
    assert said.startswith(f"{hub.url}/somebody/rte/commit/")
    tokenizer.push_to_hub("somebody/rte", token=TOKEN)
    assert hub.uploads.repositories == {"somebody/rte": {"name": "rte", "organization": None, "visibility": "private"}}
    assert [each["summary"] for each in hub.uploads.commits] == ["first", "Upload BertTokenizer"]
    sent = hub.folder("somebody/rte")
    assert {"adapter_model.safetensors", "adapter_config.json", "lora_metadata.json", "tokenizer.json"} <= set(sent)
    assert "model.safetensors" not in sent
    card = sent["README.md"].decode()
    assert 'name = "somebody/rte"' in card
    assert "- mine" in card
    with pytest.raises(OSError, match="neither a folder here nor a repository"):
        AutoModelForSequenceClassification.from_pretrained("somebody/rte", token=False)
    again = AutoModelForSequenceClassification.from_pretrained("somebody/rte", token=TOKEN)
    assert _equal(model, again)
    back = AutoTokenizer.from_pretrained("somebody/rte", token=TOKEN)
    assert back.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_a_configuration_comes_back(checkpoint: Path, hub: Hub) -> None:
    config = AutoConfig.from_pretrained(checkpoint, num_labels=5)
    config.push_to_hub("somebody/settings", token=TOKEN)
    assert set(hub.folder("somebody/settings")) == {"config.json"}
    assert AutoConfig.from_pretrained("somebody/settings", token=TOKEN).num_labels == 5


@pytest.mark.parametrize("xet", [False, True], ids=["single-commit", "pipeline"])
def test_a_whole_model_is_uploaded_as_it_is_saved(
    xet: bool, checkpoint: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(hub, tmp_path / "home", monkeypatch, xet=xet)
    hub.uploads.large = not xet  # the store of Xet is not played here
    model = RobertaForSequenceClassification.from_pretrained(checkpoint)
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "notes.txt").write_text("not of the model")
    model.save_pretrained(tmp_path / "film", push_to_hub=True, token=TOKEN, revision="next")
    assert set(hub.folder("somebody/film", "next")) == {"config.json", "model.safetensors", "README.md"}
    assert not hub.folder("somebody/film")
    again = RobertaForSequenceClassification.from_pretrained("somebody/film", revision="next", token=TOKEN)
    assert _equal(model, again)


def test_an_interrupted_upload_goes_on(checkpoint: Path, hub: Hub, tmp_path: Path) -> None:
    model = RobertaForSequenceClassification.from_pretrained(checkpoint)
    hub.uploads.dies_after = 1
    asked = {"push_to_hub": True, "repo_id": "somebody/parts", "token": TOKEN, "max_shard_size": "20KB"}
    with pytest.raises(NotUploadedError, match=r"'somebody/parts' failed: .*going down") as caught:
        model.save_pretrained(tmp_path / "parts", **asked)
    assert "\n" not in str(caught.value)
    assert not hub.folder("somebody/parts"), "half an upload is none"
    assert _equal(model, RobertaForSequenceClassification.from_pretrained(tmp_path / "parts")), "it is saved"
    there, hub.uploads.dies_after = set(hub.uploads.objects), None
    assert there
    hub.requests.clear()
    model.save_pretrained(tmp_path / "parts", **asked)
    sent = {path.rpartition("/")[2] for method, path, _ in hub.requests if method == "PUT"}
    assert sent
    assert not sent & there, "what the hub has is not sent again"
    assert _equal(model, RobertaForSequenceClassification.from_pretrained("somebody/parts", token=TOKEN))


def test_failures_are_one_line_and_lose_nothing(
    checkpoint: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _lora(checkpoint)
    hub.uploads.repositories["somebody/there"] = {}
    cases = [
        ("somebody/new", None, "does not know who asks; log in"),
        ("somebody/new", "wrong-" + TOKEN, "may not write there .You don't have the rights"),
        ("somebody/there", "wrong-" + TOKEN, "may not write there"),
        ("not an id", TOKEN, "Repo id must"),
    ]
    for number, (name, token, expected) in enumerate(cases):
        folder = tmp_path / str(number)
        with pytest.raises(NotUploadedError, match=expected) as caught:
            model.save_adapter(folder, push_to_hub=True, repo_id=name, token=token)
        assert "\n" not in str(caught.value)
        assert "SeCrEt" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert _equal(model, AutoModelForSequenceClassification.from_pretrained(folder)), "it is saved all the same"
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    with pytest.raises(NotUploadedError, match="offline mode"):
        model.push_to_hub("somebody/new", token=TOKEN)
    with pytest.raises(TypeError, match="'repo' is no keyword"):
        model.save_adapter(tmp_path / "typo", push_to_hub=True, repo="somebody/new")
    assert not hub.uploads.commits


def test_no_hub_at_all(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Hub()) as gone:
        connect(gone, tmp_path / "home", monkeypatch)
    with pytest.raises(NotUploadedError, match=r"'somebody/new' failed: .*refused"):
        _lora(checkpoint).push_to_hub("somebody/new", token=TOKEN)


def test_a_pull_request(checkpoint: Path, hub: Hub) -> None:
    AutoConfig.from_pretrained(checkpoint).push_to_hub("somebody/there", token=TOKEN, create_pr=True)
    assert any(path.endswith("/commit/main?create_pr=1") for _, path, _ in hub.requests)


@pytest.mark.parametrize("changed_here", [False, True])
def test_a_persons_card_on_the_hub_stays(changed_here: bool, checkpoint: Path, hub: Hub, tmp_path: Path) -> None:
    model, asked = _lora(checkpoint), {"push_to_hub": True, "repo_id": "somebody/rte", "token": TOKEN}
    model.save_adapter(tmp_path / "rte", **asked)
    assert is_own_card(hub.files["somebody/rte", "main", "README.md"])
    hub.files["somebody/rte", "main", "README.md"] += b"Mine.\n"
    hub.commits["somebody/rte", "main"] = "c" * 40
    shake(model)
    model.save_adapter(tmp_path / "rte")
    if changed_here:
        (tmp_path / "rte" / "README.md").write_text("Written here.\n")
    upload_folder(tmp_path / "rte", Destination("somebody/rte", token=TOKEN))
    expected = b"Written here.\n" if changed_here else b"kept as it is. -->\nMine.\n"
    assert hub.files["somebody/rte", "main", "README.md"].endswith(expected)
    assert _equal(model, AutoModelForSequenceClassification.from_pretrained("somebody/rte", token=TOKEN))


@pytest.mark.parametrize("secret", [TOKEN, "hf_0123456789abcdefABCDEF", "kept-by-login-1"])
def test_a_file_with_a_token_is_not_sent(secret: str, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("kept-by-login-1")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "fine.txt").write_text("fine")
    (folder / "notes.txt").write_bytes(b" " * (2**20 - 5) + secret.encode() + b"\n")  # across what is read at once
    hub.uploads.repositories["somebody/run"] = {}
    to = Destination("somebody/run", token=TOKEN)
    with pytest.raises(NotUploadedError, match=r"notes\.txt' holds an access token, so nothing") as caught:
        upload_folder(folder, to)
    assert secret not in str(caught.value)
    assert not hub.bodies
    upload_folder(folder, to, without=["notes.txt"])
    assert hub.folder("somebody/run") == {"fine.txt": b"fine"}


def test_hidden_files_stay(hub: Hub, tmp_path: Path) -> None:
    hub.uploads.repositories["somebody/run"] = {}
    for name in ("a[1].txt", ".env", "inner/.run.lock", "inner/b.txt", ".git/config"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("x")
    upload_folder(tmp_path / "run", Destination("somebody/run", token=TOKEN), path_in_repo="sub")
    assert set(hub.folder("somebody/run")) == {"sub/a[1].txt", "sub/inner/b.txt"}


def test_secrets_are_found_in_no_clean_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(2**16))
    assert file_with_secret([tmp_path / "a"], None, True, "", TOKEN) is None
