"""Files from the hub: downloads, the cache, and one clear sentence for each way it can fail.

A server of our own plays the hub. Calls run in processes of their own, because huggingface_hub reads its environment
variables once; one process makes many calls.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, serve
from tiny import LORA, run_python, shake, write_base

from transformers import AutoModelForSequenceClassification
from transformers.utils.hub import cached_file, is_offline_mode
from transformers.utils.json_files import load_json
from transformers.utils.secrets import hide_tokens

CALLS = """
import json, sys
from pathlib import Path
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils.hub import cached_file

def file(*args, **options):
    path = cached_file(*args, **options)
    return None if path is None else path.read_text()

def config(name, **options):
    found = AutoConfig.from_pretrained(name, **options)
    return [found.apply_lora, found.lora_r, found.num_labels]

def model(name, **options):
    found = AutoModelForSequenceClassification.from_pretrained(name, **options)
    return float(sum(p.double().sum() for p in found.parameters()))

results = []
for function, args, options in json.loads(sys.argv[1]):
    try:
        results.append(globals()[function](*args, **options))
    except OSError as error:
        results.append("OSError: " + str(error))
print(json.dumps(results))
"""


Call = tuple[str, list[str], dict[str, Any]]


def _call(calls: list[Call], home: Path, endpoint: str, **variables: str) -> list[Any]:
    """Make calls in a fresh process and give each one's result, or its OSError as text."""
    environment = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": ""}
    said = run_python(CALLS, json.dumps(calls), **{**environment, "no_proxy": "127.0.0.1", **variables})
    results: list[Any] = json.loads(said.splitlines()[-1])
    return results


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    base = write_base(folder / "base")
    lora = AutoModelForSequenceClassification.from_pretrained(base, **LORA, num_labels=3)
    shake(lora)
    lora.save_adapter(folder / "adapter")
    files = {("owner/base", "main", path.name): path.read_bytes() for path in base.iterdir()}
    for path in (folder / "adapter").iterdir():
        content = path.read_bytes().replace(str(base).encode(), b"owner/base")
        files["owner/adapter", "v1", f"rte/{path.name}"] = content
    files |= {
        ("owner/text", "main", "config.json"): b"main",
        ("owner/text", "v1", "config.json"): b"first version",
        ("owner/text", "main", "inner/config.json"): b"inner",
        ("owner/torn", "main", "config.json"): b"half of this is lost",
        ("owner/other", "main", "config.json"): (base / "config.json").read_bytes(),
        ("plain", "main", "config.json"): b"no owner",
    }
    with serve(Hub(files, gated={"owner/gated"}, broken={"owner/broken"}, cut={"owner/torn"})) as running:
        yield running


def test_downloads_and_failures(hub: Hub, tmp_path: Path) -> None:
    cases: list[tuple[Call, Any]] = [
        (("file", ["owner/text", "config.json"], {}), "main"),
        (("file", ["plain", "config.json"], {}), "no owner"),
        (("file", ["owner/text", "config.json"], {"revision": "v1"}), "first version"),
        (("file", ["owner/text", "config.json"], {"subfolder": "inner"}), "inner"),
        (("file", ["owner/text", "config.json"], {"cache_dir": str(tmp_path / "own")}), "main"),
        (("file", ["owner/text", "config.json"], {"token": "secret"}), "main"),
        (("file", ["owner/text", "absent.json"], {}), None),
        (("file", ["owner/absent", "config.json"], {}), "neither a folder here nor a repository on the hub"),
        (("file", ["owner/text", "config.json"], {"revision": "v9"}), "has no revision 'v9'"),
        (("file", ["owner/gated", "config.json"], {}), "is gated: ask for access"),
        (("file", ["owner/broken", "config.json"], {}), "the hub cannot be reached (Bad request"),
        (("file", ["owner/torn", "config.json"], {}), "'config.json' of 'owner/torn' could not be fetched"),
        (("file", ["not an id", "config.json"], {}), "neither a folder that exists nor a valid hub id"),
        (("config", ["owner/absent"], {"apply_lora": True}), "neither a folder here nor a repository"),
        (("model", ["owner/text"], {"revision": "v9"}), "has no revision 'v9'"),
        (("config", ["owner/base"], {"apply_lora": True, "lora_r": 8, "lora_alpha": 16}), [True, 8, 2]),
        (("config", ["owner/adapter"], {"revision": "v1", "subfolder": "rte"}), [True, 4, 3]),
    ]
    results = _call([call for call, _ in cases], tmp_path / "home", hub.url)
    for (call, expected), result in zip(cases, results, strict=True):
        if isinstance(expected, str) and result != expected:
            assert result.startswith("OSError: "), (call, result)
            assert expected in result, (call, result)
        else:
            assert result == expected, call
    assert ("HEAD", "/owner/text/resolve/main/config.json", "Bearer secret") in hub.requests
    assert list((tmp_path / "own").rglob("config.json"))


