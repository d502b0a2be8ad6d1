"""From a file to sentences of words, each with its tag: columns (CoNLL), or JSON with lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.files import FILE_FORMATS, read_text
from common.tables import Cell, Table
from transformers.utils import logging
from transformers.utils.json_files import parse_json

__all__ = ["Sentences", "read_sentences"]

logger = logging.get_logger("transformers.examples.ner_files")

_JSON = (".json", ".jsonl")
_TOKENS = ("tokens", "words")
_TAGS = ("ner_tags", "tags", "ner", "labels", "label")
_BLANKS = re.compile(r"[ \t]+")
_DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Sentences:
    """The sentences of a file.

    Attributes:
        source: Its name, for messages.
        words: Of each sentence; none is empty.
        tags: As many for each sentence; None where the file has none.
        starts: The line or row where each sentence stands.
        in_lines: Whether each word has a line of its own.
    """

    source: str
    words: list[list[str]]
    tags: list[list[str]] | None
    starts: list[int]
    in_lines: bool

    def place(self, row: int, word: int | None = None) -> str:
        """Say where a sentence or one of its words stands, both counted from 0."""
        if self.in_lines:
            return f"line {self.starts[row] + (word or 0)}"
        return f"row {self.starts[row]}" + ("" if word is None else f", word {word + 1}")

    def tagged(self) -> Iterator[tuple[int, int, str]]:
        """Go through all tags: the sentence's and the word's number, from 0 on, and the tag."""
        for row, tags in enumerate(self.tags or ()):
            for word, tag in enumerate(tags):
                yield row, word, tag

    def with_tags(self, tags: list[list[str]] | None) -> Sentences:
        """Give the same sentences with other tags."""
        return replace(self, tags=tags)

    def chosen(self, rows: Sequence[int]) -> Sentences:
        """Give some of the sentences, by their numbers from 0 on."""
        tags = None if self.tags is None else [self.tags[row] for row in rows]
        return replace(
            self, words=[self.words[row] for row in rows], tags=tags, starts=[self.starts[row] for row in rows]
        )


def read_sentences(
    path: str,
    token_column: str | None = None,
    label_column: str | None = None,
    encoding: str | None = None,
    optional_tags: bool = False,
) -> Sentences:
    """Read a file of sentences; JSON by the ending of its name, columns of CoNLL else.

    Args:
        path: The file.
        token_column: Where the words are: a number from 1 on (the first), or a name in JSON.
        label_column: Where the tags are (the last column).
        encoding: The file's encoding; None finds out.
        optional_tags: Whether ``label_column`` may be lacking; else that is an error.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no sentences, or lines and rows do not fit together; the message says where.
    """
    text, ending = read_text(path, encoding), Path(path).suffix.lower()
    if ending in _JSON:
        names = _TOKENS if token_column is None else (token_column,)
        table = FILE_FORMATS[ending](f"[{text}]" if _is_one_sentence(text, names) else text, path)
        is_there = not optional_tags or label_column in table.columns
        found = _read_json(table, token_column, label_column if is_there else None)
    else:
        columns = _column_number("token", token_column), _column_number("label", label_column)
        found = _read_columns(text, path, *columns, optional_tags)
    if not found.words:
        raise ValueError(f"'{path}' holds no sentences.")
    return found


# Columns ----------------------------------------------------------------------------------------------------------


def _column_number(name: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"--{name}_column is '{value}'; in files of columns a number from 1 on was expected.")
    return int(value)


def _read_columns(text: str, source: str, token: int | None, label: int | None, optional_tags: bool) -> Sentences:
    """Read a word a line and a blank line after each sentence; lines that only begin a document are left out."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    filled = [line for line in lines if line.strip(" \t") and not _begins_document(line)]
    tabs = all("\t" in line for line in filled)
    words: list[list[str]] = []
    tags: list[list[str]] = []
    starts: list[int] = []
    width = 0
    inside = False
    for number, line in enumerate(lines, start=1):
        if not line.strip(" \t") or (not inside and _begins_document(line)):
            inside = False
            continue
        cells = line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))
        if not width:
            width, first = len(cells), number
            label = None if optional_tags and (label or 0) > width else label
            token, label = _choose(source, width, token, label)
        if len(cells) != width:
            raise ValueError(
                f"Line {number} of '{source}' has {len(cells)} columns, and line {first} has {width}; every line of a "
                "word needs the same, and a blank line stands between sentences."
            )
        if not inside:
            words.append([])
            tags.append([])
            starts.append(number)
            inside = True
        words[-1].append(_filled(cells[(token or 1) - 1], "word", f"Line {number}", source))
        if label is not None:
            tags[-1].append(_filled(cells[label - 1].strip(), "tag", f"Line {number}", source))
    return Sentences(source, words, tags if label is not None else None, starts, in_lines=True)


