"""Files of texts and labels, of every format that the examples read, and what a run makes of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from common.columns import ColumnFlags, choose_columns
from common.files import read_table
from common.identity import IDENTITY_FILE, check_same_run
from common.labels import read_labels

ROWS = [
    ("A good film, the best.", "yes"),
    ('She said "no"', "no"),
    ("naïve café ☃", "yes"),
    ("tab\tand | bar", "no"),
]
DATA_FILES = ("data.csv", "data.tsv", "data.json", "data.jsonl", "split.json", "values.csv", "lists.csv", "wide.csv")
RUN = {"task": "sst2", "data": {"train": "0" * 64}, "labels": ["no", "yes"], "problem": None, "model": "1" * 64}
RUN |= {"start": {"lora_path": None}, "method": {"lora_r": 8, "apply_lora": True}}


def make_data(folder: Path) -> None:
    """Write one table in each format; the one of Windows is in UTF-16."""
    for name, separator, encoding in (("csv", ",", "utf-8-sig"), ("tsv", "\t", "utf-16")):
        with (folder / f"data.{name}").open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=separator).writerows([("text", "label"), *ROWS])
    objects = [{"text": text, "label": label, "idx": number} for number, (text, label) in enumerate(ROWS)]
    (folder / "data.json").write_text(json.dumps(objects), encoding="utf-8")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8")
    split = {"columns": ["text", "label"], "data": [list(row) for row in ROWS]}
    (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
    (folder / "values.csv").write_text("text;label\na b;0,5\nc d;1,25\ne f;2\n", encoding="utf-8")
    (folder / "lists.csv").write_text('text,label\na b,"[\'x\', \'y\']"\nc d,"[""y""]"\ne f,[]\n', encoding="utf-8")
    (folder / "wide.csv").write_text("text,a,b,c\ngood film,0,1,1\nbad film,1,0,0\nfine film,1,1,0\n")


def use_data(folder: Path) -> None:
    """Read each file whole, and compare what is read of JSON with the file; damage to one says nothing of another."""
    refused: list[ValueError] = []
    for name in DATA_FILES:
        labels = ["a", "b", "c"] if name == "wide.csv" else ["label"]
        try:
            table = read_table(str(folder / name))
            columns = choose_columns(table, ColumnFlags(label=labels), labelled=True)
            texts = {column: table.texts(column) for column in columns.texts}
            found = read_labels(table, columns.labels)
        except ValueError as error:
            if name not in str(error):
                raise RuntimeError(f"the message does not name {name}: {error}") from error
            refused.append(error)
            continue
        if any(len(values) != table.rows for values in (*texts.values(), found.values)):
            raise RuntimeError(f"{name}: {table.rows} rows, other numbers of texts or labels")
        if name == "data.json":
            _compare(folder / name, texts)
    if refused:
        raise refused[0]


def _compare(path: Path, texts: dict[str, list[str]]) -> None:
    rows = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(rows, list) and all(isinstance(row, dict) and isinstance(row.get("text"), str) for row in rows):
        stated = [row["text"] for row in rows]
        if "text" in texts and texts["text"] != stated:
            raise RuntimeError(f"the texts are {texts['text']}, the file says {stated}")


def make_identity(folder: Path) -> None:
    """Write the record of a run."""
    (folder / IDENTITY_FILE).write_text(json.dumps(RUN), encoding="utf-8")


def use_identity(folder: Path) -> None:
    """Compare a run with the record: only one that says the same is the same."""
    check_same_run(str(folder / "checkpoint-1"), RUN)
    before = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
    for name in ("task", "labels", "problem", "model", "start"):
        if before.get(name) != RUN[name]:
            raise RuntimeError(f"{name} is another, and the run goes on")
