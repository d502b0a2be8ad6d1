"""Questions from files: every form gives the same questions, and what does not fit is one line."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa_files import Questions, read_questions

DATA = Path(__file__).resolve().parents[2] / "examples" / "question-answering" / "data"

TEXT = st.text(st.one_of(st.sampled_from(list("ab ,\"'\n😀\u2028")), st.characters(codec="utf-8")), max_size=9)
Row = tuple[str, str, str, int]


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Give questions, contexts, answers in them, and their places; a context ends as it began."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        before, answer, behind = draw(TEXT), "x" + draw(TEXT).replace("\r", "") + "x", draw(TEXT)
        context = f"c{before}{answer}{behind}c".replace("\r", " ").replace("\0", " ")
        start = len(before) + 1
        found.append(
            ("q" + draw(TEXT).replace("\r", "").replace("\0", ""), context, context[start:][: len(answer)], start)
        )
    return found


def squad(found: Sequence[Row]) -> Any:
    paragraphs = [
        {
            "context": context,
            "qas": [{"id": f"i{n}", "question": asked, "answers": [{"text": answer, "answer_start": at}]}],
        }
        for n, (asked, context, answer, at) in enumerate(found)
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs[:1]}, {"paragraphs": paragraphs[1:]}]}


def flat(found: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {"id": f"i{n}", "title": "t", "question": q, "context": c, "answers": {"text": [a], "answer_start": [at]}}
        for n, (q, c, a, at) in enumerate(found)
    ]


def _write_csv(path: Path, found: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["id", "question", "context", "answer", "answer_start"])
        writer.writerows((f"i{number}", *row) for number, row in enumerate(found))


def _write_parquet(path: Path, found: Sequence[Row]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    write_table(pa.Table.from_pylist(flat(found)), path)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


WRITERS: dict[str, Any] = {
    "squad.json": lambda path, found: path.write_text(_dump(squad(found)), encoding="utf-8", newline=""),
    "flat.json": lambda path, found: path.write_text(_dump({"data": flat(found)}), encoding="utf-8", newline=""),
    "flat.jsonl": lambda path, found: path.write_text(
        "".join(_dump(row) + "\n" for row in flat(found)), encoding="utf-8", newline=""
    ),
    "flat.csv": _write_csv,
    "flat.parquet": _write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=rows())
def test_what_is_read_is_what_was_written(name: str, tmp_path: Path, found: list[Row]) -> None:
    WRITERS[name](tmp_path / name, found)
    read = read_questions(str(tmp_path / name))
    assert read.ids == [f"i{number}" for number in range(len(found))]
    assert list(zip(read.questions, read.contexts, read.answers, read.starts, strict=True)) == [
        (question, context, [answer], [start]) for question, context, answer, start in found
    ]


def write(path: Path, content: Any) -> str:
    path.write_bytes(
        content if isinstance(content, bytes) else (content if isinstance(content, str) else _dump(content)).encode()
    )
    return str(path)


def test_questions_without_answers(tmp_path: Path) -> None:
    one = {"question": "Who?", "context": "Ada left."}
    assert not read_questions(write(tmp_path / "a.json", [one])).with_answers
    read = read_questions(write(tmp_path / "a.json", [{**one, "answers": {"text": [], "answer_start": []}}, one]))
    assert (read.with_answers, read.unanswered(), read.ids) == (True, [0, 1], ["1", "2"])
    read = read_questions(
        write(tmp_path / "a.csv", "question,context,answer,answer_start\nWho?,Ada left.,,\nWho?,Bo left.,Bo,0.0\n")
    )
    assert (read.answers, read.starts) == ([[], ["Bo"]], [[], [0]])
    bare = {"data": [{"paragraphs": [{"context": "Ada left.", "qas": [{"id": "1", "question": "Who?"}]}]}]}
    assert not read_questions(write(tmp_path / "a.json", bare)).with_answers
    listed = read_questions(write(tmp_path / "a.json", [{**one, "answers": [{"text": "Ada", "answer_start": 0}]}]))
    assert (listed.answers, listed.starts) == ([["Ada"]], [[0]])


def test_answers_in_a_cell_of_csv(tmp_path: Path) -> None:
    cell = '{""text"": [""Ada"", ""Ada left""], ""answer_start"": [0, 0]}'
    read = read_questions(write(tmp_path / "a.csv", f'question,context,answers\nWho?,Ada left.,"{cell}"\nWho?,Bo.,\n'))
    assert (read.answers, read.starts) == ([["Ada", "Ada left"], []], [[0, 0], []])


def test_a_context_may_speak_of_paragraphs(tmp_path: Path) -> None:
    row = {"question": "What?", "context": 'Say "paragraphs" here.', "answers": {"text": ["Say"], "answer_start": [0]}}
    assert read_questions(write(tmp_path / "a.json", {"data": [row]})).answers == [["Say"]]


def one(**changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": "a",
            "question": "Who?",
            "context": "Ada left Ada.",
            "answers": {"text": ["Ada"], "answer_start": [9]},
            **changes,
        }
    ]


def paragraph(**changes: Any) -> Any:
    row = {"id": "a", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}], **changes}
    return {"data": [{"paragraphs": [{"context": "Ada left.", "qas": [row]}]}]}


BAD: dict[str, tuple[str, Any, str]] = {
    "an answer elsewhere": (
        "a.json",
        one(answers={"text": ["left"], "answer_start": [3]}),
        "the answer 'left' of question 'a' is not at character 3 of its context (there stands ' lef'); it is at 4.",
    ),
    "an answer nowhere": ("a.json", paragraph(answers=[{"text": "Bo", "answer_start": 99}]), "it is nowhere in it."),
    "a place before the text": (
        "a.json",
        one(answers={"text": ["."], "answer_start": [-1]}),
        "is not at character -1",
    ),
    "an id twice": ("a.json", one() * 2, "has the id 'a' twice, in its questions 1 and 2"),
    "an empty question": ("a.json", paragraph(question=" "), "question 'a' has no text; it is empty or blank"),
    "an empty cell": ("a.json", one(question=""), "has nothing in the column 'question' of row 1"),
    "an empty answer": ("a.json", one(answers={"text": [""], "answer_start": [0]}), "row 1 has an empty answer"),
    "texts without places": ("a.json", one(answers={"text": ["Ada"]}), "the answers of row 1 are {'text': ['Ada']}"),
    "more texts than places": (
        "a.json",
        one(answers={"text": ["Ada", "Ada"], "answer_start": [0]}),
        "a place for each",
    ),
    "a text for the answers": ("a.json", one(answers="Ada"), "the answers of row 1 are 'Ada'"),
    "no number": ("a.json", one(answers={"text": ["Ada"], "answer_start": ["first"]}), "an answer at 'first'"),
    "half a number": ("a.json", one(answers={"text": ["Ada"], "answer_start": [0.5]}), "an answer at '0.5'"),
    "impossible, with an answer": ("a.json", paragraph(is_impossible=True), "is said to have no answer"),
    "possible, without one": ("a.json", paragraph(is_impossible=False, answers=[]), "is said to have an answer"),
    "no column": (
        "a.json",
        [{"question": "Who?", "text": "Ada"}],
        "has no column 'context'; its columns are question",
    ),
    "no places": ("a.csv", "question,context,answer\nWho?,Ada left.,Ada\n", "has no column 'answer_start'"),
    "no id": ("a.json", paragraph(id=None), "a question of paragraph 1 of article 1 has no text 'id'"),
    "no paragraphs": ("a.json", {"data": [{"paragraphs": []}, {"title": "x"}]}, "article 2 has no list 'paragraphs'"),
    "no questions": ("a.json", {"data": [{"paragraphs": []}]}, "holds no questions"),
    "no JSON": ("a.json", '{"data": [{"paragraphs": [', "is not JSON: Expecting value: line 1"),
    "no UTF-8": ("a.json", b'[{"question": "Wh\x81o?"}]', "cannot be read as cp1252"),
    "nothing": ("a.json", " ", "is empty"),
    "no parquet": ("a.parquet", "PAR1", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line(name: str, tmp_path: Path) -> None:
    file, content, expected = BAD[name]
    path = write(tmp_path / file, content)
    with pytest.raises(ValueError, match=r"\w") as error:
        read_questions(path)
    assert expected in str(error.value)
    assert f"'{path}'" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_shipped_questions_are_what_their_readme_says() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    seen: set[str] = set()
    for name in ("train", "validation", "test"):
        found: Questions = read_questions(str(DATA / f"{name}.json"))
        without = len(found.unanswered()) if found.with_answers else "-"
        assert f"| `{name}.json` | {len(set(found.contexts))} | {len(found.ids)} | {without} |" in readme
        assert seen.isdisjoint(found.contexts)
        seen |= set(found.contexts)
