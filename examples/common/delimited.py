"""From text to a table, for values separated by commas, semicolons, bars or tabs.

A TSV file is CSV with tabs, as programs write it, unless it is written as GLUE's are: there quotation marks are a part
of the text. Which it is follows from the whole file.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from typing import Any

from transformers.utils import logging

from .tables import Cell, Table

__all__ = ["read_csv", "read_tsv"]

logger = logging.get_logger("transformers.examples.delimited")

Rows = list[list[str]]

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Ways of writing CSV, the usual first: a blank after each separator, and a backslash before a quotation mark.
_DIALECTS: tuple[dict[str, Any], ...] = ({}, {"skipinitialspace": True}, {"escapechar": "\\", "doublequote": False})


def read_csv(text: str, source: str) -> Table:
    """Read CSV; the separator is the one that makes columns of the header and of every row.

    Raises:
        ValueError: If rows and header have different numbers of fields, or the separator is not clear.
    """
    separator = _find_separator(text, source)
    if separator == "\t":
        return read_tsv(text, source)
    return _to_table(_read_rows(text, separator, source), source, separator)


def read_tsv(text: str, source: str) -> Table:
    """Read TSV: as CSV with tabs, or with quotation marks as a part of the text.

    Raises:
        ValueError: If rows and header have different numbers of fields.
    """
    plain = [line.split("\t") for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
    if '"' not in text:
        return _to_table(plain, source, "\t")
    quoted = _read_quoted(text, "\t")
    if quoted is not None and (_is_rectangular(quoted) or not _is_rectangular(plain)):
        return _to_table(quoted, source, "\t")
    logger.info("'%s' has quotation marks that enclose no field; they are read as a part of the text.", source)
    return _to_table(plain, source, "\t")


# Separators and quotation marks -----------------------------------------------------------------------------------


def _find_separator(text: str, source: str) -> str:
    candidates = [separator for separator in _SEPARATORS if _makes_columns(text, separator)]
    if len(candidates) > 1:
        candidates = [each for each in candidates if _parse(text, each) is not None] or candidates[:1]
    if len(candidates) > 1:
        named = " or ".join(_SEPARATORS[each] for each in candidates)
        raise ValueError(
            f"The columns of '{source}' may be separated by {named}: either splits every row alike. Quote the fields "
            "that hold the other one, or save it as TSV."
        )
    return candidates[0] if candidates else ","


def _makes_columns(text: str, separator: str) -> bool:
    try:
        return len(next(filter(None, _reader(text, separator)), [])) > 1
    except csv.Error:
        return False


def _reader(text: str, separator: str, **dialect: Any) -> Any:
    csv.field_size_limit(sys.maxsize)  # a text may be a book
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, **dialect)


def _parse(text: str, separator: str) -> Rows | None:
    """Read rows in the first dialect in which all have the header's fields; None where there is none."""
    for dialect in _DIALECTS:
        try:
            rows = _without_blank_lines(list(_reader(text, separator, **dialect)))
        except csv.Error:
            continue
        if _is_rectangular(rows):
            return rows
    return None


def _read_rows(text: str, separator: str, source: str) -> Rows:
    """Read rows, or say which line is the first that does not fit."""
    rows = _parse(text, separator)
    if rows is not None:
        return rows
    reader = _reader(text, separator)
    header: Sequence[str] = ()
    try:
        for row in reader:
            header = header or row
            if (row and len(row) < len(header)) or any(row[len(header) :]):
                raise ValueError(
                    f"'{source}' cannot be read: line {reader.line_num} has {len(row)} fields where the header has "
                    f"{len(header)}. A text that holds the separator must stand in quotation marks."
                )
    except csv.Error as error:
        raise ValueError(
            f"'{source}' cannot be read: line {reader.line_num}: {error}. A quotation mark inside of quotation marks "
            "is written twice."
        ) from error
    raise ValueError(f"'{source}' cannot be read as values separated by {_SEPARATORS[separator]}.")


def _read_quoted(text: str, separator: str) -> Rows | None:
    """Read rows whose quotation marks all enclose a field, as programs write them; None where they do not.

    A mark inside of a field that stands in none, or marks around some fields of a column that need none while others
    of it go without, are a part of the text.
    """
    field = re.compile(rf'(?:"((?:[^"]|"")*)"|([^"{separator}\r\n]*))({separator}|\r\n|\n|\r|\Z)')
    rows: list[list[tuple[str, bool]]] = [[]]
    position = 0
    while position < len(text):
        match = field.match(text, position)
        if match is None:
            return None
        enclosed, bare, ending = match.groups()
        rows[-1].append((bare, False) if enclosed is None else (enclosed.replace('""', '"'), True))
        position = match.end()
        if ending != separator and position < len(text):
            rows.append([])
        elif ending == separator and position == len(text):
            rows[-1].append(("", False))
    for column in range(len(rows[0])):
        cells = [row[column] for row in rows[1:] if column < len(row)]
        needless = any(marked and not re.search(rf'["\r\n{separator}]', value) for value, marked in cells)
        if needless and any(not marked and value for value, marked in cells):
            return None
    return _without_blank_lines([[value for value, _ in row] if row != [("", False)] else [] for row in rows])


def _without_blank_lines(rows: Rows) -> Rows:
    """Leave out blank lines; in a table of one column only those at the end, since others are empty cells."""
    header = next((row for row in rows if row), [])
    if len(header) != 1:
        return [row for row in rows if row]
    while rows and not rows[-1]:
        rows = rows[:-1]
    begin = rows.index(header) if rows else 0
    return [row or [""] for row in rows[begin:]]


def _is_rectangular(rows: Rows) -> bool:
    return bool(rows) and all(len(row) >= len(rows[0]) and not any(row[len(rows[0]) :]) for row in rows)


# Tables -----------------------------------------------------------------------------------------------------------


def _to_table(rows: Rows, source: str, separator: str) -> Table:
    if not rows or not any(name.strip() for name in rows[0]):
        raise ValueError(f"'{source}' holds no header; the first line must name the columns.")
    names = [name.strip() or f"(column {number} without a name)" for number, name in enumerate(rows[0], start=1)]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"'{source}' has two columns named '{twice}'; rename one.")
    body = rows[1:] if len(names) == 1 else [row for row in rows[1:] if row != [""]]
    for number, row in enumerate(body, start=1):
        if len(row) < len(names) or any(row[len(names) :]):
            raise ValueError(
                f"'{source}' cannot be read: row {number} has {len(row)} fields where the header has {len(names)}."
            )
    columns: dict[str, list[Cell]] = {name: [row[column] or None for row in body] for column, name in enumerate(names)}
    return Table(source, columns, len(body), separator)
