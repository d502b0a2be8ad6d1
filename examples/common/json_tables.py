"""From text to a table, for JSON: lines of objects, and the layouts that programs write whole tables in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.utils.json_files import parse_json

from .tables import Cell, Table

__all__ = ["read_json", "read_json_lines"]

_LAYOUTS = "a list of objects, one object a line, {'data': [objects]}, or what pandas writes (to_json)"


def read_json(text: str, source: str) -> Table:
    """Read a JSON file of any layout that says which value belongs to which column.

    Raises:
        ValueError: If it is no JSON, or of no such layout.
    """
    try:
        value = _loads(text, f"'{source}'")
    except ValueError as error:
        if len(text.strip().splitlines()) > 1 and text.lstrip().startswith("{") and _is_json(text.split("\n", 1)[0]):
            return read_json_lines(text, source)
        raise ValueError(f"{str(error).rstrip('.')}.") from error
    if isinstance(value, dict) and _is_one_row(value):
        value = [value]
    return _of_rows(_rows_of(value, source), source)


def read_json_lines(text: str, source: str) -> Table:
    """Read one object a line; blank lines are passed over.

    Raises:
        ValueError: If a line is no JSON object; the message names it.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):  # others than \n may stand in a text
        if not line.strip():
            continue
        try:
            row = _loads(line, f"line {number}")
        except ValueError as error:
            if number == 1 or not rows:
                return _whole_file(text, source, error)
            raise ValueError(f"'{source}' cannot be read: {str(error).rstrip('.')}.") from error
        if not isinstance(row, dict):
            if not rows:
                return _of_rows(_rows_of(row, source), source)
            raise ValueError(f"'{source}' cannot be read: line {number} holds no object like {{'text': …}}.")
        rows.append(row)
    if len(rows) == 1 and not _is_one_row(rows[0]):
        return _of_rows(_rows_of(rows[0], source), source)
    return _of_rows(rows, source)


def _whole_file(text: str, source: str, error: ValueError) -> Table:
    """Read a file whose first line is no object by itself: JSON over several lines, under the other name."""
    if not _is_json(text):
        raise ValueError(f"'{source}' cannot be read: {str(error).rstrip('.')}.") from error
    return read_json(text, source)


def _loads(text: str, place: str) -> Any:
    """Read JSON with numbers as they are written, under the rules of every JSON file: one meaning, bounded nesting."""
    return parse_json(text, place, as_written=True)


def _is_json(text: str) -> bool:
    try:
        _loads(text, "it")
    except ValueError:
        return False
    return True


# Layouts ----------------------------------------------------------------------------------------------------------


def _is_one_row(value: Mapping[str, Any]) -> bool:
    """Say whether an object is a row and not a table: it holds a text, and no rows."""
    lists = [cell for cell in value.values() if isinstance(cell, list)]
    return any(isinstance(cell, str) for cell in value.values()) and not any(
        isinstance(item, dict) for cell in lists for item in cell
    )


def _rows_of(value: Any, source: str) -> Sequence[Any]:
    """Find the rows, by the layout of the whole."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        names, data = value.get("columns"), value.get("data")
        if isinstance(names, list) and isinstance(data, list):  # to_json(orient="split")
            return _of_split(names, data, source)
        lists = [cells for cells in value.values() if isinstance(cells, list)]
        of_rows = [cells for cells in lists if cells and all(isinstance(row, dict) for row in cells)]
        if "data" in value and isinstance(data, list):
            return data
        if len(of_rows) == 1:
            return of_rows[0]
        if not value:
            return []
        if len(lists) == len(value):  # a list for each column
            return _of_columns(value, source)
        if all(isinstance(cells, dict) for cells in value.values()):
            return _of_nested(value, source)
    raise ValueError(f"'{source}' cannot be read: its JSON is no table. Expected was {_LAYOUTS}.")


def _of_split(names: Sequence[Any], data: Sequence[Any], source: str) -> Sequence[dict[str, Any]]:
    """Read rows that are lists under names that stand once."""
    for number, row in enumerate(data, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            size = f"{len(row)} values" if isinstance(row, list) else f"a {type(row).__name__}"
            raise ValueError(
                f"'{source}' cannot be read: row {number} of 'data' is {size}; a list of {len(names)} was expected, "
                "one value for each of 'columns'."
            )
    spelled = list(map(str, names))
    if len(set(spelled)) < len(spelled):
        raise ValueError(f"'{source}' cannot be read: 'columns' holds a name twice; rename one.")
    return [dict(zip(spelled, row, strict=True)) for row in data]


def _of_columns(value: Mapping[str, list[Any]], source: str) -> Sequence[dict[str, Any]]:
    lengths = {name: len(cells) for name, cells in value.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"'{source}' cannot be read: its columns have different lengths: {lengths}.")
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def _of_nested(value: Mapping[str, Mapping[str, Any]], source: str) -> Sequence[Mapping[str, Any]]:
    """Read objects of objects: by column (``to_json()``), or by row (``orient="index"``); rows have numbers."""
    inner = list(dict.fromkeys(key for cells in value.values() for key in cells))
    by_row, by_column = all(map(_is_index, value)), all(map(_is_index, inner))
    if by_column and not by_row:
        return [{name: cells.get(key) for name, cells in value.items()} for key in inner]
    if by_row and not by_column:
        return list(value.values())
    raise ValueError(
        f"'{source}' cannot be read: it holds objects of objects, and neither the outer nor the inner names alone are "
        f"numbers of rows. Expected was {_LAYOUTS}."
    )


def _is_index(name: str) -> bool:
    return name.isdecimal()


def _of_rows(rows: Sequence[Any], source: str) -> Table:
    """Make columns of rows; what a row lacks is empty."""
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(
                f"'{source}' cannot be read: row {number} is a {type(row).__name__}, where an object with the names "
                f"of the columns was expected. The layouts that are read: {_LAYOUTS}."
            )
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name.strip(): [_cell(row.get(name)) for row in rows] for name in names}
    if len(columns) < len(names):
        raise ValueError(f"'{source}' has two columns whose names differ in white space only; rename one.")
    return Table(source, columns, len(rows))


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [_cell(item) for item in value]
    return None if value == "" else value
