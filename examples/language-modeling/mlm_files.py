"""From a file, which may be larger than memory, to its texts in pieces that are not.

A text is a line of plain text, or a cell of a column of texts. JSON lines and plain text are read as they are needed;
a table (CSV, TSV, JSON of another layout) is read whole, as every example reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from common.encodings import open_text
from common.files import FILE_FORMATS, read_table
from common.long_texts import LONG
from transformers.utils import logging
from transformers.utils.json_files import parse_json

__all__ = ["Piece", "read_pieces"]

logger = logging.get_logger("transformers.examples.mlm_files")

_JSON = (".json", ".jsonl")
_LAST_BREAK = re.compile(r".+(?=\s\S)", re.DOTALL)
_NEAR = 1_000  # characters at the end of a piece in which white space is looked for


@dataclass(frozen=True)
class Piece:
    """A text, or a part of a long one.

    Attributes:
        text: It; the parts of a long text, put together, are the text.
        ends: Whether the text ends here.
    """

    text: str
    ends: bool


def read_pieces(path: str, column: str, encoding: str | None = None, size: int = LONG) -> Iterator[Piece]:
    """Read the texts of a file; those without any letter or sign are left out.

    Args:
        path: The file; what it is follows from the ending of its name.
        column: The column of the texts, where it is no plain text.
        encoding: Its encoding; None finds out.
        size: Characters that a piece has at most; nearly twice as many where there is no white space.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has no such column, or cannot be read; the message says where.
    """
    ending = Path(path).suffix.lower()
    if ending not in FILE_FORMATS:
        texts = _lines(path, encoding, size)
    elif ending in _JSON and _is_json_lines(path, column, encoding):
        texts = _json_lines(path, column, encoding, size)
    else:
        texts = _cells(path, column, encoding, size)
    for text in texts:
        yield from _cut_at_words(text, path, size)


def _cut_at_words(chunks: Iterable[str], source: str, size: int) -> Iterator[Piece]:
    """Cut a text, which comes in chunks, into pieces whose tokens are those of the whole: a word is in one of them."""
    rest, begun = "", False
    for chunk in chunks:
        if "\0" in chunk:
            raise ValueError(f"'{source}' holds zero bytes, so it is no text; save it as UTF-8.")
        text = rest + chunk
        if len(text) <= size:
            rest = text
            continue
        match = _LAST_BREAK.match(text, len(text) - min(len(text), _NEAR))
        end = match.end() if match else len(text)
        yield Piece(text[:end], ends=False)
        rest, begun = text[end:], True
    if begun or rest.strip():
        yield Piece(rest, ends=True)


def _in_chunks(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


# Plain text -------------------------------------------------------------------------------------------------------


def _lines(path: str, encoding: str | None, size: int) -> Iterator[Iterator[str]]:
    """Give the lines of a file, each in chunks."""
    with open_text(path, encoding) as file:
        while chunk := file.readline(size):
            yield _line(chunk, file, size)


def _line(chunk: str, file: TextIO, size: int) -> Iterator[str]:
    while chunk and not chunk.endswith("\n"):
        yield chunk
        chunk = file.readline(size)
    yield chunk.removesuffix("\n")


# JSON lines and tables --------------------------------------------------------------------------------------------


def _is_json_lines(path: str, column: str, encoding: str | None) -> bool:
    """Say whether the first line of a file is a row by itself."""
    with open_text(path, encoding) as file:
        line = next((line for line in file if line.strip()), "")
    try:
        row = parse_json(line, "it", as_written=True)
    except ValueError:
        return False
    return isinstance(row, dict) and isinstance(row.get(column), str)


def _json_lines(path: str, column: str, encoding: str | None, size: int) -> Iterator[Iterator[str]]:
    empty = 0
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line, f"line {number}", as_written=True)
            except ValueError as error:
                raise ValueError(f"'{path}' cannot be read: {str(error).rstrip('.')}.") from error
            if not isinstance(row, dict) or column not in row:
                raise ValueError(f"Line {number} of '{path}' has no '{column}'; every line needs a text there.")
            text = _text_of(row[column], f"'{column}' in line {number} of '{path}'")
            empty += not text.strip()
            yield _in_chunks(text, size)
    _tell_of_empty_rows(empty, path)


def _cells(path: str, column: str, encoding: str | None, size: int) -> Iterator[Iterator[str]]:
    table = read_table(path, encoding)
    if column not in table.columns:
        raise ValueError(
            f"'{path}' has no column '{column}'; its columns are {table.names_in_words()}. Name the one that holds "
            "the texts with --text_column."
        )
    empty = 0
    for number, cell in enumerate(table.columns[column], start=1):
        text = _text_of(cell, f"'{column}' in row {number} of '{path}'")
        empty += not text.strip()
        yield _in_chunks(text, size)
    _tell_of_empty_rows(empty, path)


def _text_of(cell: Any, place: str) -> str:
    if cell is not None and not isinstance(cell, str):
        raise ValueError(f"{place} is a {type(cell).__name__}; a text was expected.")
    return cell or ""


def _tell_of_empty_rows(number: int, source: str) -> None:
    if number:
        logger.warning("%d rows of '%s' hold no text and are left out.", number, source)
