"""Which columns are read, and what labels are: the cases that people report, each with the right value."""

from __future__ import annotations

import json
import logging
import random
import string
import time
from pathlib import Path

import pytest

from common.columns import ColumnFlags
from common.labels import ModelLabels
from common.own_files import read_files


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def rows(header: str, *lines: str, times: int = 1) -> str:
    return "\n".join([header, *lines * times, ""])


# Columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "lines", "columns"),
    [
        ("text,label,label_text", ["{t},0,negative", "{t},1,positive"], ("text",)),  # SetFit's
        ("tweet_id,text,label", ["id{t},{t},0", "id{t},{t},1"], ("text",)),
        ("label_text,body,label", ["negative,{t},0", "positive,{t},1"], ("body",)),
        ("uuid,body,label", ["{t},{t},0", "{t},{t},1"], ("body",)),
        ("Text,Label", ["{t},0", "{t},1"], ("Text",)),
        ("premise,hypothesis,text_id,label", ["{t},{t},a,0", "{t},{t},b,1"], ("premise", "hypothesis")),
    ],
)
def test_the_text_is_read_and_not_what_stands_beside_it(
    header: str, lines: list[str], columns: tuple[str, ...], tmp_path: Path
) -> None:
    random.seed(0)
    made = [line.format(t="".join(random.choices(string.ascii_letters, k=9))) for line in lines * 10]
    assert read_files({"train": write(tmp_path / "a.csv", rows(header, *made))}).columns == columns


@pytest.mark.parametrize(
    ("header", "line", "flags", "said"),
    [
        ("a,b,c,label", "x,y,z,{n}", ColumnFlags(), "not clear: 'a', 'b', 'c' may"),
        ("text,sentence,label", "x,y,{n}", ColumnFlags(), "not clear: 'sentence' and 'text' may"),
        (
            "premise,hypothesis,text,label",
            "x,y,z,{n}",
            ColumnFlags(),
            "not clear: 'premise', 'hypothesis', 'text' may",
        ),
        ("text,score", "x,{n}", ColumnFlags(), "no column 'label'; its columns are text, score"),
        ("text,label", "x,{n}", ColumnFlags(text="body"), "no column 'body'; its columns are text, label"),
        ("text,label", "x,{n}", ColumnFlags(label=["score"]), "no column 'score'"),
        ("text,label", "x,{n}", ColumnFlags(text="label"), "named as text and as label"),
    ],
)
def test_what_is_not_clear_is_an_error_that_lists_the_columns(
    header: str, line: str, flags: ColumnFlags, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", rows(header, *(line.format(n=number) for number in (0, 1))))
    with pytest.raises(ValueError, match=said):
        read_files({"train": path}, flags)


def test_the_user_s_word_for_the_columns_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows("a,b,c,d", "x,y,z,0", "u,v,w,1"))
    data = read_files({"train": path}, ColumnFlags("c", "a", ["d"]))
    assert (data.columns, data.splits["train"][0]) == (("c", "a"), {"c": "z", "a": "x", "label": "0"})


def test_the_columns_are_said_and_a_leak_is_called_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.csv", rows("text,label,label_text", "x,0,negative", "y,1,positive", times=5))
    with caplog.at_level(logging.INFO, "transformers"):
        read_files({"train": path}, ColumnFlags(text="label_text"))
    assert "reading the text from 'label_text' and the label from 'label'" in caplog.text
    assert "The column 'label_text' of" in caplog.text
    assert "determines the label (a leak)" in caplog.text


def test_columns_are_looked_up_once(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(2000)]
    line = ",".join(["7"] * 2000)
    path = write(tmp_path / "a.csv", rows(",".join([*names, "text", "label"]), f"{line},x,0", f"{line},y,1", times=6))
    begin = time.process_time()
    assert read_files({"train": path}).columns == ("text",)
    assert time.process_time() - begin < 10, "a thousand columns took half a minute once"


# Labels ---------------------------------------------------------------------------------------------------------


