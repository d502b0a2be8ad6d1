"""Sentences and tags from files: what is read is what was written, and what does not fit is one line."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ner_files import Sentences, read_sentences
from ner_predictions import write_predictions
from ner_tags import check_tags, named_tags, order_tags, scheme_of, tell_misfits

DATA = Path(__file__).resolve().parents[2] / "examples" / "token-classification" / "data"

WORD = st.text(
    st.one_of(
        st.sampled_from(list("\"'-#,O \u00ad\u200b\u2028\x85")),
        st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\t\n\r\0\ufeff"),
    ),
    min_size=1,
    max_size=6,
).filter(lambda word: word.strip(" ") and not word.startswith("-DOCSTART-"))
TAGGED = st.lists(
    st.lists(st.tuples(WORD, st.sampled_from(["O", "B-PER", "I-PER", "S-LOC", "E-x-y"])), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)
Rows = list[list[tuple[str, str]]]


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def _json_lines(path: Path, words: list[list[str]], tags: list[list[str]]) -> None:
    rows = [{"id": row, "tokens": each, "ner_tags": tags[row]} for row, each in enumerate(words)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="")


@pytest.mark.parametrize("ending", ["txt", "jsonl"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=TAGGED)
def test_what_is_read_is_what_was_written(ending: str, tmp_path: Path, rows: Rows) -> None:
    words, tags = ([[pair[part] for pair in row] for row in rows] for part in (0, 1))
    path = tmp_path / f"sentences.{ending}"
    (write_predictions if ending == "txt" else _json_lines)(path, words, tags)
    found = read_sentences(str(path))
    assert (found.words, found.tags) == (words, tags)


@pytest.mark.parametrize(
    "text",
    [
        "-DOCSTART- -X- -X- O\n\nAnna NNP I-NP B-PER\nsings VBZ I-VP O\n\n\nOslo NNP I-NP B-LOC",
        "\ufeffAnna\tNNP\tI-NP\tB-PER\r\nsings\tVBZ\tI-VP\tO\r\n\t\r\n-DOCSTART-\tO\tO\tO\r\nOslo\tNNP\tI-NP\tB-LOC\r\n",
        "Anna  NNP \t I-NP B-PER \nsings VBZ I-VP O\n   \nOslo NNP I-NP B-LOC\n",
    ],
)
def test_columns_as_people_have_them(tmp_path: Path, text: str) -> None:
    found = read_sentences(write(tmp_path / "a.conll", text))
    assert found.words == [["Anna", "sings"], ["Oslo"]]
    assert found.tags == [["B-PER", "O"], ["B-LOC"]]
    other = read_sentences(write(tmp_path / "a.conll", text), "2", "3")
    assert other.words == [["NNP", "VBZ"], ["NNP"]]
    assert other.tags == [["I-NP", "I-VP"], ["I-NP"]]


def test_a_file_without_tags(tmp_path: Path) -> None:
    assert read_sentences(write(tmp_path / "a.txt", "Anna\nsings\n\nOslo\n")).tags is None
    path = write(tmp_path / "a.json", '[{"tokens": ["Anna"]}]')
    assert read_sentences(path).tags is None
    assert read_sentences(path, None, "ner", optional_tags=True).tags is None
    with pytest.raises(ValueError, match="has no column 'ner'"):
        read_sentences(path, None, "ner")
    path = write(tmp_path / "a.txt", "Anna\nsings\n")
    assert read_sentences(path, None, "4", optional_tags=True).tags is None
    with pytest.raises(ValueError, match=r"--label_column is 4, and .* has 1 columns"):
        read_sentences(path, None, "4")


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_single_row_is_a_sentence_and_no_table(ending: str, indent: int | None, tmp_path: Path) -> None:
    row = {"tokens": ["Anna", "sings"], "ner_tags": ["B-PER", "O"]}
    found = read_sentences(write(tmp_path / f"a.{ending}", json.dumps(row, indent=indent)))
    assert (found.words, found.tags) == ([["Anna", "sings"]], [["B-PER", "O"]])
    columns = {name: [cells, cells] for name, cells in row.items()}
    assert len(read_sentences(write(tmp_path / f"a.{ending}", json.dumps(columns, indent=indent))).words) == 2


def test_columns_of_json_by_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json", '{"data": [{"w": ["1", 2.50], "t": [0, 1], "ner_tags": []}, {"w": [], "t": []}]}'
    )
    found = named_tags(read_sentences(path, "w", "t"), ["O", "B-X"])
    assert (found.words, found.tags) == ([["1", "2.50"]], [["O", "B-X"]])


BAD = {
    "empty": ("a.txt", "", "is empty"),
    "blank lines only": ("a.txt", "-DOCSTART- O\n\n", "holds no sentences"),
    "a column is lacking": ("a.txt", "Anna B-PER\nsings\n", "Line 2 of '{path}' has 1 columns, and line 1 has 2"),
    "an empty word": ("a.txt", "Anna\tO\n\tO\n", "Line 2 of '{path}' has an empty word"),
    "an empty tag": ("a.txt", "Anna\tO\nsings\t\n", "Line 2 of '{path}' has an empty tag"),
    "NUL": ("a.txt", "An\0na O\n", "holds zero bytes"),
    "no encoding": ("a.txt", b"Anna O\nsings\x81 O\n", "cannot be read as cp1252 (byte 12)"),
    "more tags than words": (
        "a.json",
        '[{"tokens": ["a"], "ner_tags": ["O", "O"]}]',
        "Row 1 of '{path}' has 1 words and 2 tags",
    ),
    "an id twice": (
        "a.json",
        '[{"id": 1, "tokens": ["a"]}, {"id": 1, "tokens": ["b"]}]',
        "the id '1' twice, in rows 1 and 2",
    ),
    "a text": ("a.json", '[{"tokens": "Anna sings"}]', "Row 1 of '{path}' holds no list of words"),
    "a word of nothing": ("a.json", '[{"tokens": ["a", ""]}]', "has an empty word (number 2)"),
    "a line in a word": ("a.json", '[{"tokens": ["a\\nb"]}]', "the end of a line in it (number 1)"),
    "no words": ("a.json", '[{"text": "a"}]', "has no column 'tokens'; its columns are text"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line(name: str, tmp_path: Path) -> None:
    file, content, expected = BAD[name]
    path = write(tmp_path / file, content)
    with pytest.raises(ValueError, match=r"\w") as error:
        read_sentences(path)
    assert expected.format(path=path) in str(error.value)
    assert "\n" not in str(error.value)


# Tags -----------------------------------------------------------------------------------------------------------


def of(*rows: str) -> Sentences:
    tags = [row.split() for row in rows]
    return Sentences("f", [["w"] * len(row) for row in tags], tags, list(range(1, 100, 10))[: len(tags)], True)


@pytest.mark.parametrize(
    ("rows", "scheme", "misfits"),
    [
        (["B-A I-A O B-A B-A"], "IOB2", 0),
        (["B-A I-A O I-A", "I-B"], "IOB2", 2),
        (["B-A I-B"], "IOB2", 1),
        (["I-A I-A B-A I-A O I-B"], "IOB1", 0),
        (["I-A B-A", "I-B I-A"], "IOB1", 0),
        (["S-A B-A E-A O B-B I-B E-B"], "BIOES", 0),
        (["S-A B-A O E-A"], "BIOES", 2),
        (["O O"], "IOB2", 0),
    ],
)
def test_the_way_of_tagging_and_what_does_not_fit_it(
    rows: list[str], scheme: str, misfits: int, caplog: pytest.LogCaptureFixture
) -> None:
    sentences = of(*rows)
    assert scheme_of(sentences.tags or []) == scheme
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        assert tell_misfits(sentences, scheme) == misfits
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert len(caplog.records) == (1 if misfits else 0)


def test_tags_have_an_order_and_are_checked() -> None:
    assert order_tags(["I-B", "B-B", "O", "E-A", "B-A", "O"]) == ("O", "B-A", "E-A", "B-B", "I-B")
    with pytest.raises(ValueError, match="The tag 'NN' in line 2 of 'f' is none: O was expected"):
        check_tags(of("O NN"))
    with pytest.raises(ValueError, match="The tag 'B-X' in line 11 of 'f' is not among the model's labels: O, B-A"):
        check_tags(of("O", "B-X"), ["O", "B-A"], "the model's labels")
    with pytest.raises(ValueError, match="say what they mean with --tag_names"):
        named_tags(of("0 1"), None)
    with pytest.raises(ValueError, match="The tag of line 2 of 'f' is 2, and --tag_names has 2 names"):
        named_tags(of("0 2"), ["O", "B-A"])


# The shipped sentences --------------------------------------------------------------------------------------------


def test_the_shipped_sentences_are_what_their_readme_says() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    seen: set[tuple[str, ...]] = set()
    for name in ("train", "validation", "test"):
        found = read_sentences(str(DATA / f"{name}.txt"))
        numbers = [sum(tag == f"B-{kind}" for _, _, tag in found.tagged()) or "-" for kind in ("PER", "LOC", "ORG")]
        cells = [f"`{name}.txt`", len(found.words), sum(map(len, found.words)), *numbers]
        assert f"| {' | '.join(map(str, cells))} |" in readme
        assert seen.isdisjoint(map(tuple, found.words))
        seen |= set(map(tuple, found.words))
        if name != "test":
            assert scheme_of(found.tags or []) == "IOB2"
            assert tell_misfits(found, "IOB2") == 0
