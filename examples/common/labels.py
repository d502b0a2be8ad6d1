"""What the labels of a table are: one class of several, a value, or several classes at once.

They are read as text. Whether they are numbers is decided over the whole column, and a model that is only evaluated
knows itself what it predicts.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers.utils import logging

from .tables import Cell, Table, number_of, whole_number_of

__all__ = ["PROBLEMS", "Labels", "ModelLabels", "class_names", "read_labels", "values_of"]

logger = logging.get_logger("transformers.examples.labels")

PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+(,\d+)?")
_WHOLE_AS_FLOAT = re.compile(r"([-+]?\d+)\.0*")


@dataclass(frozen=True)
class ModelLabels:
    """What a model that is not trained any more predicts.

    Attributes:
        problem: One of `PROBLEMS`.
        names: Its classes in the order of their ids.
    """

    problem: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The labels of a column.

    Attributes:
        problem: One of `PROBLEMS`.
        values: For each row a class's name, a value, or a list of classes' names.
    """

    problem: str
    values: list[Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in order: numbers by their value, others by their letters."""
        if self.problem == "regression":
            return ()
        several = self.problem == "multi_label_classification"
        return class_names([name for row in self.values for name in row] if several else self.values)


def class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Give each name once, in order: numbers by their value where all are whole numbers, else by their letters."""
    unique = set(names)
    numbers = {name: number for name in unique if (number := whole_number_of(name)) is not None}
    if len(numbers) == len(unique):
        return tuple(sorted(unique, key=lambda name: (numbers[name], name)))
    return tuple(sorted(unique))


def read_labels(table: Table, columns: Sequence[str], problem: str | None = None) -> Labels:
    """Read the labels of a table.

    Args:
        table: The table.
        columns: The column of the label, or several of 0 and 1.
        problem: What they are, where that is known: by the user's word, by the training set or by the model. None
            decides: lists or several columns are several classes, numbers some of which have a fraction are values,
            and the rest is one class of several.

    Returns:
        The labels. Names have no white space around them, and ``1.0`` is ``1`` in a column of whole numbers.

    Raises:
        ValueError: If a label is lacking or of another kind than the others; the message names the row.
    """
    if len(columns) > 1:
        return Labels(_expect(problem, "multi_label_classification", table), _of_switches(table, columns))
    cells = _parse_lists(table.full_column(columns[0]))
    lists = sum(isinstance(cell, list) for cell in cells)
    if lists not in (0, len(cells)) or any(isinstance(cell, dict) for cell in cells):
        raise ValueError(
            f"The column '{columns[0]}' of '{table.source}' holds lists or objects, or several types; a name or a "
            "number in every row was expected, or a list of names in every row."
        )
    if lists:
        return Labels(_expect(problem, "multi_label_classification", table), _of_lists(table, columns[0], cells))
    texts = [str(cell).strip() for cell in cells]
    if any(text != cell for text, cell in zip(texts, cells, strict=True)):
        logger.info("White space around labels of '%s' is left out.", table.source)
    if problem == "multi_label_classification":
        return Labels(problem, [[text] for text in texts])
    numbers = _numbers(texts, table)
    if problem == "regression" or (problem is None and _are_values(numbers)):
        if problem is None:
            logger.info("The labels of '%s' are values with a fraction: this is a regression.", table.source)
        return Labels("regression", values_of(texts, numbers, table))
    _refuse_lost_numbers(texts, numbers, table)
    return Labels("single_label_classification", _as_classes(texts, numbers, table))


def _expect(problem: str | None, found: str, table: Table) -> str:
    if problem not in (None, found):
        raise ValueError(
            f"The labels of '{table.source}' are several classes a row, and this is a {problem.replace('_', ' ')}; "
            "one label a row was expected."
        )
    return found


# Numbers ----------------------------------------------------------------------------------------------------------


def _numbers(texts: Sequence[str], table: Table) -> list[float | None]:
    """Read every label as a number where it is one; with semicolons between columns a comma is the decimal point."""
    numbers = [number_of(text) for text in texts]
    if table.separator == ";" and None in numbers and all(_DECIMAL_COMMA.fullmatch(text) for text in texts):
        logger.info("The labels of '%s' are numbers with a decimal comma.", table.source)
        return [float(text.replace(",", ".")) for text in texts]
    return numbers


def _are_values(numbers: Sequence[float | None]) -> bool:
    """Say whether labels are values: some have a fraction."""
    return any(number is not None and math.isfinite(number) and number != int(number) for number in numbers)


def values_of(texts: Sequence[str], numbers: Sequence[float | None], table: Table) -> list[float]:
    """Give the values of a regression.

    Raises:
        ValueError: If a label is no finite number.
    """
    for row, (text, number) in enumerate(zip(texts, numbers, strict=True), start=1):
        if number is None or not math.isfinite(number):
            raise ValueError(
                f"'{table.source}' has the label '{text}', but this is a regression; a number was expected in row "
                f"{row}. If the labels are names, give --problem_type single_label_classification."
            )
    return [number for number in numbers if number is not None]


def _refuse_lost_numbers(texts: Sequence[str], numbers: Sequence[float | None], table: Table) -> None:
    """Refuse ``nan`` beside numbers: a value that got lost is no class."""
    if None in numbers or not any(number is not None and math.isfinite(number) for number in numbers):
        return
    row = next((row for row, number in enumerate(numbers) if number is not None and not math.isfinite(number)), None)
    if row is not None:
        raise ValueError(
            f"The label of row {row + 1} of '{table.source}' is '{texts[row]}', where others are numbers; a number "
            "was expected."
        )


# Classes ----------------------------------------------------------------------------------------------------------


def _as_classes(texts: Sequence[str], numbers: Sequence[float | None], table: Table) -> list[str]:
    """Give the classes' names; whole numbers are the same class with and without ``.0``, but ``01`` is not ``1``."""
    names = list(texts)
    if None not in numbers and not _are_values(numbers):
        names = [match[1] if (match := _WHOLE_AS_FLOAT.fullmatch(text)) else text for text in texts]
    unique = set(names)
    folded: dict[str, str] = {}
    for name in sorted(unique):
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            logger.warning("The labels '%s' and '%s' of '%s' are two classes.", other, name, table.source)
    if None not in numbers and len(unique) > 20 and len(unique) > len(texts) / 2:
        logger.warning(
            "'%s' has %d classes in %d rows, all whole numbers. If they are values, give --problem_type regression.",
            table.source,
            len(unique),
            len(texts),
        )
    return names


def _of_lists(table: Table, column: str, cells: Sequence[Cell]) -> list[list[str]]:
    """Read lists of names, or rows of 0 and 1, one for each class."""
    rows = [list(cell) for cell in cells if isinstance(cell, list)]
    for number, row in enumerate(rows, start=1):
        if not all(isinstance(item, str) and item.strip() for item in row):
            raise ValueError(
                f"The label of row {number} of '{table.source}' is a list that holds something else than names."
            )
    names = [[item.strip() for item in row] for row in rows]
    lengths = {len(row) for row in names}
    are_bits = len(lengths) == 1 and max(lengths) > 1 and {item for row in names for item in row} <= {"0", "1"}
    if are_bits and any(len(set(row)) < len(row) for row in names):
        return [[str(index) for index, item in enumerate(row) if item == "1"] for row in names]
    for number, row in enumerate(names, start=1):
        if len(set(row)) < len(row):
            raise ValueError(f"The label of row {number} of '{table.source}' names a class twice: {', '.join(row)}.")
    return names


def _of_switches(table: Table, columns: Sequence[str]) -> list[list[str]]:
    """Read several columns of 0 and 1: the names of those that are 1."""
    meaning = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
    rows: list[list[str]] = [[] for _ in range(table.rows)]
    for name in columns:
        for row, cell in enumerate(table.full_column(name)):
            switch = meaning.get(cell.strip().lower()) if isinstance(cell, str) else None
            if switch is None:
                raise ValueError(
                    f"The column '{name}' of '{table.source}' holds '{cell}' in row {row + 1}; of several columns of "
                    "labels each holds 0 or 1."
                )
            if switch:
                rows[row].append(name)
    return rows


def _parse_lists(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Read lists that stand as text in the cells, as CSV has them, where all cells are such."""
    if not all(isinstance(cell, str) and cell.strip()[:1] == "[" and cell.strip()[-1:] == "]" for cell in cells):
        return cells
    parsed: list[Cell] = []
    for cell in cells:
        try:
            found = json.loads(str(cell), parse_int=str, parse_float=str)
        except RecursionError:
            return cells
        except ValueError:
            try:
                found = ast.literal_eval(str(cell).strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return cells
        if not isinstance(found, list):
            return cells  # such as "[a], [b]", which only begins and ends as a list does
        parsed.append([item if isinstance(item, str) else str(item) for item in found])
    return parsed