def labels_of(tmp_path: Path, values: list[str], problem: str | None = None) -> tuple[object, object, object]:
    lines = [f't{number},"{value}"' for number, value in enumerate(values)]
    data = read_files({"train": write(tmp_path / "a.csv", rows("text,label", *lines))}, problem=problem)
    return data.problem, data.names, list(data.splits["train"]["label"])


@pytest.mark.parametrize(
    ("values", "names", "read"),
    [
        (["01", "1", "01"], ("01", "1"), ["01", "1", "01"]),
        (["007", "7"], ("007", "7"), ["007", "7"]),
        (["1.0", "0.0", "1"], ("0", "1"), ["1", "0", "1"]),
        (["pos", "pos ", " neg"], ("neg", "pos"), ["pos", "pos", "neg"]),
        (["pos", "Pos", "neg"], ("Pos", "neg", "pos"), ["pos", "Pos", "neg"]),
        (["10", "9", "2"], ("2", "9", "10"), ["10", "9", "2"]),
        (["nan", "NA"], ("NA", "nan"), ["nan", "NA"]),
        (["12345678901234567890123", "2"], ("2", "12345678901234567890123"), ["12345678901234567890123", "2"]),
    ],
)
def test_classes_are_read_as_text(values: list[str], names: object, read: object, tmp_path: Path) -> None:
    assert labels_of(tmp_path, values) == ("single_label_classification", names, read)


def test_names_that_differ_in_case_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "transformers"):
        labels_of(tmp_path, ["pos", "Pos", "neg"])
    assert "The labels 'Pos' and 'pos' of" in caplog.text


def test_numbers_are_a_decision_over_the_whole_column(tmp_path: Path) -> None:
    whole = [str(number % 5) for number in range(12_000)]
    problem, names, read = labels_of(tmp_path, [*whole, "2.5"])
    assert (problem, names) == ("regression", ())
    assert isinstance(read, list)
    assert read[-2:] == [4.0, 2.5]
    assert labels_of(tmp_path, whole[:100])[0] == "single_label_classification"
    assert labels_of(tmp_path, whole[:100], problem="regression")[0] == "regression"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["0.5", "1.5", "nan"], "'nan', but this is a regression; a number was expected in row 3"),
        (["0.5", "up"], "'up', but this is a regression"),
        (["1", "2", "nan"], "row 3 .* is 'nan', where others are numbers"),
        (["1.0", "inf"], "row 2 .* is 'inf'"),
        (["up", "up"], "a classifier needs two classes"),
        (["up", ""], "nothing in the column 'label' of row 2"),
        (["up", "  "], "nothing in the column 'label' of row 2"),
    ],
)
def test_labels_that_cannot_be_meant(values: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        labels_of(tmp_path, values)


def test_decimal_commas_between_semicolons(tmp_path: Path) -> None:
    data = read_files({"train": write(tmp_path / "a.csv", "text;label\na;0,5\nb;1\n")})
    assert (data.problem, list(data.splits["train"]["label"])) == ("regression", [0.5, 1.0])


@pytest.mark.parametrize(
    ("train", "validation", "read"),
    [
        (["0", "1"], ["1.0", "0.0"], ["1", "0"]),
        (["0.0", "1.0"], ["1", "0"], ["1", "0"]),
        (["neg", "pos"], ["Pos", "neg "], ["pos", "neg"]),
        (["neg", "pos"], ["sideways"], None),
        (["01", "2"], ["1"], None),
    ],
)
def test_a_validation_set_may_spell_the_classes_otherwise(
    train: list[str], validation: list[str], read: list[str] | None, tmp_path: Path
) -> None:
    paths = {
        name: write(tmp_path / f"{name}.csv", rows("text,label", *(f"x,{value}" for value in values)))
        for name, values in (("train", train), ("validation", validation))
    }
    if read is None:
        with pytest.raises(ValueError, match="labels that training never sees"):
            read_files(paths)
    else:
        assert list(read_files(paths).splits["validation"]["label"]) == read


def test_a_model_that_is_not_trained_knows_what_it_predicts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows("text,label", "x,1", "y,2"))
    for model, read in (
        (ModelLabels("regression", ("LABEL_0",)), [1.0, 2.0]),
        (ModelLabels("single_label_classification", ("2", "1")), ["1", "2"]),
        (ModelLabels("single_label_classification", ("LABEL_0", "LABEL_1", "LABEL_2")), ["LABEL_1", "LABEL_2"]),
        (ModelLabels("multi_label_classification", ("1", "2")), [["1"], ["2"]]),
    ):
        assert list(read_files({"validation": path}, model=model).splits["validation"]["label"]) == read
    with pytest.raises(ValueError, match="is not among the model's classes: neg, pos"):
        read_files({"validation": path}, model=ModelLabels("single_label_classification", ("neg", "pos")))


