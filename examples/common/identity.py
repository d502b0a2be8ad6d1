"""What makes two runs the same run: data, task, labels, model and method, by content, recorded in the output folder.

Only a run that is the same goes on from a checkpoint: else it would give the old weights under the new run's name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.adapters.metadata import file_sha256
from transformers.configuration.lora_options import LORA_OPTIONS
from transformers.training.same_run import METHOD
from transformers.utils import logging
from transformers.utils.json_files import load_json
from transformers.utils.remembered_hashes import ReadFiles
from transformers.utils.shapes import Anything, ListOf, MapOf, Record, Text, optional
from transformers.utils.writing import write_text

from .arguments import ModelArguments
from .quantization_flags import QuantizationFlags

if TYPE_CHECKING:
    from datasets import Dataset

    from transformers import PreTrainedModel

__all__ = ["IDENTITY_FILE", "check_same_run", "check_unfinished_run", "describe_run", "hash_rows", "record_run"]

logger = logging.get_logger("transformers.examples.identity")

IDENTITY_FILE = "run_identity.json"
_HASH = Text(pattern="[0-9a-f]{64}", named="a sha256")
IDENTITY = Record(
    {
        "task": Text(),
        "data": MapOf(_HASH),
        "labels": ListOf(Text()),
        "problem": optional(Text()),
        "model": optional(_HASH),
        "start": MapOf(optional(_HASH)),
        "method": MapOf(Anything()),
    },
    required=("task", "data", "labels"),
)
"""What the record holds; a run compares all of it with its own."""

# The flags of a base of few bits, as they are where they were not given.
_BITS = {each.name: each.default for each in dataclasses.fields(QuantizationFlags)}

OWN_FILES = "files of your own"


def hash_rows(split: Dataset, columns: Iterable[str]) -> str:
    """Give the sha256 of a split's content: its columns' names and values in the order of the rows.

    Args:
        split: Any split.
        columns: Those that count; others may differ.
    """
    names = [name for name in columns if name in split.column_names]
    digest = hashlib.sha256(repr(names).encode())
    for batch in split.select_columns(names).iter(batch_size=1000):
        rows = zip(*(batch[name] for name in names), strict=True)
        digest.update("".join(f"{row!r}\n" for row in rows).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def describe_run(
    model: PreTrainedModel, model_args: ModelArguments, task: str | None, rows: Mapping[str, str]
) -> dict[str, Any]:
    """Say which run this is.

    Args:
        model: As it is before training.
        model_args: Its flags.
        task: The task's name; None for files of the user's own.
        rows: What it learns from and chooses its best weights by: name to `hash_rows`.

    Returns:
        A description as JSON holds it: two runs are the same if theirs are equal.
    """
    starts = ("model_name_or_path", "lora_path", "adapter_path")
    return {
        "task": task or OWN_FILES,
        "data": dict(rows),
        "labels": list(model.config.id2label.values()),
        "problem": model.config.problem_type,
        "model": model.base_sha256(),
        "start": {name: _hash_weights(getattr(model_args, name)) for name in starts},
        "method": {name: getattr(model.config, name, None) for name in METHOD}
        | {name: getattr(model_args, name) for name in _BITS},
    }


def _hash_weights(path: str | None) -> str | None:
    """Hash the weights in a local folder or file; None for the hub's, whose base is hashed as it was read."""
    if path is None or not Path(path).exists():
        return None
    found = [Path(path)]
    if Path(path).is_dir():
        found = sorted(file for file in Path(path).iterdir() if file.suffix in (".safetensors", ".bin"))
    digest = hashlib.sha256()
    for file in found:
        files = ReadFiles()
        files.note(file)
        digest.update(bytes.fromhex(files.hash("content", partial(file_sha256, file))))
    return digest.hexdigest()


def record_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write down in the output folder which run it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / IDENTITY_FILE, json.dumps(run, indent=2) + "\n")


def check_same_run(checkpoint: str, run: Mapping[str, Any]) -> None:
    """Refuse to go on from another run's checkpoint; of changed arguments the Trainer tells.

    Args:
        checkpoint: The checkpoint to go on from; the run that it is part of is recorded beside it.
        run: This run, by `describe_run`.

    Raises:
        ValueError: If the checkpoint is another run's, or the record is damaged; the message names its place.
        OSError: If the record cannot be read.
    """
    path = Path(checkpoint).resolve().parent / IDENTITY_FILE
    if not path.is_file():
        logger.warning(
            "%s is lacking, so whether %s was trained on these data and labels, from this model and by this method "
            "cannot be checked.",
            path,
            checkpoint,
        )
        return
    before = load_json(path, IDENTITY)
    differences = _differences(before, run)
    if differences:
        raise ValueError(
            f"--output_dir {path.parent} holds checkpoints of {differences[0]}. Give another one, or "
            "--overwrite_output_dir to start anew."
        )


def check_unfinished_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Refuse to start anew in a folder that holds another run's beginning.

    Args:
        folder: The output folder; what it holds beside the record of a run was left by a run that was killed.
        run: This run, by `describe_run`.

    Raises:
        ValueError: If another run has begun in it.
    """
    path = folder / IDENTITY_FILE
    if not path.is_file() or not any(not item.name.startswith(".") and item != path for item in folder.iterdir()):
        return
    differences = _differences(load_json(path, IDENTITY), run)
    if differences:
        raise ValueError(
            f"--output_dir {folder} holds the beginning of {differences[0]}. Give another one, or "
            "--overwrite_output_dir to start anew."
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[str]:
    """Say what is another, the most telling first, as it follows "checkpoints of"."""
    if before.get("task") != now["task"]:
        return [f"{before.get('task')}, not of {now['task']}"]
    found = []
    old, new = before.get("data", {}), now["data"]
    for name in dict.fromkeys((*old, *new)):
        if name in old and name in new and old[name] != new[name]:
            found.append(f"another run: its {name} data are not these")
    if before.get("labels") != now["labels"] or before.get("problem") != now["problem"]:
        found.append(f"another run: its labels are {_some(before.get('labels', []))}, not {_some(now['labels'])}")
    method = before.get("method", {})
    method = {**LORA_OPTIONS, **_BITS, **method}  # those of a run from before there were any
    changed = [name for name in now["method"] if method.get(name) != now["method"][name]]
    if changed:
        found.append(
            "another run: "
            + ", ".join(f"--{name} was {method.get(name)} and is {now['method'][name]}" for name in changed)
        )
    if before.get("model") != now["model"] or before.get("start") != now["start"]:
        found.append("another run: it started from other weights")
    return found


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (" …" if len(labels) > 5 else "")
