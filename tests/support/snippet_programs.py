"""The programs that pages call, answered in this process: with tiny models, and trainings of a step or two."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets.config
import pytest
from served import in_process
from snippets import ROOT, Run, Snippet, lay_out, read_snippets, run_bash, run_python
from starlette.testclient import TestClient
from supposed import prepare
from tiny_checkpoint import write_tiny_checkpoint

from transformers.commands.transformers_cli import main as transformers_cli

__all__ = ["Programs", "check_extras", "run_page", "tiny_checkout"]

_SHORT = ["--max_steps", "2", "--report_to", "none", "--disable_tqdm", "true", "--no_cuda"]
_SHORT += ["--per_device_train_batch_size", "4", "--max_seq_length", "64"]
_SHORT_SEARCH = ["--trials", "2", "--max_train_samples", "8", "--max_val_samples", "8", "--no_cuda"]
_NO_TRAINING = re.compile(r"scripts/[\w/]+\.py$|^-[mc]$")


class Programs:
    """Answers for the programs that a page's shells call; what it starts ends with `close`."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._server: TestClient | None = None

    def close(self) -> None:
        """End the server, where one was started."""
        self._open.close()

    def __call__(self, words: list[str]) -> Run:
        """Run a program.

        Args:
            words: Its name and what follows it.
        """
        name, *rest = words
        answers = {
            "python": self._python,
            "transformers-cli": self._transformers_cli,
            "pip": check_extras,
            "curl": self._curl,
        }
        return answers[name](rest)

    def _python(self, words: list[str]) -> Run:
        script = Path(words[0])
        if script.name == "search.py":
            return _said(importlib.import_module("search").main, [*words[1:], *_SHORT_SEARCH])
        if _NO_TRAINING.search(words[0]):
            command = [sys.executable, *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return Run(done.returncode, done.stdout + done.stderr)
        module = importlib.import_module(script.stem)
        assert Path(module.__file__ or "").samefile(script), f"{script} is not the script of that name"
        more = ["--doc_stride", "16"] if script.stem == "run_qa" else []
        return _said(module.main, [*words[1:], *_SHORT, *more])

    def _transformers_cli(self, words: list[str]) -> Run:
        if words[0] != "serve":
            return _said(transformers_cli, words)
        assert words[1] == "--adapters", "a page that serves names the folder first"
        self._server = self._open.enter_context(in_process(Path(words[2]).resolve()))
        return Run(0, "Serving\n")

    def _curl(self, words: list[str]) -> Run:
        """Ask the server that the page has started."""
        assert self._server is not None, "the page has started no server"
        address = next(word for word in words if "localhost:8000" in word or "127.0.0.1:8000" in word)
        path = address.partition(":8000")[2] or "/"
        options = dict(pairwise(words))
        method = options.get("-X", "POST" if "-d" in words else "GET")
        answer = self._server.request(method, path, content=options.get("-d"))
        return Run(0 if answer.is_success else 22, answer.text + "\n")


def check_extras(words: list[str]) -> Run:
    """Answer for ``pip install``: it is done already, and the extras that are named must exist.

    Args:
        words: What follows ``pip``.
    """
    text = (ROOT / "setup.py").read_text()
    for word in words:
        extras = re.fullmatch(r"\.\[([\w,]+)\]", word)
        for extra in extras[1].split(",") if extras else ():
            if f'"{extra}":' not in text:
                return Run(1, f"setup.py has no extra '{extra}'\n")
    return Run(0, "")


def tiny_checkout(folder: Path) -> Path:
    """Make a folder like a checkout, in which the names that pages use lead to a tiny model.

    Args:
        folder: A new folder.
    """
    (folder / "models").mkdir(parents=True)
    base = write_tiny_checkpoint(folder / "roberta-base", initializer_range=0.2)  # such a folder comes before the hub
    (folder / "models" / "minilm-roberta").symlink_to(base)
    return lay_out(folder)


def run_page(page: Path, checkout: Path) -> list[tuple[Snippet, str]]:
    """Run a page's snippets in this process, in order, and give each with what it prints.

    Args:
        page: The page.
        checkout: Of `tiny_checkout`.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    prepare(page, checkout, checkout / "roberta-base", names)
    done = []
    with contextlib.closing(Programs()) as programs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", checkout.parent / f"{checkout.name}-cache")
        if "report.html`" in page.read_text(encoding="utf-8"):
            patch.delenv("TRANSFORMERS_NO_REPORT", raising=False)  # elsewhere half a second for nothing
        for snippet in read_snippets(page):
            if snippet.is_run and snippet.language == "python":
                done.append((snippet, run_python(snippet, checkout, names)))
            elif snippet.is_run:
                ran = run_bash(snippet.text, checkout, programs, {})
                assert ran.code == 0, f"{snippet} ended with {ran.code}:\n{ran.output[-3000:]}"
                done.append((snippet, ran.output))
    return done


def _said(main: Any, words: list[str]) -> Run:
    """Run a ``main`` and give its exit code with what it printed."""
    said = io.StringIO()
    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = int(main(words) or 0)
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        root.handlers[:] = handlers
    return Run(code, said.getvalue())