@pytest.mark.parametrize(
    ("name", "text", "names", "read"),
    [
        ("a.jsonl", [{"text": "x", "label": ["b", "a"]}, {"text": "y", "label": []}], ("a", "b"), [["b", "a"], []]),
        ("a.jsonl", [{"text": "x", "label": [1, 0, 0]}, {"text": "y", "label": [0, 1, 1]}], ("0", "1", "2"),
         [["0"], ["1", "2"]]),
        ("a.csv", "text,bad,rude\nx,1,0\ny,1.0,true\nz,0,0\n", ("bad", "rude"), [["bad"], ["bad", "rude"], []]),
        ("a.csv", "text,label\nx,\"['a', 'b']\"\ny,\"[\"\"a\"\"]\"\n", ("a", "b"), [["a", "b"], ["a"]]),
    ],
)  # fmt: skip
def test_several_classes_at_once(name: str, text: object, names: object, read: object, tmp_path: Path) -> None:
    content = text if isinstance(text, str) else "".join(json.dumps(row) + "\n" for row in text)  # type: ignore[attr-defined]
    data = read_files({"train": write(tmp_path / name, content)})
    assert (data.problem, data.names) == ("multi_label_classification", names)
    assert list(data.splits["train"]["label"]) == read


# Files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_encodings(encoding: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.csv", "text,label\nDöner für alle,gut\nnaïve,schlecht\n".encode(encoding))
    with caplog.at_level(logging.WARNING, "transformers"):
        assert list(read_files({"train": path}).splits["train"]["text"]) == ["Döner für alle", "naïve"]
    assert ("is read as Windows-1252" in caplog.text) is (encoding == "latin-1")


def test_an_encoding_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\nЖЖЖ,Д\nЮЮЮ,Л\n".encode("cp1251"))
    assert list(read_files({"train": path}, encoding="cp1251").splits["train"]["text"]) == ["ЖЖЖ", "ЮЮЮ"]
    for encoding, said in (("utf-8", "cannot be read as utf-8"), ("klingon", "no encoding that Python knows")):
        with pytest.raises(ValueError, match=said):
            read_files({"train": path}, encoding=encoding)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"PK\x03\x04rest", "zip file, as Excel's workbooks are"),
        ("a.csv", b'text,label\n"open,1\nb,2\n', "unexpected end of data"),
        ("a.csv", b"text,text,label\na,b,c\n", "two columns named 'text'"),
        ("a.jsonl", b'{"text": "a", "label": ""}\n', "nothing in the column 'label' of row 1"),
        (
            "a.jsonl",
            b'{"text": "", "label": "x"}\n{"text": "b", "label": "y"}\n',
            "nothing in the column 'text' of row 1",
        ),
        ("a.jsonl", b'{"text": "a", "label": "x"}\n{"label": "y"}\n', "nothing in the column 'text' of row 2"),
        ("a.jsonl", b'{"text": "a", "label": "x"}\n[1]\n', "line 2 holds no object"),
        ("a.json", b"[[1, 2]]", "row 1 is a list"),
        ("a.json", b"3", "its JSON is no table"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        read_files({"train": write(tmp_path / name, content)})


def test_what_a_file_holds_stays_as_it_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": 12345678901234567890123, "label": 1.50}\n{"text": 1e3, "label": 2}\n')
    data = read_files({"train": path})
    assert list(data.splits["train"]["text"]) == ["12345678901234567890123", "1e3"]
    assert list(data.splits["train"]["label"]) == [1.5, 2.0]
