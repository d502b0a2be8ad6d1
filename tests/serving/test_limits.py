"""What a server refuses when there is too much, and how it begins and ends."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, page
from plain_signals import not_ignored
from served import in_process, running

from transformers.commands.transformers_cli import main
from transformers.serving.engine import Engine, Unit
from transformers.utils import logging

LONG = "good " * 40


def test_too_much_is_refused_and_a_signal_ends_it_when_what_waits_is_answered(adapters: Path) -> None:
    choices = ("--queue_tokens", "64", "--max_wait_ms", "1000", "--max_requests", "3")
    with running(adapters, *choices) as server, ThreadPoolExecutor(8) as pool:
        server.client.post("/adapters/names")
        response = server.predict("names", ["good " * 60] * 2)
        assert response.status_code == 413
        assert "124 tokens; at most 64" in response.json()["error"]
        first = pool.submit(server.predict, "names", LONG)
        time.sleep(0.4)
        refused = server.predict("names", LONG)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert "The queue is full: 42 tokens wait" in refused.json()["error"]
        short = [pool.submit(server.predict, "names", "good") for _ in range(6)]
        codes = sorted(each.result().status_code for each in short)
        assert codes == [200, 200, 429, 429, 429, 429]
        assert first.result().status_code == 200
        waiting = pool.submit(server.predict, "names", "good")
        time.sleep(0.4)
        assert server.stop(signal.SIGINT) == 130
        assert waiting.result().status_code == 200


def test_a_token_is_needed_and_never_shown(adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_SERVE_TOKEN", "geheim-123")
    with running(adapters) as server:
        for path in ("/adapters", "/metrics", "/openapi.json", "/adapters/names", "/elsewhere"):
            for headers in ({}, {"Authorization": "Bearer geheim-12"}, {"Authorization": "Basic geheim-123"}):
                response = server.client.get(path, headers=headers)
                assert response.status_code == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert "Authorization: Bearer" in response.json()["error"]
        assert server.client.get("/").status_code == 200
        assert server.client.get("/healthz").status_code == 200
        if CHROMIUM:
            shown = page(server.url, tmp_path, text="good")
            assert 'id="asking-token">' in shown, "the page asks for it"
            assert "This server needs its token" in shown.partition("<script>")[0]
        server.client.headers["Authorization"] = "Bearer geheim-123"
        assert server.outputs("names", "good") is not None
        assert server.stop(signal.SIGTERM) == 0
    assert "geheim" not in (adapters.parent / "server.log").read_text(encoding="utf-8")


def test_a_request_that_takes_too_long_is_given_up(adapters: Path) -> None:
    with in_process(adapters, max_wait_ms=3000, timeout=0.5) as server:
        response = server.post("/predict", json={"adapter": "names", "inputs": "good"})
        assert (response.status_code, response.json()["error"]) == (504, "There was no answer within 0.5 seconds.")


def test_a_fault_inside_is_an_id_outside(
    adapters: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(self: Engine, units: Sequence[Unit]) -> list[Any]:
        if any(unit.served.entry.name == "names" for unit in units):
            raise ValueError("a secret of the inside")
        return compute(self, units)

    compute = Engine.compute
    monkeypatch.setattr(Engine, "compute", fault)
    logging.enable_propagation()
    with in_process(adapters, max_wait_ms=200) as server, ThreadPoolExecutor(3) as pool:
        ask = [
            pool.submit(server.post, "/predict", json={"adapter": name, "inputs": "good"})
            for name in ("names", "texts-2-2", "texts-5-4")
        ]
        broken, *others = [each.result() for each in ask]
        assert [each.status_code for each in others] == [200, 200], "who was computed together with it is answered"
        assert broken.status_code == 500
        assert set(broken.json()) == {"error"}
        assert "secret" not in broken.text
        number = broken.json()["error"].split()[-1].rstrip(".")
        assert f"Fault {number}" in caplog.text
        assert "a secret of the inside" in caplog.text
        assert server.get("/healthz").status_code == 200
    logging.disable_propagation()


def test_what_cannot_begin_says_why_in_one_line(
    adapters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(sentence: str, folder: Path, *words: str) -> None:
        assert main(["serve", "--adapters", str(folder), *words]) == 2
        said, why = capsys.readouterr()
        assert (said, why.count("\n")) == ("", 1)
        assert why.startswith("transformers-cli: error: ")
        assert sentence in why

    (tmp_path / "empty").mkdir()
    for name, base in (("one", "a/b"), ("other", "c/d")):
        shutil.copytree(adapters / "texts-2-2", tmp_path / "two" / name)
        (tmp_path / "two" / name / "lora_metadata.json").unlink()
        config = tmp_path / "two" / name / "adapter_config.json"
        config.write_text(config.read_text().replace(str(adapters.parent / "base"), base))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(f"127.0.0.1:{port} cannot be listened on", adapters, "--port", port)
    refused("none", tmp_path / "none", "--port", "0")
    refused("No adapter there says which base", tmp_path / "empty", "--port", "0")
    refused("belong to several bases", tmp_path / "two", "--port", "0")
    refused("config.json", adapters, "--port", "0", "--model", str(tmp_path / "empty"))
    refused("--timeout is 0", adapters, "--timeout", "0")
    refused("The token is empty", adapters, "--token", " ")
    for name in ("fastapi", "transformers.serving.running", "transformers.serving.app"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    refused("Serving needs fastapi", adapters)


def test_ctrl_c_while_libraries_load_is_one_line(adapters: Path) -> None:
    words = [sys.executable, "-m", "transformers.commands.transformers_cli", "serve", "--adapters", str(adapters)]
    with not_ignored(signal.SIGINT):  # as what a shell starts in the background ignores it
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    with process:
        maps, end = Path(f"/proc/{process.pid}/maps"), time.monotonic() + 60
        while "libtorch" not in maps.read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            assert process.communicate(timeout=60)[1] == "transformers-cli: interrupted.\n"
        finally:
            process.kill()
    assert process.returncode == 130
