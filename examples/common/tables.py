"""A table as it is read from a file, texts by column and row before anything is made of them, and as it is written."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils.writing import replacing

__all__ = ["Cell", "Table", "is_number", "number_of", "whole_number_of", "write_table"]

Cell = str | list[Any] | Mapping[str, Any] | None
"""A text as it stands in the file; numbers and truth values of JSON too. None where there is nothing: a cell without a
character, ``null``, a key that a row lacks. JSON's lists and objects stay what they are."""

_WHOLE = re.compile(r"-?\d{1,4300}")  # of more digits Python refuses to read any
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Table:
    """Columns of one length, in the order of the file.

    Attributes:
        source: The file's name, for messages.
        columns: Cells by the column's name.
        rows: How many there are.
        separator: What stood between the cells; empty for JSON.
    """

    source: str
    columns: dict[str, list[Cell]]
    rows: int
    separator: str = ""

    def column(self, name: str) -> list[Cell]:
        """Give the cells of a column.

        Raises:
            ValueError: If there is no such column; the message names those there are.
        """
        if name not in self.columns:
            raise ValueError(f"'{self.source}' has no column '{name}'; its columns are {self.names_in_words()}.")
        return self.columns[name]

    def full_column(self, name: str) -> list[Cell]:
        """Give the cells of a column that must hold something in every row.

        Raises:
            ValueError: If there is no such column, or a cell is empty or has white space only.
        """
        cells = self.column(name)
        for row, cell in enumerate(cells, start=1):
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                raise ValueError(f"'{self.source}' has nothing in the column '{name}' of row {row} (counted from 1).")
        return cells

    def texts(self, name: str) -> list[str]:
        """Give the cells of a column that must hold a text in every row.

        Raises:
            ValueError: If there is no such column, or a cell is empty, a list or an object.
        """
        cells = self.full_column(name)
        for row, cell in enumerate(cells, start=1):
            if not isinstance(cell, str):
                raise ValueError(
                    f"The column '{name}' of '{self.source}' holds lists or objects (row {row}); a text was expected."
                )
        return [cell for cell in cells if isinstance(cell, str)]

    def names_in_words(self) -> str:
        """Give the columns' names for a message."""
        names = [f"'{name}'" if name != name.strip() or "," in name else name for name in self.columns]
        shown = ", ".join(names[:20]) + (f" … ({len(names)} in all)" if len(names) > 20 else "")
        return shown or "(none)"


def number_of(text: str) -> float | None:
    """Read a number as people and programs write it, ``nan`` and ``inf`` too; None for any other text."""
    word = text.strip()
    return float(word) if _NUMBER.fullmatch(word) else None


def whole_number_of(text: str) -> int | None:
    """Read a whole number; None for any other text, and for more digits than Python reads (4,300)."""
    return int(text) if _WHOLE.fullmatch(text) else None


def is_number(cells: Sequence[Cell]) -> bool:
    """Say whether a column holds finite numbers only (and empty cells), over all of its rows."""
    found = [cell for cell in cells if cell is not None]
    numbers = (number_of(cell) if isinstance(cell, str) else None for cell in found)
    return bool(found) and all(number is not None and math.isfinite(number) for number in numbers)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with tabs between its cells, which `read_table` reads again.

    Args:
        path: The file; its folder is made.
        header: The columns' names.
        rows: Their cells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
