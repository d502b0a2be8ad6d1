"""From a file to examples: a context, several endings, and which of them is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.files import read_table
from common.tables import Cell, Table, number_of, whole_number_of

__all__ = ["Examples", "read_examples"]

_CONTEXTS = ("sent1", "context", "question", "premise")
_LISTS = ("endings", "choices")
_START, _LABEL = "sent2", "label"
_ENDING = re.compile(r"(ending|choice)(\d+)")


@dataclass(frozen=True)
class Examples:
    """The examples of a file.

    Attributes:
        source: Its name, for messages.
        contexts: What stands before.
        endings: Of each example as many as of any other, whole: with the words that all of them begin with.
        labels: The right ending of each, counted from 0; None where the file has none.
    """

    source: str
    contexts: list[str]
    endings: list[list[str]]
    labels: list[int] | None


def read_examples(path: str, encoding: str | None = None, labelled: bool = True) -> Examples:
    """Read a file of SWAG's form, with any number of endings, or with a list of them.

    Args:
        path: It ends in one of `common.files.FILE_FORMATS`.
        encoding: Its encoding; None finds out.
        labelled: Whether labels are needed; else they are read where all examples have one.

    Raises:
        OSError: If it cannot be read.
        ValueError: If a column is lacking, a row has no context, no ending, or fewer endings than the first, or a
            label names none of them; the message says where.
    """
    table = read_table(path, encoding)
    if not table.rows:
        raise ValueError(f"'{path}' holds no examples.")
    context = next((name for name in _CONTEXTS if name in table.columns), None)
    if context is None:
        raise ValueError(
            f"'{path}' has no column '{_CONTEXTS[0]}' (or {', '.join(_CONTEXTS[1:])}), the context; its columns are "
            f"{table.names_in_words()}."
        )
    endings = _endings(table)
    starts = table.columns.get(_START, [None] * table.rows)
    whole = [
        [_joined(start, ending, row, path) for ending in row_of_endings]
        for row, (start, row_of_endings) in enumerate(zip(starts, endings, strict=True), start=1)
    ]
    return Examples(path, table.texts(context), whole, _labels(table, len(endings[0]), labelled))


def _joined(start: Cell, ending: str, row: int, source: str) -> str:
    """Put the words that all endings begin with in front of one."""
    if start is not None and not isinstance(start, str):
        raise ValueError(f"'{_START}' in row {row} of '{source}' is a {type(start).__name__}; a text was expected.")
    return f"{start} {ending}" if start and start.strip() else ending


def _endings(table: Table) -> list[list[str]]:
    name = next((name for name in _LISTS if name in table.columns), None)
    if name is None:
        columns = [table.texts(column) for column in _ending_columns(table)]
        return [list(row) for row in zip(*columns, strict=True)]
    rows = [_list(cell, name, row, table.source) for row, cell in enumerate(table.columns[name], start=1)]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"Row {number} of '{table.source}' has {len(row)} {name}, and row 1 has {len(rows[0])}; all need the "
                "same number."
            )
    return rows


def _ending_columns(table: Table) -> Sequence[str]:
    """Name the columns of the endings, in the order of their numbers, of which none may be lacking."""
    found = {whole_number_of(match[2]): name for name in table.columns if (match := _ENDING.fullmatch(name))}
    kind = "choice" if any(name.startswith("choice") for name in found.values()) else "ending"
    lacking = next(number for number in range(len(found) + 1) if number not in found)
    if lacking < len(found) or len(found) < 2:
        raise ValueError(
            f"'{table.source}' has no column '{kind}{lacking}'; its columns are {table.names_in_words()}. Two endings "
            "or more are needed: ending0, ending1 and so on, or a list named endings."
        )
    return [found[number] for number in range(len(found))]


def _list(cell: Cell, name: str, row: int, source: str) -> list[str]:
    if not isinstance(cell, list) or len(cell) < 2:
        raise ValueError(f"'{name}' in row {row} of '{source}' is no list of two texts or more.")
    for number, item in enumerate(cell, start=1):
        if not isinstance(item, str) or not item.strip():
            raise ValueError(f"'{name}' in row {row} of '{source}' has an empty text (number {number}), or no text.")
    return list(cell)


def _labels(table: Table, number: int, labelled: bool) -> list[int] | None:
    """Read the numbers of the right endings; None where they are not needed and not all there."""
    cells: Sequence[Any] = table.columns.get(_LABEL, ())
    if not labelled and (not cells or any(cell is None for cell in cells)):
        return None
    return [_label(cell, number, row, table.source) for row, cell in enumerate(table.column(_LABEL), start=1)]


def _label(cell: Cell, number: int, row: int, source: str) -> int:
    value = number_of(cell) if isinstance(cell, str) else None
    if value is None or value not in range(number):
        shown = "nothing" if cell is None else repr(cell)
        raise ValueError(
            f"The label of row {row} of '{source}' is {shown}, which names none of the {number} endings; a number "
            f"from 0 to {number - 1} was expected."
        )
    return int(value)
