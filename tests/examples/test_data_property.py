"""Data files of many layouts: what is read equals what was written, or one clear line says why not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from common.files import read_table

TEXT = st.text(
    st.one_of(
        st.sampled_from(list("\"',;|\t\n\r\\ []{}:0123.")),
        st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]),
    ),
    max_size=12,
)
WORDS = st.sampled_from(["007", "1", "1.0", "12345678901234567890123", "nan", "NA", "None", "true", "0x1", "1e5", ""])
CELL = st.one_of(TEXT, WORDS)
Rows = list[tuple[str, str, str]]
TABLE: st.SearchStrategy[Rows] = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5)
NAMES = ("text", "second", "label")


def _csv(separator: str, **options: Any) -> Callable[[Path, Rows], None]:
    def write(path: Path, rows: Rows) -> None:
        with path.open("w", encoding=options.get("encoding", "utf-8"), newline="") as file:
            form = {key: value for key, value in options.items() if key != "encoding"}
            writer = csv.writer(file, delimiter=separator, **form)
            writer.writerows([NAMES, *rows])

    return write


def _pandas(method: str, **options: Any) -> Callable[[Path, Rows], None]:
    def write(path: Path, rows: Rows) -> None:
        if method == "to_csv" and any("\r" in cell for row in rows for cell in row):
            reject()  # pandas writes a carriage return bare, and cannot read that itself
        frame = pandas.DataFrame(rows, columns=list(NAMES), dtype=object)
        getattr(frame, method)(path, **options)

    return write


def _json(layout: Callable[[list[dict[str, str]]], Any], **options: Any) -> Callable[[Path, Rows], None]:
    def write(path: Path, rows: Rows) -> None:
        objects = [dict(zip(NAMES, row, strict=True)) for row in rows]
        path.write_text(json.dumps(layout(objects), **options), encoding="utf-8")

    return write


def _lines(path: Path, rows: Rows) -> None:
    objects = [dict(zip(NAMES, row, strict=True)) for row in rows]
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects), encoding="utf-8", newline=""
    )


LAYOUTS: dict[str, tuple[str, Callable[[Path, Rows], None]]] = {
    "csv": ("csv", _csv(",")),
    "csv with a byte order mark": ("csv", _csv(",", encoding="utf-8-sig")),
    "csv in UTF-16": ("csv", _csv(",", encoding="utf-16")),
    "csv all quoted": ("csv", _csv(",", quoting=csv.QUOTE_ALL)),
    "csv of pandas": ("csv", _pandas("to_csv", index=False)),
    "csv of pandas with its index": ("csv", _pandas("to_csv")),
    "semicolons": ("csv", _csv(";")),
    "bars": ("csv", _csv("|")),
    "tabs named csv": ("csv", _csv("\t")),
    "tsv": ("tsv", _csv("\t")),
    "tsv all quoted": ("tsv", _csv("\t", quoting=csv.QUOTE_ALL)),
    "tsv of pandas": ("tsv", _pandas("to_csv", sep="\t", index=False)),
    "json records": ("json", _pandas("to_json", orient="records")),
    "json lines of pandas": ("jsonl", _pandas("to_json", orient="records", lines=True)),
    "json columns": ("json", _pandas("to_json")),
    "json index": ("json", _pandas("to_json", orient="index")),
    "json split": ("json", _pandas("to_json", orient="split")),
    "json data": ("json", _json(lambda rows: {"version": "1", "data": rows})),
    "json lists": ("json", _json(lambda rows: {name: [row[name] for row in rows] for name in NAMES})),
    "json indented": ("json", _json(lambda rows: rows, indent=2)),
    "json lines": ("jsonl", _lines),
    "json lines named json": ("json", _lines),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(rows=TABLE)
def test_what_is_read_is_what_was_written(layout: str, tmp_path: Path, rows: Rows) -> None:
    ending, write = LAYOUTS[layout]
    path = tmp_path / f"table.{ending}"
    write(path, rows)
    said, table = None, None
    try:
        table = read_table(str(path))
    except ValueError as error:
        said = str(error)
    if table is None:
        assert said is not None
        assert str(path) in said
        assert "\n" not in said
        assert len(said) < 600
        assert "may be separated by" in said, f"nothing else is unclear about this table: {said}"
        return
    found = list(zip(*(table.columns[name] for name in NAMES), strict=True))
    assert found == [tuple(cell or None for cell in row) for row in rows]


GLUE_CELL = st.text(st.sampled_from(list("ab \"'.,")), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(GLUE_CELL, GLUE_CELL), min_size=1, max_size=6))
def test_a_file_as_glue_writes_it_keeps_its_marks_wherever_they_stand_inside(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    """A mark inside of a bare field is found nowhere in what a CSV writer makes, so all of the file's are text."""
    rows = [*rows, ('an "inner" one', "up")]
    path = tmp_path / "table.tsv"
    path.write_text("".join(f"{first}\t{second}\n" for first, second in [("sentence", "label"), *rows]))
    table = read_table(str(path))
    assert list(zip(table.columns["sentence"], table.columns["label"], strict=True)) == rows


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=60), TEXT.map(str.encode), st.text(st.sampled_from('{}[]",:\n1an'))))
def test_anything_else_is_a_table_or_one_line(ending: str, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / f"any.{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said, table = None, None
    try:
        table = read_table(str(path))
    except ValueError as error:
        said = str(error)
    if table is None:
        assert said is not None
        assert str(path) in said
        return
    assert all(len(cells) == table.rows for cells in table.columns.values())
