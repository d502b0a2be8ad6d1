"""One run per output folder: a lock that names its owner, and that the system lets go when the owner dies.

The lock is the system's (``fcntl.lockf``): it belongs to one process, is not inherited by its children, and ends with
it, however that ends. So a file that a killed run left behind holds nobody up, whatever its text says, nor does it
after a reboot or where its process number belongs to another program now. Where a file system has no locks, the text
decides: its owner must still run on this machine.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..utils import logging
from ..utils.writing import not_written

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK_NAME", "FolderInUseError", "locked_folder"]

LOCK_NAME = ".run.lock"
_BUSY = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()

logger = logging.get_logger(__name__)


class FolderInUseError(OSError):
    """Another process runs in this output folder."""


@contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Keep other runs out of a folder while the block runs; within one process it may be entered again.

    Args:
        folder: Made where it does not exist.

    Raises:
        FolderInUseError: If another process is in it, naming it.
        NotWrittenError: If the folder cannot be written.
    """
    path = Path(folder).resolve() / LOCK_NAME
    if path in _held:
        yield
        return
    new = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _take(path)
    except FolderInUseError:
        raise
    except OSError as error:
        raise not_written(f"The folder '{path.parent}'", error, "Nothing in it was changed.") from error
    _held.add(path)
    process = os.getpid()
    try:
        yield
    finally:
        _held.discard(path)
        if os.getpid() == process:  # a forked child holds nothing
            _release(path, new)
            os.close(descriptor)


def _release(path: Path, new: bool) -> None:
    """Take the lock's file away, and a folder that was made for it and in which nothing was written."""
    try:
        path.unlink(missing_ok=True)  # the folder may have been removed meanwhile
        if new and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        logger.warning("'%s' could not be removed (%s); it holds no run any more.", path, error.strerror)


def _take(path: Path) -> int:
    """Lock the file and write this process into it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(descriptor, path)
            if _is_same_file(descriptor, path):  # else its owner has just removed it: nobody else would see this one
                _write_owner(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    owner = _read_owner(descriptor)
    if fcntl is not None:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno in _BUSY:
                raise _refusal(path, owner) from error
            logger.debug("No locks on the file system of %s: %s", path, error)
    if owner and _may_run(owner):
        raise _refusal(path, owner)


def _refusal(path: Path, owner: Mapping[str, Any]) -> FolderInUseError:
    who = "another process"
    if owner:
        who = f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')}"
    return FolderInUseError(
        f"A run is under way in '{path.parent}' ({who}). Wait for it or stop it, or give another output_dir."
    )


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read_owner(descriptor: int) -> dict[str, Any]:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # empty, or its writer was killed
        return {}
    return owner if isinstance(owner, dict) else {}


def _write_owner(descriptor: int) -> None:
    """Write who holds the lock; on a full disk the lock holds without, and a line says so."""
    owner = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "boot": _boot(),
        "start": _start_of(os.getpid()),
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
    except OSError as error:
        logger.warning(
            "%s could not be written (%s); other runs are kept out all the same.", LOCK_NAME, error.strerror
        )


def _may_run(owner: Mapping[str, Any]) -> bool:
    """Say whether the process that a lock names may still run; of another machine's nobody can know."""
    if owner.get("host") != socket.gethostname():
        return True
    pid = owner.get("pid")
    if owner.get("boot") != _boot() or not isinstance(pid, int) or pid == os.getpid():
        return False
    start = _start_of(pid)
    return start is not None and start == owner.get("start")


def _boot() -> str | None:
    """Give what tells one run of the system from the next."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text(encoding="ascii").strip() if path.is_file() else None


def _start_of(pid: int) -> str | None:
    """Give when a process started, in the system's ticks: another process of the same number started later."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19]  # the 22nd field; the name in parentheses is the second
