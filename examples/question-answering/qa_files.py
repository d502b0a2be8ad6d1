"""From a file to questions, each with its context and its answers: SQuAD's JSON, or a table with a question a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import FILE_FORMATS, read_text
from common.tables import Cell, Table, number_of
from transformers.utils.json_files import parse_json
from transformers.utils.shapes import shown

__all__ = ["FORMATS", "Questions", "read_questions"]

FORMATS = (*FILE_FORMATS, ".parquet")

_ANSWERS = '{"text": ["…"], "answer_start": [0]}'


@dataclass
class Questions:
    """The questions of a file; each list has one entry for each.

    Attributes:
        source: The file's name, for messages.
        ids: Their names; no two are equal.
        questions: What is asked.
        contexts: The text that the answer is looked for in.
        answers: The right answers; none where the context has none.
        starts: The character of the context where each answer begins.
        with_answers: Whether the file says anything of answers.
    """

    source: str
    ids: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)
    starts: list[list[int]] = field(default_factory=list)
    with_answers: bool = True

    def add(self, name: str, question: str, context: str, answers: Sequence[tuple[str, int]]) -> None:
        """Take a question, its answers with their places."""
        self.ids.append(name)
        self.questions.append(question)
        self.contexts.append(context)
        self.answers.append([text for text, _ in answers])
        self.starts.append([start for _, start in answers])

    def unanswered(self) -> list[int]:
        """Give the numbers, from 0 on, of the questions that have no answer."""
        return [row for row, answers in enumerate(self.answers) if not answers]


def read_questions(path: str, encoding: str | None = None) -> Questions:
    """Read a file of questions.

    Args:
        path: It ends in one of `FORMATS`.
        encoding: The file's encoding; None finds out.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no questions, or one that is empty, stands twice, or has an answer that is not in its
            context at its place; the message says which.
    """
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        found = _of_table(_parquet(path))
    else:
        text = read_text(path, encoding)
        articles = _articles(text) if ending == ".json" else None
        found = _of_table(FILE_FORMATS[ending](text, path)) if articles is None else _of_articles(articles, path)
    if not found.ids:
        raise ValueError(f"'{path}' holds no questions.")
    _check(found)
    return found


# SQuAD's own form -------------------------------------------------------------------------------------------------


def _articles(text: str) -> list[Any] | None:
    """Give the articles of a file in SQuAD's form; None for any other file, broken ones too."""
    if '"paragraphs"' not in text:
        return None
    try:
        value = parse_json(text, "it", as_written=True)
    except ValueError:
        return None  # said by the reader of tables
    articles = value.get("data") if isinstance(value, dict) else None
    is_squad = isinstance(articles, list) and any(isinstance(each, dict) and "paragraphs" in each for each in articles)
    return articles if is_squad else None


def _of_articles(articles: Sequence[Any], source: str) -> Questions:
    """Read ``data[].paragraphs[].qas[]``."""
    found = Questions(source, with_answers=False)
    for article_number, article in enumerate(articles, start=1):
        for number, paragraph in enumerate(_list(article, "paragraphs", f"article {article_number}", source), start=1):
            where = f"paragraph {number} of article {article_number}"
            context = _text(paragraph, "context", where, source)
            for row in _list(paragraph, "qas", where, source):
                name = _text(row, "id", f"a question of {where}", source)
                place = f"question '{name}'"
                pairs = _pairs(row["answers"], place, source) if row.get("answers") is not None else []
                if row.get("answers") is not None and row.get("is_impossible") is bool(pairs):
                    said, has = ("no answer", "some") if pairs else ("an answer", "none")
                    raise ValueError(f"'{source}': {place} is said to have {said} (is_impossible), and has {has}.")
                found.with_answers |= row.get("answers") is not None
                found.add(name, _text(row, "question", place, source), context, pairs)
    return found


def _list(value: Any, key: str, place: str, source: str) -> list[Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, list):
        raise ValueError(f"'{source}': {place} has no list '{key}'; SQuAD's form is data[].paragraphs[].qas[].")
    return found


def _text(value: Any, key: str, place: str, source: str) -> str:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, str):
        raise ValueError(f"'{source}': {place} has no text '{key}'; SQuAD's form is data[].paragraphs[].qas[].")
    return found


# Tables -----------------------------------------------------------------------------------------------------------


