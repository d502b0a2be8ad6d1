"""Checkpoints that are whole or not there: commit, then name.

A checkpoint is written to a hidden sibling folder, every file is flushed to the disk, a manifest with their sizes and
sha256 sums is written last, and only then does the folder get its name, by one rename. Whatever kills the process or
fills the disk, the folders called ``checkpoint-<step>`` that were there before stay as they were.

Names in ``output_dir`` (hidden ones are left behind by a kill only, and cleared at the next start)::

    checkpoint-20            sealed
    .checkpoint-30.partial   being written
    .checkpoint-20.replaced  an older checkpoint-20, until the new one has its name
    .checkpoint-10.deleted   on its way out
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..utils import logging
from ..utils.json_files import load_json
from ..utils.writing import is_machine_fault, is_unfinished, not_written, remove_unfinished
from .shapes import LARGEST_STATE, MANIFEST, TRAINER_STATE

__all__ = [
    "MANIFEST_NAME",
    "TornCheckpointError",
    "clear_leftovers",
    "find_last_checkpoint",
    "is_leftover",
    "is_of_transformers",
    "list_checkpoints",
    "partial_folder",
    "rotate_checkpoints",
    "verify_checkpoint",
    "writing_checkpoint",
]

MANIFEST_NAME = "manifest.json"
_PICKLED_STATE = ("optimizer.pt", "scheduler.pt", "training_args.bin")
# What a training that goes on reads; other files may be put beside it.
_IS_READ = re.compile(
    r"(config|trainer_state|training_args|optimizer|scheduler|rng_state|run|adapter_config|lora_metadata)\.json"
    r"|(optimizer|scheduler|rng_state|(adapter_|trained_|pytorch_)?model.*)\.(safetensors|bin)"
)
_NAME = re.compile(r"checkpoint-(\d+)")
_LEFTOVER = re.compile(r"\.checkpoint-\d+\.(partial|replaced|deleted)")

logger = logging.get_logger(__name__)


class TornCheckpointError(OSError):
    """A checkpoint folder is not whole: not sealed, or not what its manifest says."""


@contextmanager
def writing_checkpoint(folder: str | Path, required: Iterable[str] = ()) -> Iterator[Path]:
    """Write a checkpoint so that it appears as a whole or not at all.

    Args:
        folder: The checkpoint's final path; one of that name that is already there is replaced.
        required: Files without which it is not sealed.

    Yields:
        An empty folder to write the files into. When the block ends it is sealed and gets its name.

    Raises:
        OSError: If something could not be written (a full disk); nothing that was there before is lost.
    """
    folder = Path(folder)
    partial = partial_folder(folder)
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        yield partial
        remove_unfinished(partial)  # a scratch folder that could not be removed is not sealed in
        _seal(partial, required)
        _put_in_place(partial, folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not is_machine_fault(error):
            raise
        raise not_written(f"The checkpoint '{folder}'", error, "Earlier checkpoints are untouched.") from error


def partial_folder(folder: str | Path) -> Path:
    """Name the folder in which a checkpoint is prepared."""
    return Path(folder).parent / f".{Path(folder).name}.partial"


def is_of_transformers(folder: str | Path) -> bool:
    """Say whether a folder is a checkpoint that Transformers itself has written, 4.4.2 or any other version of it.

    Those have no manifest, and keep the state of the training as pickles, which are not read here.
    """
    folder = Path(folder)
    names = [*_PICKLED_STATE, *(["pytorch_model.bin"] if _NAME.fullmatch(folder.name) else [])]
    ours = any((folder / name).is_file() for name in (MANIFEST_NAME, "optimizer.json", "training_args.json"))
    return not ours and any((folder / name).is_file() for name in names)


def verify_checkpoint(folder: str | Path, *, contents: bool = True) -> None:
    """Check a checkpoint against its manifest.

    Args:
        folder: The checkpoint.
        contents: Also compare every file's sha256, not only its size.

    Raises:
        TornCheckpointError: Naming the file that is missing or other than it was when the checkpoint was sealed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TornCheckpointError(f"there is no folder '{folder}'")
    try:
        files = load_json(folder / MANIFEST_NAME, MANIFEST)["files"]
    except FileNotFoundError as error:
        if is_of_transformers(folder):
            raise TornCheckpointError(
                f"'{folder}' was written by Transformers itself; only its weights can be used, to start a training "
                "with: give its path as resume_from_checkpoint"
            ) from error
        raise TornCheckpointError(f"'{folder}' has no {MANIFEST_NAME}: it was never finished") from error
    except (ValueError, OSError) as error:
        raise TornCheckpointError(f"'{folder / MANIFEST_NAME}' cannot be read: {error}") from error
    for name, expected in files.items():
        path = folder / name
        if not path.exists():
            raise TornCheckpointError(f"'{path}' is missing")
        if not path.is_file() or path.resolve() != folder.resolve() / name:
            raise TornCheckpointError(f"'{path}' is a folder or a link, where a file of the checkpoint was written")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise TornCheckpointError(f"'{path}' has {size} bytes instead of {expected['bytes']}")
        if contents and _sha256(path) != expected["sha256"]:
            raise TornCheckpointError(f"the contents of '{path}' have changed since it was written")
    added = sorted(path.name for path in folder.iterdir() if _IS_READ.fullmatch(path.name) and path.name not in files)
    if added:
        raise TornCheckpointError(f"'{folder / added[0]}' is none of the files that its {MANIFEST_NAME} lists")


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """Give the sealed checkpoints of a training, in the order of their steps (their contents are not compared)."""
    return [path for path in _named_folders(output_dir) if _flaw(path, contents=False) is None]


