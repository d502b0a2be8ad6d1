"""From a file, as people have it, to a table of texts: format by its name, encoding and layout by its content."""

from __future__ import annotations

from pathlib import Path

from .delimited import read_csv, read_tsv
from .encodings import decode
from .json_tables import read_json, read_json_lines
from .tables import Table

__all__ = ["FILE_FORMATS", "read_table", "read_text"]

FILE_FORMATS = {".csv": read_csv, ".tsv": read_tsv, ".json": read_json, ".jsonl": read_json_lines}


def read_table(path: str, encoding: str | None = None) -> Table:
    """Read a file of texts.

    Args:
        path: It ends in one of `FILE_FORMATS`.
        encoding: Its encoding; None finds out (`encodings.decode`).

    Returns:
        The table, every value as it is written in the file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is empty, or of no layout that is read; the message says where.
    """
    read = FILE_FORMATS[Path(path).suffix.lower()]
    return read(read_text(path, encoding), path)


def read_text(path: str, encoding: str | None = None) -> str:
    """Read a file that must hold a text.

    Args:
        path: The file.
        encoding: Its encoding; None finds out (`encodings.decode`).

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is empty, or no text.
    """
    content = Path(path).read_bytes()
    if not content.strip():
        raise ValueError(f"'{path}' is empty; rows with text were expected.")
    return decode(content, path, encoding)
