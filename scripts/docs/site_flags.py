"""The pages on what is typed: the scripts' flags, and ``transformers-cli``."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["SCRIPTS", "data_flags", "flag_pages", "shown_default"]

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    "text-classification/run_glue.py": ("glue_arguments", "Texts: GLUE, or files of your own"),
    "token-classification/run_ner.py": ("ner_arguments", "Entities in sentences"),
    "question-answering/run_qa.py": ("qa_arguments", "Answers to questions, in texts"),
    "language-modeling/run_mlm.py": ("mlm_arguments", "Texts without labels"),
    "multiple-choice/run_swag.py": ("choice_arguments", "The best of several endings"),
}
"""Each script's module of flags, and what it is for."""

_COMMANDS = (
    ("adapter", "show"),
    ("adapter", "check"),
    ("adapter", "convert"),
    ("adapter", "merge"),
    ("export", "onnx"),
    ("serve",),
    ("env",),
)
_COLUMNS = "88"  # what a page shows of a line


def flag_pages() -> Iterator[tuple[str, str]]:
    """Give the two pages, each as its file's name and its Markdown."""
    yield "scripts.md", _scripts()
    yield "command_line.md", _command_line()


def data_flags(script: str) -> type:
    """Give the dataclass of the flags that one script alone has.

    Args:
        script: Its path below ``examples``.
    """
    for folder in (ROOT / "examples", (ROOT / "examples" / script).parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    found: type = importlib.import_module(SCRIPTS[script][0]).DataTrainingArguments
    return found


def shown_default(field: Field[Any]) -> str:
    """Write a field's default as code; nothing where the flag must be given."""
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if default is MISSING:
        return ""
    return f"`{default.value!r}`" if isinstance(default, Enum) else f"`{default!r}`"


def _scripts() -> str:
    data = {script: data_flags(script) for script in SCRIPTS}
    model = importlib.import_module("common.arguments").ModelArguments
    parts = [
        "# The scripts' flags",
        "Every script takes the flags of its data, those of the model, and all of "
        "[`TrainingArguments`](training_arguments.md). A JSON file may stand in for flags, and those after it win: "
        "`run_glue.py flags.json --seed 1`. `--help` says the same.",
    ]
    for script, (_, title) in SCRIPTS.items():
        parts += [f"## {title}: `{Path(script).name}` {{ #{Path(script).stem} }}", _table(fields(data[script]))]
    parts += ["## The model and what is trained { #model }", "In all five scripts.", _table(fields(model))]
    return "\n\n".join(parts) + "\n"


def _table(flags: tuple[Field[Any], ...]) -> str:
    rows = [
        f"| `--{flag.name}` | {shown_default(flag)} | {flag.metadata.get('help', '').replace('%%', '%')} |"
        for flag in flags
        if flag.init
    ]
    return "\n".join(("| flag | default | what it does |", "| --- | --- | --- |", *rows))


def _command_line() -> str:
    parts = ["# transformers-cli", "`transformers-cli COMMAND --help`, for every command."]
    for words in _COMMANDS:
        name = " ".join(words)
        parts += [f"## {name} {{ #{'-'.join(words)} }}", f"```text\n{_help_of(words)}\n```"]
    return "\n\n".join(parts) + "\n"


def _help_of(words: tuple[str, ...]) -> str:
    from transformers.commands.transformers_cli import main

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _COLUMNS  # argparse asks how wide the terminal is
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return said.getvalue().strip()