def find_last_checkpoint(output_dir: str | Path) -> Path | None:
    """Give the checkpoint with the highest step whose every file is intact, or None; torn ones are named in the log.

    Raises:
        FileNotFoundError: If there is no folder ``output_dir``.
    """
    if not Path(output_dir).is_dir():
        raise FileNotFoundError(f"There is no folder '{output_dir}' to look for checkpoints in.")
    _restore_replaced(output_dir)
    for path in reversed(_named_folders(output_dir)):
        flaw = _flaw(path)
        if flaw is None:
            return path
        logger.warning("Passing over a checkpoint that training cannot go on from: %s.", flaw)
    return None


def rotate_checkpoints(output_dir: str | Path, limit: int | None, best: str | Path | None = None) -> list[Path]:
    """Delete the oldest checkpoints beyond ``limit``; never the newest, and never the best.

    Args:
        output_dir: Folder of the training.
        limit: How many to keep; None or 0 keeps all.
        best: The checkpoint with the best metric.

    Returns:
        The checkpoints that were deleted.
    """
    checkpoints = list_checkpoints(output_dir)
    if not limit or len(checkpoints) <= limit:
        return []
    kept = {checkpoints[-1].name} | ({Path(best).name} if best is not None else set())
    candidates = [path for path in checkpoints if path.name not in kept]
    doomed = candidates[: max(0, len(checkpoints) - max(limit, len(kept)))]
    for path in doomed:
        logger.info("Deleting the older checkpoint %s (save_total_limit is %d).", path, limit)
        gone = path.parent / f".{path.name}.deleted"
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)  # a kill while its files go leaves no torn folder under a checkpoint's name
        shutil.rmtree(gone)
    return doomed


def is_leftover(name: str) -> bool:
    """Say whether a file or folder is what a killed process left unfinished in an output folder, by its name."""
    return _LEFTOVER.fullmatch(name) is not None or is_unfinished(name)


def clear_leftovers(output_dir: str | Path) -> None:
    """Remove what a killed process left unfinished; an older checkpoint that was being replaced comes back."""
    if not Path(output_dir).is_dir():
        return
    _restore_replaced(output_dir)
    remove_unfinished(output_dir)
    for path in Path(output_dir).iterdir():
        if _LEFTOVER.fullmatch(path.name):
            logger.warning("Removing %s, which an interrupted run left behind.", path)
            _remove(path)


def checkpoint_step(folder: str | Path) -> int:
    """Give the step that a checkpoint's name says.

    Raises:
        ValueError: If it is not called ``checkpoint-<step>``.
    """
    match = _NAME.fullmatch(Path(folder).name)
    if match is None:
        raise ValueError(f"'{folder}' is not called checkpoint-<step>.")
    return int(match.group(1))


def _named_folders(output_dir: str | Path) -> list[Path]:
    folders = [path for path in Path(output_dir).iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(folders, key=checkpoint_step)


def _flaw(folder: Path, *, contents: bool = True) -> str | None:
    """Say what is wrong with a checkpoint of a run; None if it is whole, and the one that its name says."""
    try:
        verify_checkpoint(folder, contents=contents)
        step = _recorded_step(folder)
    except (TornCheckpointError, ValueError) as error:
        return str(error)
    if step is not None and step != checkpoint_step(folder):
        return f"'{folder}' was written after step {step}: it is a copy under another name"
    return None


def _recorded_step(folder: Path) -> int | None:
    """Give the step that a checkpoint's own state says; None where it has none."""
    path = folder / "trainer_state.json"
    if not path.is_file():
        return None
    return int(load_json(path, TRAINER_STATE, largest=LARGEST_STATE, allow_nan=True)["global_step"])


def _remove(path: Path) -> None:
    """Take away whatever stands in a folder's place: a folder, a file, or a link (not what it leads to)."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _seal(folder: Path, required: Iterable[str] = ()) -> None:
    """Flush every file to the disk and write the manifest, last.

    Raises:
        FileNotFoundError: If a required file is not there: something has removed it meanwhile.
    """
    lacking = [name for name in required if not (folder / name).is_file()]
    if lacking:
        raise FileNotFoundError(f"{', '.join(lacking)} is lacking; does another program write into this folder?")
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _flush(path)
            name = path.relative_to(folder).as_posix()
            files[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    manifest = folder / MANIFEST_NAME
    manifest.write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    _flush(manifest)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        _flush(path)


def _put_in_place(partial: Path, folder: Path) -> None:
    replaced = folder.parent / f".{folder.name}.replaced"
    if folder.exists() or folder.is_symlink():
        _remove(replaced)
        folder.rename(replaced)
    partial.rename(folder)
    _flush(folder.parent)
    _remove(replaced)


def _restore_replaced(output_dir: str | Path) -> None:
    """Undo a replacement that was cut between its two renames."""
    for replaced in Path(output_dir).glob(".checkpoint-*.replaced"):
        folder = replaced.parent / replaced.name[1:].removesuffix(".replaced")
        if not folder.exists():
            with suppress(FileNotFoundError):  # another process of the same run was faster
                replaced.rename(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
