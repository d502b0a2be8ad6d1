"""The one way onto the disk: written beside its place, flushed, and only then named.

Whatever fails in between (a full disk, a quota, a limit on the size of files, a broken disk), what was there before
stays, what was begun is taken away again, and one error says what could not be written, and why.

A kill leaves ``.<name>.<32 hexadecimal digits>.tmp`` behind, which `remove_unfinished` takes away.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

from . import logging

__all__ = [
    "NotWrittenError",
    "flush",
    "is_machine_fault",
    "is_unfinished",
    "not_written",
    "reason_of",
    "remove_unfinished",
    "replacing",
    "scratch_beside",
    "unless_failing",
    "write_bytes",
    "write_text",
    "writing_into",
]

logger = logging.get_logger(__name__)

_UNFINISHED = re.compile(r"\..+\.([0-9a-f]{32}\.tmp|\d+\.mode)")  # the latter asks for the umask
# Rust's libraries and PyTorch name the system's error inside exceptions of their own.
_RUST = re.compile(r"os error (\d+)")
_TORCH = re.compile(r"PytorchStreamWriter failed|unexpected pos|iostream error|enforce fail at .*inline_container")
_warned: set[str] = set()

_P = ParamSpec("_P")


class NotWrittenError(OSError):
    """Something could not be written; its text is one line with what, where, why, and what is safe.

    Attributes:
        reason: Why, in the system's words.
    """

    def __init__(self, code: int | None, message: str, reason: str) -> None:
        super().__init__(code, message)
        self.reason = reason

    def __str__(self) -> str:
        """Give the line without the number of the error, which the words say."""
        return str(self.args[1])


def not_written(what: str, error: BaseException, safe: str) -> NotWrittenError:
    """Make the error for something that could not be written.

    Args:
        what: What, and where.
        error: What went wrong.
        safe: A sentence on what is untouched.
    """
    code = _code_of(error)
    return NotWrittenError(code, f"{what} could not be written ({reason_of(error)}). {safe}", reason_of(error))


def reason_of(error: BaseException) -> str:
    """Say why in a few words: the system's where it is the system's error."""
    if isinstance(error, NotWrittenError):
        return error.reason
    code = _code_of(error)
    if code is None:
        return " ".join(str(error).split()) or type(error).__name__
    named = getattr(error, "filename", None)
    where = f": '{named}'" if isinstance(named, str) and not _is_unfinished(named) else ""
    return f"{os.strerror(code)}{where}"


def _is_unfinished(path: str) -> bool:
    return any(_UNFINISHED.fullmatch(part) for part in Path(path).parts)


def _code_of(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = _RUST.search(str(error))
    if found:
        return int(found[1])
    return errno.EIO if _TORCH.search(str(error)) else None


def is_machine_fault(error: BaseException) -> bool:
    """Say whether an exception is the system's, whichever class a library has put it into."""
    return isinstance(error, OSError) or _code_of(error) is not None


# One file, or several ------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that it is there as a whole or not at all.

    Args:
        path: The file's final path, in a folder that exists.

    Yields:
        A name beside it to write to. When the block ends, the file is flushed to the disk and gets its final name.

    Raises:
        NotWrittenError: If it could not be written. What was there before stays.
    """
    path = Path(path)
    beside = _beside(path)
    try:
        yield beside
        flush(beside)
        beside.replace(path)
        flush(path.parent)
    except Exception as error:
        _discard(beside)
        if not is_machine_fault(error):
            raise
        raise not_written(f"'{path}'", error, "What was there before is untouched.") from error
    except BaseException:
        _discard(beside)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, as a whole or not at all.

    Raises:
        NotWrittenError: If it could not be written. What was there before stays.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file as a whole or not at all.

    Raises:
        NotWrittenError: If it could not be written. What was there before stays.
    """
    with replacing(path) as beside:
        beside.write_bytes(content)


@contextmanager
def writing_into(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Let something that takes a folder write several files, each of which is there as a whole or not at all.

    Args:
        folder: Where the files belong; it exists.

    Yields:
        An empty folder on the same disk. When the block ends, its files are flushed and moved, in the order of names.

    Raises:
        NotWrittenError: If one could not be written. Where that is before the first was moved, nothing has changed.
    """
    folder = Path(folder)
    with scratch_beside(folder / folder.name) as scratch:
        yield scratch
        written = sorted(path for path in scratch.iterdir() if path.is_file())
        for path in written:
            flush(path)
        for path in written:
            path.replace(folder / path.name)
        flush(folder)


@contextmanager
def scratch_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder beside a file or folder, on the same disk, and take it away in the end.

    Args:
        path: What is prepared; the folders above it that are lacking are made, and taken away again on an error.

    Raises:
        NotWrittenError: If the system refused something.
    """
    path = Path(path)
    made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
    scratch = _beside(path)
    try:
        scratch.mkdir(parents=True)
        yield scratch
    except BaseException as error:
        _discard(scratch)
        for each in made:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()
        if isinstance(error, Exception) and is_machine_fault(error):
            raise not_written(f"'{path}'", error, "What was there before is untouched.") from error
        raise
    _discard(scratch)


def flush(path: str | os.PathLike[str]) -> None:
    """See a file, or a folder's names, onto the disk.

    Raises:
        OSError: If the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no fsync of folders; what they know of them is on the server already.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def is_unfinished(name: str) -> bool:
    """Say whether a file is one that a killed process had begun to write, by its name."""
    return _UNFINISHED.fullmatch(name) is not None


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Take away what a killed process had begun to write in a folder. No other process may be writing there."""
    for path in Path(folder).iterdir():
        if is_unfinished(path.name):
            logger.warning("Removing %s, which an interrupted run left behind.", path)
            _discard(path)


def _beside(path: Path) -> Path:
    """Make up a hidden name in the same folder, no longer than names may be."""
    return path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")


def _discard(path: Path) -> None:
    """Take something unfinished away; where even that fails, a line says that it is left."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("'%s' is unfinished and could not be removed (%s).", path, reason_of(error))


# What a run does not depend on ----------------------------------------------------------------------------------


def unless_failing(what: str) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Let the machine's faults in a by-product, such as a report, warn once instead of ending the run.

    Args:
        what: The by-product, as the warning names it.
    """

    def wrap(function: Callable[_P, None]) -> Callable[_P, None]:
        @functools.wraps(function)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except Exception as error:
                if not is_machine_fault(error):
                    raise
                if what not in _warned:
                    _warned.add(what)
                    logger.warning("%s could not be written (%s); the run goes on without.", what, reason_of(error))

        return guarded

    return wrap
