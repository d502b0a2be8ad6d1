"""Hashes of large files, remembered from one process to the next by the files' identity.

A base of half a gigabyte takes 0.4 s of the processor to hash. Its hash is kept in ``base_hashes`` of ``HF_HOME``, one
small file for each hash, under what tells the base's files apart: path, device, inode, size, and the times of the last
change of content and of anything else, which no program can set. A file that changed less than `_SETTLED` seconds
before it was read could change again without another time: its hash is not remembered. What is remembered is checked
when it is read, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from ..version import __version__
from . import logging
from .writing import write_text

__all__ = ["FOLDER", "ReadFiles"]

logger = logging.get_logger(__name__)

FOLDER = "base_hashes"
_SMALLEST = 16 * 2**20  # bytes; what is smaller is hashed as fast as it is looked up
_SETTLED = 2.0  # seconds: the coarsest times that a file system has
_ENTRY = re.compile(r"[0-9a-f]{64} [0-9a-f]{64}\n")

_Identity = tuple[str, int, int, int, int, int]


class ReadFiles:
    """Files that are about to be read, as they are before that, and hashes of what was read of them."""

    def __init__(self) -> None:
        self._before: list[_Identity] | None = []
        self._settled = True

    def note(self, path: str | os.PathLike[str]) -> None:
        """Take down what a file is now, before it is read."""
        identity = _identity(path)
        if identity is None or self._before is None:
            self._before = None
            return
        self._before.append(identity)
        self._settled &= time.time() - max(identity[4:]) / 1e9 > _SETTLED

    def hash(self, what: str, compute: Callable[[], str]) -> str:
        """Give a hash of what was read: the one that is remembered, else a new one, which is remembered.

        Args:
            what: Which of the hashes of these files; whatever it depends on beside their content.
            compute: Gives the hash anew, a sha256 in hexadecimal.
        """
        if not self._before or not self._settled or sum(each[3] for each in self._before) < _SMALLEST:
            return compute()
        key = hashlib.sha256(repr((__version__, what, self._before)).encode()).hexdigest()
        known = _look_up(key) if self._are_the_same() else None
        if known is not None:
            return known
        found = compute()
        if self._are_the_same():
            _remember(key, found)
        return found

    def _are_the_same(self) -> bool:
        """Say whether no file has changed since it was noted."""
        return self._before == [_identity(each[0]) for each in self._before or ()]


def _identity(path: str | os.PathLike[str]) -> _Identity | None:
    try:
        place = os.path.realpath(path)
        about = os.stat(place)
    except OSError:  # whoever reads it says what is wrong
        return None
    return place, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _entry(key: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME, FOLDER, key)


def _check(key: str, found: str) -> str:
    return hashlib.sha256(f"{key} {found}".encode()).hexdigest()


def _look_up(key: str) -> str | None:
    """Give what is remembered; None where nothing is, or it is damaged."""
    try:
        with _entry(key).open("rb") as file:
            text = file.read(200).decode("ascii", "replace")
    except OSError:
        return None
    if not _ENTRY.fullmatch(text):
        return None
    found, check = text.split()
    return found if check == _check(key, found) else None


def _remember(key: str, found: str) -> None:
    """Write a hash down; where that is not possible, it is computed anew next time."""
    entry = _entry(key)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_text(entry, f"{found} {_check(key, found)}\n")
    except OSError as error:
        logger.debug("The hash of a base is not remembered: %s", error)
