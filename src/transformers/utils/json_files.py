"""The one reader of JSON files: bounded in size and nesting, strict about what JSON leaves open, checked by shape.

JSON says nothing of names that occur twice, and Python's reader lets NaN, lone halves of surrogate pairs and any
nesting pass. Here a file means one thing or is refused, with its name and the place.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from .shapes import Anything, Shape, shown

__all__ = ["DEEPEST", "LARGEST", "check_file_size", "load_json", "parse_json", "read_bytes", "read_json"]

LARGEST = 16 * 2**20
"""The largest file in bytes that is read, where the caller says nothing else."""

DEEPEST = 64
"""The deepest nesting of lists and objects."""

_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def load_json(
    path: str | os.PathLike[str],
    shape: Shape | None = None,
    *,
    largest: int = LARGEST,
    allow_nan: bool = False,
) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: The file.
        shape: What the object must be.
        largest: The largest size in bytes.
        allow_nan: Let numbers be NaN and infinite, as in the logs of a training.

    Returns:
        The object.

    Raises:
        ValueError: If the file is not JSON, too large or nested too deep, names a field twice, or holds something
            else than what the shape says; the message names file, place and value.
        OSError: If it cannot be read, or is no file.
    """
    content = read_json(path, largest=largest, allow_nan=allow_nan)
    name = f"'{os.fspath(path)}'"
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds a {type(content).__name__}; a JSON object ({{…}}) was expected.")
    (shape or Anything()).check(content, name)
    return content


def read_json(path: str | os.PathLike[str], *, largest: int = LARGEST, allow_nan: bool = False) -> Any:
    """Read a JSON file, whatever value it holds.

    Args:
        path: The file.
        largest: The largest size in bytes.
        allow_nan: Let numbers be NaN and infinite.

    Returns:
        The value.

    Raises:
        ValueError: If the file is not JSON, too large or nested too deep, or names a field twice.
        OSError: If it cannot be read, or is no file.
    """
    name = f"'{os.fspath(path)}'"
    try:
        text = read_bytes(path, largest).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not a JSON file: {error}") from error
    return parse_json(text, name, allow_nan=allow_nan, kind="a JSON file")


def parse_json(text: str, name: str, *, allow_nan: bool = False, as_written: bool = False, kind: str = "JSON") -> Any:
    """Read JSON under the rules of `load_json`.

    Args:
        text: The JSON.
        name: What it is, for messages.
        allow_nan: Let numbers be NaN and infinite.
        as_written: Give numbers as the text that stands there, NaN too.
        kind: What it should be, for messages.

    Returns:
        The value.

    Raises:
        ValueError: If it is not JSON, nested too deep, or names a field twice.
    """
    too_deep = f"{name} is nested more than {DEEPEST} levels deep; no file of this kind is."
    numbers: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite}
    if as_written:
        numbers = dict.fromkeys(("parse_constant", "parse_float", "parse_int"), str)
    elif allow_nan:
        numbers = {}
    try:
        content = json.loads(text, object_pairs_hook=_each_name_once, **numbers)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    except ValueError as error:
        raise ValueError(f"{name} is not {kind}: {error}") from error
    if _is_deeper(content, DEEPEST):
        raise ValueError(too_deep)
    if _HALF_OF_A_PAIR.search(text):
        _refuse_half_pairs(content, name)
    return content


def read_bytes(path: str | os.PathLike[str], largest: int) -> bytes:
    """Read a whole file, its size checked before.

    Args:
        path: The file.
        largest: The largest size in bytes.

    Raises:
        ValueError: If it is larger.
        OSError: If it cannot be read, or is no file but a folder, a pipe or a device.
    """
    check_file_size(path, largest)
    with Path(path).open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"'{os.fspath(path)}' grew beyond {largest:,} bytes while it was read.")
    return data


def check_file_size(path: str | os.PathLike[str], largest: int) -> int:
    """Give a file's size in bytes.

    Raises:
        ValueError: If it is larger than ``largest``.
        OSError: If it does not exist, or is no file but a folder, a pipe or a device.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"'{os.fspath(path)}' is a folder or a device; a file was expected.")
    if found.st_size > largest:
        raise ValueError(
            f"'{os.fspath(path)}' has {found.st_size:,} bytes; at most {largest:,} were expected of such a file."
        )
    return found.st_size


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {shown(name)} occurs twice in one object")
        found[name] = value
    return found


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    if math.isinf(number):
        raise ValueError(f"the number {shown(word)} is too large")
    return number


def _is_deeper(value: Any, levels: int) -> bool:
    """Say whether a value is nested deeper than a number of levels."""
    found = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inside = [each.values() if isinstance(each, dict) else each for each in found]
        found = [item for items in inside for item in items if isinstance(item, dict | list)]
        if not found:
            return False
    return bool(found)


def _refuse_half_pairs(value: Any, name: str) -> None:
    """Refuse text that no UTF-8 file can hold."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} holds {shown(value)}, half of a surrogate pair: no text of Unicode.") from error
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_half_pairs(key, name)
            _refuse_half_pairs(item, name)
    elif isinstance(value, list):
        for item in value:
            _refuse_half_pairs(item, name)
