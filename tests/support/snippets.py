"""The fenced blocks of a page, and how they are run: as a reader would, in order, in a folder like a checkout.

A block is run unless a comment stands above it, which no rendering shows::

    <!-- not run: needs a GPU -->

Each block of bash is a shell of its own in the page's folder; the blocks of Python share their names, as in a
notebook.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PROGRAMS", "Run", "Snippet", "lay_out", "read_snippets", "run_bash", "run_python"]

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("python", "transformers-cli", "pip", "curl")
"""What a shell hands over to whoever runs the snippets."""

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    flags=re.DOTALL | re.MULTILINE,
)
_LINKED = ("benchmarks", "docs", "examples", "scripts", "src", "environment.yml", "setup.py")
_PROGRAM = """#!{python} -IS
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect(os.environ["SNIPPETS"])
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
asked.sendall(json.dumps({{"words": words, "folder": os.getcwd()}}).encode() + b"\\n")
answer = json.loads(asked.makefile().readline())
sys.stdout.write(answer["output"])
sys.exit(answer["code"])
"""


@dataclass(frozen=True)
class Snippet:
    """A fenced block.

    Attributes:
        page: The file that it stands in.
        line: Where its text begins, counted from 1.
        language: What it is.
        text: Its text.
        reason: Why it is not run; empty where it is.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def is_run(self) -> bool:
        """Whether it is a command or code, and nothing says that it cannot be run."""
        return self.language in ("bash", "python") and not self.reason

    def __str__(self) -> str:
        """Say where it is."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Run:
    """What came of a snippet.

    Attributes:
        code: The exit code.
        output: What it printed, on both streams.
    """

    code: int
    output: str


Handler = Callable[[list[str]], Run]


def read_snippets(page: Path) -> list[Snippet]:
    """Read a page's blocks, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent = len(match["indent"])
        content = "".join(line[indent:] or "\n" for line in match["text"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Snippet(page, line, match["language"], content, match["reason"] or ""))
    return found


def lay_out(folder: Path) -> Path:
    """Make a folder look like a checkout to what is typed in it.

    Args:
        folder: An empty folder; what the project ships is linked there.
    """
    for name in _LINKED:
        (folder / name).symlink_to(ROOT / name)
    return folder


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run_python(snippet: Snippet, folder: Path, names: dict[str, Any]) -> str:
    """Run a block of Python here, and give what it prints.

    Args:
        snippet: The block.
        folder: Where it runs.
        names: The names of the page's blocks before it; its own are added.
    """
    code = compile("\n" * (snippet.line - 1) + snippet.text, str(snippet.page), "exec")  # errors name the page's line
    said = io.StringIO()
    with _inside(folder), contextlib.redirect_stdout(said):
        exec(code, names)
    return said.getvalue()


def run_bash(
    text: str,
    folder: Path,
    handler: Handler,
    environment: Mapping[str, str],
    programs: Sequence[str] = PROGRAMS,
) -> Run:
    """Run bash, and let the handler answer for some programs: each in a process of its own would load PyTorch.

    Args:
        text: What is typed; the first command that fails ends it.
        folder: Where it is typed.
        handler: Is called with a program's words, in the folder that it was called in.
        environment: Variables beside this process's.
        programs: Those that the handler answers for.
    """
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as asked:
        for name in programs:
            program = Path(place, name)
            program.write_text(_PROGRAM.format(python=sys.executable))
            program.chmod(0o755)
        asked.bind(f"{place}/asked")
        asked.listen()
        asked.settimeout(0.02)
        path = f"{place}{os.pathsep}{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path, "SNIPPETS": f"{place}/asked", **environment}
        command = ["bash", "-euo", "pipefail", "-c", text]
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=folder, env=variables)
            while process.poll() is None:
                with contextlib.suppress(TimeoutError):
                    _answer(asked, handler)
            said.seek(0)
            return Run(process.returncode, said.read())


def _answer(asked: socket.socket, handler: Handler) -> None:
    """Answer one program that has been called."""
    connection, _ = asked.accept()
    with connection:
        call = json.loads(connection.makefile().readline())
        with _inside(Path(call["folder"])):
            done = handler(call["words"])
        connection.sendall(json.dumps({"code": done.code, "output": done.output}).encode() + b"\n")
