"""Files of tagged sentences in every form that run_ner.py reads."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz_texts import refusals

from common.encodings import decode
from ner_files import read_sentences

ROWS = [
    (["Ada", "Lovelace", "left", "Zürich", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"]),
    (["☃", "naïve", '"no"', "|"], ["O", "O", "B-MISC", "O"]),
    (["x"], ["O"]),
]
SENTENCE_FILES = ("columns.txt", "tabs.conll", "rows.json", "rows.jsonl")


def make_sentences(folder: Path) -> None:
    """Write the same sentences in each form."""
    lines = [[f"{word} {tag}" for word, tag in zip(*row, strict=True)] for row in ROWS]
    columns = "\n\n".join("\n".join(sentence) for sentence in lines)
    (folder / "columns.txt").write_text(f"-DOCSTART- O\n\n{columns}\n", encoding="utf-8")
    (folder / "tabs.conll").write_text(columns.replace(" ", "\tNN\t").replace("\n", "\r\n"), encoding="utf-16")
    rows = [{"tokens": words, "ner_tags": tags} for words, tags in ROWS]
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def use_sentences(folder: Path) -> None:
    """Read each file: every word has its tag, and where it stands can be said."""
    refused = refusals(folder, SENTENCE_FILES, _use)
    if refused:
        raise refused[0]


def _use(path: Path) -> None:
    found = read_sentences(str(path))
    for row, words in enumerate(found.words):
        tags = found.tags[row] if found.tags is not None else words
        if not words or not all(words) or len(tags) != len(words):
            raise RuntimeError(f"{path.name}: {found.place(row)} has {len(words)} words and {len(tags)} tags")
    if found.starts != sorted(set(found.starts)):
        raise RuntimeError(f"{path.name}: the sentences do not follow each other")
    if path.name == "rows.json":
        rows = json.loads(decode(path.read_bytes(), str(path)))
        stated = [row.get("tokens") for row in rows] if isinstance(rows, list) else []
        if all(isinstance(word, str) for words in stated for word in words or [None]) and stated not in (
            [],
            found.words,
        ):
            raise RuntimeError(f"the words are {found.words}, the file says {stated}")