def _parquet(path: str) -> Table:
    """Read a table as the hub keeps its data sets."""
    import pyarrow as pa
    from pyarrow.parquet import read_table as read_parquet

    try:
        table = read_parquet(path)
        return Table(path, table.to_pydict(), table.num_rows)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:  # whose messages do not name the file
        raise ValueError(f"'{path}' cannot be read: {' '.join(str(error).split())[:200]}") from error


def _of_table(table: Table) -> Questions:
    """Read ``question``, ``context``, ``answers`` (or ``answer`` and ``answer_start``), ``id`` where there is one."""
    questions, contexts = table.texts("question"), table.texts("context")
    names = table.texts("id") if "id" in table.columns else [str(row) for row in range(1, table.rows + 1)]
    answers = list(_answers_of_rows(table))
    found = Questions(table.source, with_answers=bool({"answers", "answer"} & set(table.columns)))
    for row in zip(names, questions, contexts, answers, strict=True):
        found.add(*row)
    return found


def _answers_of_rows(table: Table) -> Iterator[list[tuple[str, int]]]:
    """Give the answers of each row, with their places."""
    if "answers" in table.columns:
        for row, cell in enumerate(table.column("answers"), start=1):
            yield [] if cell is None else _pairs(_object(cell), f"row {row}", table.source)
    elif "answer" in table.columns:
        starts = table.column("answer_start")
        for row, (cell, start) in enumerate(zip(table.column("answer"), starts, strict=True), start=1):
            yield [] if cell is None else _pairs([{"text": cell, "answer_start": start}], f"row {row}", table.source)
    else:
        yield from ([] for _ in range(table.rows))


def _object(cell: Cell) -> Any:
    """Read JSON that stands in a cell of CSV; give what is none as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        return parse_json(cell, "it", as_written=True)
    except ValueError:
        return cell


def _pairs(value: Any, place: str, source: str) -> list[tuple[str, int]]:
    """Read answers in either form: lists of texts and of places, or a list of objects of one text and one place."""
    texts: Any = value.get("text") if isinstance(value, Mapping) else None
    starts: Any = value.get("answer_start") if isinstance(value, Mapping) else None
    if isinstance(value, list):
        rows = [each if isinstance(each, Mapping) else {} for each in value]
        texts, starts = [row.get("text") for row in rows], [row.get("answer_start") for row in rows]
    if not (isinstance(texts, list) and isinstance(starts, list)) or len(texts) != len(starts):
        raise ValueError(
            f"'{source}': the answers of {place} are {shown(value)}; {_ANSWERS} was expected, with a place for each "
            "text, and empty lists where there is no answer."
        )
    return [
        (_answer(text, place, source), _place(start, place, source)) for text, start in zip(texts, starts, strict=True)
    ]


def _answer(text: Any, place: str, source: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"'{source}': {place} has an empty answer; one that has no answer has an empty list of them.")
    return text


def _place(value: Any, place: str, source: str) -> int:
    number = number_of(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number % 1:
        raise ValueError(
            f"'{source}': {place} has an answer at {shown(value)}; answer_start is the number of its first character "
            "in the context, from 0 on."
        )
    return int(number)


# What any file must keep ------------------------------------------------------------------------------------------


def _check(found: Questions) -> None:
    """Refuse what is empty or stands twice, and answers that are not where they should be."""
    seen: dict[str, int] = {}
    rows = zip(found.ids, found.questions, found.contexts, found.answers, found.starts, strict=True)
    for row, (name, question, context, answers, starts) in enumerate(rows, start=1):
        if seen.setdefault(name, row) != row:
            raise ValueError(f"'{found.source}' has the id '{name}' twice, in its questions {seen[name]} and {row}.")
        for what, text in (("text", question), ("context", context)):
            if not text.strip():
                raise ValueError(f"'{found.source}': question '{name}' has no {what}; it is empty or blank.")
        for text, start in zip(answers, starts, strict=True):
            if start < 0 or not context.startswith(text, start):
                raise ValueError(f"'{found.source}': {_misplaced(name, text, start, context)}")


def _misplaced(name: str, text: str, start: int, context: str) -> str:
    elsewhere = context.find(text)
    there = f"there stands {shown(context[start : start + len(text)])}" if 0 <= start < len(context) else "it has none"
    return f"the answer {shown(text)} of question '{name}' is not at character {start} of its context ({there}); " + (
        f"it is at {elsewhere}." if elsewhere >= 0 else "it is nowhere in it."
    )