def test_the_cache_serves_offline(hub: Hub, tmp_path: Path) -> None:
    adapter: Call = ("model", ["owner/adapter"], {"revision": "v1", "subfolder": "rte"})
    online = [adapter, adapter, ("config", ["owner/other"], {})]
    hub.requests.clear()
    first, second, _ = _call(online, tmp_path, hub.url)
    assert isinstance(first, float)
    assert first == second
    assert len(hub.downloads()) == len(set(hub.downloads())), "fetched again what the cache has"
    hub.requests.clear()
    cases: list[tuple[Call, Any]] = [
        (adapter, first),
        (("file", ["owner/other", "never-asked.json"], {}), None),
        (
            ("file", ["owner/text", "config.json"], {}),
            "'config.json' is not in the cache, and the hub cannot be reached",
        ),
        (("model", ["owner/text"], {}), "cannot be reached (offline mode)"),
        (("model", ["owner/other"], {}), "holds no weights, or they are not in the cache"),
    ]
    results = _call([call for call, _ in cases], tmp_path, hub.url, TRANSFORMERS_OFFLINE="1")
    for (call, expected), result in zip(cases, results, strict=True):
        assert expected in result if isinstance(expected, str) else result == expected, (call, result)
    assert not hub.requests, "offline mode asked the network"


@pytest.fixture
def deaf() -> Iterator[tuple[str, list[Any]]]:
    """A server that hangs up on everyone, and who called it."""
    callers: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    connection, caller = server.accept()
                    callers.append(caller)
                    connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", callers
        server.shutdown(socket.SHUT_RDWR)


def test_the_cache_serves_when_the_hub_does_not_answer(hub: Hub, deaf: tuple[str, list[Any]], tmp_path: Path) -> None:
    model: Call = ("model", ["owner/adapter"], {"revision": "v1", "subfolder": "rte"})
    [online] = _call([model], tmp_path, hub.url)
    url, callers = deaf
    found, missing = _call([model, ("file", ["owner/text", "config.json"], {})], tmp_path, url)
    assert found == online
    assert "'config.json' is not in the cache, and the hub cannot be reached (no answer)" in missing
    assert len(callers) <= 2, "asked once (the client may try a second time), not several times for each file"


# Folders ------------------------------------------------------------------------------------------------------


def test_local_folders(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.json").write_text("{}")
    assert cached_file(tmp_path, "a.json") is None
    assert cached_file(tmp_path, "a.json", subfolder="inner") == tmp_path / "inner" / "a.json"
    assert cached_file(tmp_path, "inner") is None, "a folder is no file"


@pytest.mark.parametrize("name", ["/absent/folder", "./absent", "../absent", "~/absent", "a/b/c", "absent/", "a\\b"])
def test_paths_are_not_taken_for_hub_ids(name: str) -> None:
    with pytest.raises(OSError, match="does not exist; give an existing folder"):
        cached_file(name, "config.json")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="is a file; a folder"):
        cached_file(tmp_path / "a", "config.json")


def test_no_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="name is empty"):
        cached_file("", "config.json")


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("on", True), ("0", False), ("", False)])
@pytest.mark.parametrize("name", ["TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str, offline: bool) -> None:
    for each in ("TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, value)
    assert is_offline_mode() == offline


def test_json_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"ä": [1]}', encoding="utf-8")
    assert load_json(tmp_path / "a.json") == {"ä": [1]}
    with pytest.raises(OSError, match=r"absent\.json"):
        load_json(tmp_path / "absent.json")


def test_a_token_that_no_header_can_hold_is_in_no_message(hub: Hub, tmp_path: Path) -> None:
    secret = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
    (result,) = _call(
        [("file", ["owner/text", "config.json"], {"token": f"{secret}\u20ac"})], tmp_path / "home", hub.url
    )
    assert result.startswith("OSError: 'config.json' of 'owner/text' could not be fetched")
    assert secret not in result
    quoted = f"Illegal header value b'Bearer {secret}\\n'"  # the HTTP library's words for one with a line's end
    assert hide_tokens(quoted) == "Illegal header value b'Bearer hf_…\\n'"
    assert hide_tokens("hf_argparser and hf auth login") == "hf_argparser and hf auth login"
