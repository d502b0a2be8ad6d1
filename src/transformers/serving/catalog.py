"""The adapters on disk: which folders there are, what they say of themselves, and whether one has changed.

Nothing of their weights is read here. A version of an adapter is told by its files' numbers, sizes and times: those of
the last change, as copying may keep the times of what was copied.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..adapters.metadata import read_metadata
from ..adapters.part_format import PART_METADATA_NAME
from ..adapters.peft_format import architecture_of, read_peft_config
from ..adapters.reading import CONFIG_NAME, LEGACY_WEIGHTS_NAME, METADATA_NAME, WEIGHTS_NAME
from ..models.auto.saved_task import task_of
from ..models.auto.tokenization_auto import TOKENIZER_PARTS
from ..utils.json_files import load_json
from .refusal import one_line

__all__ = ["Entry", "base_of", "identity_of", "labels_of", "look", "meaning_of", "scan"]

_FILES = (CONFIG_NAME, METADATA_NAME, WEIGHTS_NAME, LEGACY_WEIGHTS_NAME, PART_METADATA_NAME, *TOKENIZER_PARTS)
Identity = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Entry:
    """One adapter on disk, as of its last look.

    Attributes:
        name: Its folder's name, under which it is asked for.
        path: Its folder.
        identity: Name, number, time and size of each of its files; another version has another.
        task: A key of the table of tasks; None where it does not say.
        labels: Names of its labels; empty where it does not say.
        rank: Its rank.
        base: Path or hub id of its base, where it says so.
        base_sha256: Hash of its base, where it says so.
        position_query: See `transformers.adapters.reading.AdapterContent`.
        problem: Why it cannot be used, as far as can be told without its weights.
    """

    name: str
    path: Path
    identity: Identity
    task: str | None = None
    labels: Sequence[str] = ()
    rank: int | None = None
    base: str | None = None
    base_sha256: str | None = None
    position_query: bool = True
    problem: str | None = field(default=None, compare=False)


def scan(folder: Path, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """Look at a folder of adapters.

    Args:
        folder: The folder.
        known: What was there before; what has not changed is not read again.

    Returns:
        Its adapters by name. Folders that are no adapters, and hidden ones, are left out.

    Raises:
        OSError: If the folder cannot be read.
    """
    found = (look(folder, name, known.get(name)) for name in sorted(os.listdir(folder)))
    return {entry.name: entry for entry in found if entry is not None}


def look(folder: Path, name: str, known: Entry | None = None) -> Entry | None:
    """Look at one adapter; None where there is none of that name.

    Args:
        folder: The folder of adapters.
        name: The name of one of its folders; anything else is none.
        known: What was there before.
    """
    if name.startswith(".") or not name.isprintable() or os.path.basename(name) != name:
        return None
    identity = identity_of(folder / name)
    if not any(file in (CONFIG_NAME, PART_METADATA_NAME) for file, *_ in identity):
        return None
    return known if known is not None and known.identity == identity else _described(name, folder / name, identity)


def identity_of(path: Path) -> Identity:
    """Give what tells a version of an adapter from another; empty where there is no such folder."""
    found = []
    for name in _FILES:
        try:
            about = os.stat(path / name)
        except OSError:
            continue  # not every kind of adapter has every file
        found.append((name, about.st_ino, about.st_ctime_ns, about.st_size))
    return tuple(found)


def labels_of(task: str | None, id2label: Mapping[int, str]) -> list[str]:
    """Give the labels' names where a task has labels.

    Args:
        task: A key of the table of tasks; None where it is not known.
        id2label: The configuration's, which every model has.
    """
    return list(id2label.values()) if task in (None, "sequence-classification", "token-classification") else []


def base_of(entries: Mapping[str, Entry]) -> str:
    """Give the base that most adapters name.

    Raises:
        ValueError: If none names one, or several are named equally often.
    """
    named = Counter(entry.base for entry in entries.values() if entry.base).most_common(2)
    if not named:
        raise ValueError("No adapter there says which base it belongs to: give it with --model.")
    if len(named) == 2 and named[0][1] == named[1][1]:
        raise ValueError(
            f"The adapters there belong to several bases ('{named[0][0]}', '{named[1][0]}'): give --model."
        )
    return str(named[0][0])


def meaning_of(entries: Mapping[str, Entry]) -> bool:
    """Give the meaning of DeBERTa's position query that most adapters have; those of the other are refused."""
    meanings = [entry.position_query for entry in entries.values() if entry.problem is None]
    return sum(meanings) * 2 > len(meanings)


def _described(name: str, path: Path, identity: Identity) -> Entry:
    try:
        return Entry(name, path, identity, **_description(path))
    except (OSError, ValueError) as error:
        return Entry(name, path, identity, problem=one_line(error))


def _description(path: Path) -> dict[str, Any]:
    """Read what an adapter says of itself.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is damaged, or asks for what is not supported.
    """
    if not (path / CONFIG_NAME).exists():
        raise ValueError(f"'{path}' holds bottleneck adapters or biases alone, which cannot be served: LoRA can.")
    raw = load_json(path / CONFIG_NAME)
    fields = read_peft_config(raw, str(path / CONFIG_NAME))
    about = read_metadata(path / METADATA_NAME) if (path / METADATA_NAME).exists() else {}
    task = task_of([about.get("architecture") or architecture_of(raw)], raw.get("task_type"))
    return {
        "task": task,
        "labels": labels_of(task, about.get("id2label", {})),
        "rank": fields["r"],
        "base": fields["base"],
        "base_sha256": about.get("base_sha256"),
        "position_query": bool(about.get("lora_position_query")) if about else True,  # PEFT's meaning
    }
