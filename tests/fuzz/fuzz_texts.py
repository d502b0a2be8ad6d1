"""Files of texts in every form that run_mlm.py reads piece by piece."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from common.encodings import decode
from mlm_files import read_pieces

TEXTS = [
    "The cat sat on the mat, as cats do. It was warm there.",
    "naïve café ☃ 東京 ﬁ a\u0301",
    'She said "no", twice;\tthen | left.',
    "w" * 70,
]
TEXT_FILES = ("lines.txt", "windows.txt", "rows.jsonl", "rows.json", "rows.csv")


def make_texts(folder: Path) -> None:
    """Write the same texts in each form; the lines of Windows are in UTF-16."""
    (folder / "lines.txt").write_text("\n\n".join(TEXTS) + "\n", encoding="utf-8")
    (folder / "windows.txt").write_text("\r\n".join(TEXTS), encoding="utf-16", newline="")
    rows = [{"text": text, "idx": number} for number, text in enumerate(TEXTS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    with (folder / "rows.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("text", "idx"), *((text, number) for number, text in enumerate(TEXTS))])


def use_texts(folder: Path) -> None:
    """Read each file in small pieces and whole: the texts are the same; damage to one says nothing of another."""
    refused = refusals(folder, TEXT_FILES, _use)
    if refused:
        raise refused[0]


def refusals(folder: Path, names: tuple[str, ...], use: Callable[[Path], None]) -> list[ValueError]:
    """Use files one after the other, and give how they were refused; each message names its file."""
    refused: list[ValueError] = []
    for name in names:
        try:
            use(folder / name)
        except ValueError as error:
            if name not in str(error) or "\n" in str(error):
                raise RuntimeError(f"the message does not name {name} in one line: {error}") from error
            refused.append(error)
    return refused


def _use(path: Path) -> None:
    whole = _texts(path, 10**6)
    if _texts(path, 20) != whole:
        raise RuntimeError(f"{path.name}: other texts in small pieces")
    if path.suffix == ".txt":
        text = decode(path.read_bytes(), str(path)).replace("\r\n", "\n").replace("\r", "\n")
        if whole != [line for line in text.split("\n") if line.strip()]:
            raise RuntimeError(f"{path.name}: other texts than the file's lines")


def _texts(path: Path, size: int) -> list[str]:
    """Put the pieces of a file together."""
    texts, text = [], ""
    for piece in read_pieces(str(path), "text", size=size):
        text += piece.text
        if piece.ends:
            texts.append(text)
            text = ""
    if text:
        raise RuntimeError(f"{path.name}: the last text does not end")
    return [text for text in texts if text.strip()]
