"""Files of questions in every form that run_qa.py reads, and the threshold that it keeps beside a model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from qa_files import read_questions
from qa_predictions import read_threshold, write_threshold

ROWS = [
    ("a", "Who left?", "Ada left — naïve café ☃.", "Ada"),
    ("b", 'What is "no"?', 'She said "no", twice.', '"no", twice'),
    ("c", "Where?", "Tab\there | bar.", None),
]
QUESTION_FILES = ("squad.json", "rows.jsonl", "rows.csv", "rows.parquet")
THRESHOLD_FILE = "null_threshold.json"


def _answers(context: str, answer: str | None) -> list[dict[str, Any]]:
    return [] if answer is None else [{"text": answer, "answer_start": context.index(answer)}]


def make_questions(folder: Path) -> None:
    """Write the same questions in each form, and a threshold."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    paragraphs = [
        {"context": context, "qas": [{"id": name, "question": question, "answers": _answers(context, answer)}]}
        for name, question, context, answer in ROWS
    ]
    squad = {"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}
    (folder / "squad.json").write_text(json.dumps(squad, ensure_ascii=False), encoding="utf-8")
    rows = []
    for name, question, context, answer in ROWS:
        found = _answers(context, answer)
        answers = {key: [each[key] for each in found] for key in ("text", "answer_start")}
        rows.append({"id": name, "question": question, "context": context, "answers": answers})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "context", "answer", "answer_start"])
        writer.writerows((*row, row[2].index(row[3]) if row[3] else "") for row in ROWS)
    write_threshold(folder, 0.25, 50.0, "v.json")


def use_questions(folder: Path) -> None:
    """Read each file: every answer stands in its context, and no id twice; damage to one says nothing of another."""
    refused: list[ValueError] = []
    for name in QUESTION_FILES:
        try:
            found = read_questions(str(folder / name))
        except ValueError as error:
            if name not in str(error):
                raise RuntimeError(f"the message does not name {name}: {error}") from error
            refused.append(error)
            continue
        if len(set(found.ids)) < len(found.ids):
            raise RuntimeError(f"{name}: an id twice")
        for context, answers, starts in zip(found.contexts, found.answers, found.starts, strict=True):
            if any(context[start:][: len(text)] != text for text, start in zip(answers, starts, strict=True)):
                raise RuntimeError(f"{name}: an answer is not in its context")
    read_threshold(str(folder))
    if refused:
        raise refused[0]