def _begins_document(line: str) -> bool:
    return line.lstrip(" \t").startswith(_DOCUMENT)


def _choose(source: str, width: int, token: int | None, label: int | None) -> tuple[int, int | None]:
    """Settle the columns: the first, and the last where there are several."""
    chosen = token or 1, label or (width if width > 1 else None)
    for name, number in zip(("token", "label"), chosen, strict=True):
        if number is not None and number > width:
            raise ValueError(f"--{name}_column is {number}, and '{source}' has {width} columns.")
    if chosen[0] == chosen[1]:
        raise ValueError(
            f"Column {chosen[0]} of '{source}' would be the words and the tags; name others with --token_column and "
            "--label_column."
        )
    logger.info(
        "'%s': reading words from column %d%s.", source, chosen[0], f", tags from {chosen[1]}" * bool(chosen[1])
    )
    return chosen


def _filled(cell: str, what: str, place: str, source: str) -> str:
    if not cell.strip(" "):
        raise ValueError(f"{place} of '{source}' has an empty {what}; a {what} was expected in every line of a word.")
    return cell


# JSON -------------------------------------------------------------------------------------------------------------


def _read_json(table: Table, token_column: str | None, label_column: str | None) -> Sentences:
    """Read a list of words and a list of tags a row; rows without words are left out, which is said."""
    tokens = table.column(token_column) if token_column is not None else _known(table, _TOKENS, "token")
    labels = table.column(label_column) if label_column is not None else _known(table, _TAGS, "label")
    _refuse_repeated_ids(table)
    words: list[list[str]] = []
    tags: list[list[str]] = []
    starts: list[int] = []
    for number, cell in enumerate(tokens or (), start=1):
        found = _list_of_texts(cell, "word", number, table.source)
        label = None if labels is None else _list_of_texts(labels[number - 1], "tag", number, table.source)
        if label is not None and len(label) != len(found):
            raise ValueError(
                f"Row {number} of '{table.source}' has {len(found)} words and {len(label)} tags; one tag for each "
                "word was expected."
            )
        if found:
            words.append(found)
            tags.append(label or [])
            starts.append(number)
    empty = table.rows - len(words)
    if empty:
        logger.warning("%d rows of '%s' have no words; they are left out.", empty, table.source)
    return Sentences(table.source, words, None if labels is None else tags, starts, in_lines=False)


def _is_one_sentence(text: str, names: Sequence[str]) -> bool:
    """Say whether a file is a single row, which by its form could be a table with a word a row."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        value = parse_json(text, "it", as_written=True)
    except ValueError:
        return False
    lists = (value.get(name) for name in names) if isinstance(value, dict) else ()
    return any(isinstance(words, list) and words and not isinstance(words[0], list | dict) for words in lists)


def _known(table: Table, names: Sequence[str], what: str) -> list[Cell] | None:
    found = [name for name in names if name in table.columns]
    if not found and what == "token":
        raise ValueError(
            f"'{table.source}' has no column '{names[0]}'; its columns are {table.names_in_words()}. Name the "
            f"one that holds the lists of words with --{what}_column."
        )
    return table.column(found[0]) if found else None


def _list_of_texts(cell: Cell, what: str, row: int, source: str) -> list[str]:
    if not isinstance(cell, list):
        raise ValueError(f'Row {row} of \'{source}\' holds no list of {what}s; one was expected, such as ["…", "…"].')
    for number, item in enumerate(cell, start=1):
        if not isinstance(item, str) or not item.strip(" "):
            raise ValueError(f"Row {row} of '{source}' has an empty {what} (number {number}), or one that is no text.")
        if any(mark in item for mark in "\t\n\r"):
            raise ValueError(
                f"Row {row} of '{source}' has a {what} with a tab or the end of a line in it (number {number}); a "
                "file of predictions could not hold it."
            )
    return cell


def _refuse_repeated_ids(table: Table) -> None:
    """Refuse an id that two sentences have: one of them was copied, or the file was put together wrongly."""
    seen: dict[str, int] = {}
    for row, cell in enumerate(table.columns.get("id", ()), start=1):
        if isinstance(cell, str) and seen.setdefault(cell, row) != row:
            raise ValueError(f"'{table.source}' has the id '{cell}' twice, in rows {seen[cell]} and {row}.")
