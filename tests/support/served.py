"""A real server in a process of its own, and folders of tiny adapters for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from starlette.testclient import TestClient
from tiny import ROOT
from tiny_checkpoint import write_tiny_checkpoint

import transformers
from transformers import AutoTokenizer, LoraConfig
from transformers.serving.app import make_application
from transformers.serving.catalog import base_of, meaning_of, scan
from transformers.serving.engine import Engine
from transformers.serving.options import ServeOptions

TASKS = {
    "text": "ForSequenceClassification",
    "token": "ForTokenClassification",
    "question": "ForQuestionAnswering",
    "words": "ForMaskedLM",
    "choices": "ForMultipleChoice",
    "features": "",
}


def write_adapter(
    folder: Path, base: Path, kind: str = "text", *, seed: int, r: int = 2, labels: int = 2, **lora: Any
) -> Path:
    """Write an adapter with large random values."""
    auto = getattr(transformers, f"AutoModel{TASKS[kind]}")
    torch.manual_seed(seed)
    model = auto.from_pretrained(base, num_labels=labels if kind in ("text", "token") else 2)
    model.add_adapter(LoraConfig(r=r, lora_alpha=2 * r, **lora), "default")
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_adapter(folder)
    return folder


def write_adapters(folder: Path) -> Path:
    """Write a base, and beside it adapters of all kinds, ranks and numbers of labels; give the adapters' folder."""
    base = write_tiny_checkpoint(folder / "base")
    adapters = folder / "adapters"
    for seed, (r, labels) in enumerate([(2, 2), (4, 5), (3, 20), (16, 2)]):
        write_adapter(adapters / f"texts-{labels}-{r}", base, seed=seed, r=r, labels=labels)
    names = write_adapter(adapters / "names", base, "token", seed=10, r=3, labels=4)
    AutoTokenizer.from_pretrained(base).save_pretrained(names)  # as a run does; the others have the base's
    write_adapter(adapters / "answers", base, "question", seed=11, r=2)
    write_adapter(adapters / "words", base, "words", seed=13, r=4)
    write_adapter(adapters / "endings", base, "choices", seed=14)
    write_adapter(adapters / "vectors", base, "features", seed=15, r=8)
    write_adapter(adapters / "biases", base, seed=12, labels=3, bias="lora_only")  # more than LoRA: never mixed
    return adapters


@dataclass
class Running:
    """A server that runs.

    Attributes:
        process: Its process.
        url: Its address.
        client: Asks it.
    """

    process: subprocess.Popen[str]
    url: str
    client: httpx.Client

    def predict(self, adapter: str, inputs: Any, **choices: Any) -> httpx.Response:
        """Ask an adapter."""
        return self.client.post("/predict", json={"adapter": adapter, "inputs": inputs, **choices})

    def outputs(self, adapter: str, inputs: Any, **choices: Any) -> Any:
        """Ask an adapter that answers."""
        response = self.predict(adapter, inputs, **choices)
        assert response.status_code == 200, response.text
        return response.json()["outputs"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def in_process(adapters: Path, **choices: Any) -> Iterator[TestClient]:
    """Have a server in this process, where one of its own would add nothing."""
    entries = scan(adapters, {})
    engine = Engine(base_of(entries), "cpu", position_query=meaning_of(entries))
    application = make_application(ServeOptions(str(adapters), **choices), engine, entries)
    with TestClient(application, raise_server_exceptions=False) as found:
        yield found


@contextlib.contextmanager
def running(adapters: Path, *arguments: str) -> Iterator[Running]:
    """Let a server run inside the ``with``; what it says goes to a file beside the adapters."""
    cli = [sys.executable, "-m", "transformers.commands.transformers_cli"]
    words = [*cli, "serve", "--adapters", str(adapters), "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with open(adapters.parent / "server.log", "a", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    timer = threading.Timer(300, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Serving"), (adapters.parent / "server.log").read_text(encoding="utf-8")
        url = line.split()[-1]
        with httpx.Client(base_url=url, timeout=60) as client:
            yield Running(process, url, client)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
