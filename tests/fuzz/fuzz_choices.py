"""Files of contexts and endings in every form that run_swag.py reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from fuzz_texts import refusals

from choice_files import read_examples
from common.encodings import decode

ROWS = [
    ("A man opens the door.", "He", ["goes in.", "is a door.", "flies — naïve ☃."], 0),
    ('She said "no",', "and", ["left.", "was | left.", "a, b; c."], 2),
    ("It rains.", "", ["Take a coat.", "Eat a coat.", "x"], 1),
]
CHOICE_FILES = ("swag.csv", "swag.tsv", "lists.json", "lists.jsonl")


def make_choices(folder: Path) -> None:
    """Write the same examples in each form."""
    for name, separator in (("swag.csv", ","), ("swag.tsv", "\t")):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator)
            writer.writerow(["", "sent1", "sent2", "ending0", "ending1", "ending2", "label"])
            writer.writerows(
                (n, sent1, sent2, *endings, label) for n, (sent1, sent2, endings, label) in enumerate(ROWS)
            )
    rows = [{"context": row[0], "sent2": row[1], "endings": row[2], "label": row[3]} for row in ROWS]
    (folder / "lists.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (folder / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def use_choices(folder: Path) -> None:
    """Read each file: all examples are whole, and a label names an ending."""
    refused = refusals(folder, CHOICE_FILES, _use)
    if refused:
        raise refused[0]


def _use(path: Path) -> None:
    found = read_examples(str(path))
    number = len(found.endings[0])
    if not len(found.contexts) == len(found.endings) == len(found.labels or ()):
        raise RuntimeError(f"{path.name}: not as many contexts as endings and labels")
    if number < 2 or any(len(endings) != number for endings in found.endings):
        raise RuntimeError(f"{path.name}: rows of other numbers of endings")
    if any(label not in range(number) for label in found.labels or ()):
        raise RuntimeError(f"{path.name}: a label names no ending")
    if not all(text.strip() for row in (found.contexts, *found.endings) for text in row):
        raise RuntimeError(f"{path.name}: an empty text")
    if path.name == "lists.json":
        rows = json.loads(decode(path.read_bytes(), str(path)))
        stated = [row.get("context") for row in rows] if isinstance(rows, list) else []
        if stated and all(isinstance(text, str) for text in stated) and stated != found.contexts:
            raise RuntimeError(f"the contexts are {found.contexts}, the file says {stated}")
