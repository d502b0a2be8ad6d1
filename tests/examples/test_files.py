"""Texts of one's own: what is read out of a file, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from common.own_files import read_files


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_words_that_mean_nothing_elsewhere_are_texts_and_names_here(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "sentence,label\nNone,NA\nnull,EU\nnan,NA\n")
    data = read_files({"train": path})
    assert data.columns == ("sentence",)
    assert list(data.splits["train"]["sentence"]) == ["None", "null", "nan"]
    assert (data.names, data.problem) == (("EU", "NA"), "single_label_classification")


def test_quotation_marks_in_a_tsv_are_text(tmp_path: Path) -> None:
    rows = ['"an open one\tup', "plain\tdown", 'a "quoted" word\tup', 'a last one"\tdown']
    path = write(tmp_path / "a.tsv", "sentence\tlabel\n" + "\n".join(rows) + "\n")
    split = read_files({"train": path}).splits["train"]
    assert [f"{row['sentence']}\t{row['label']}" for row in split] == rows


def test_quotation_marks_in_a_csv_are_its_form(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'sentence,label\n"one, ""two""\nthree",up\nfour,down\n')
    assert list(read_files({"train": path}).splits["train"]["sentence"]) == ['one, "two"\nthree', "four"]


@pytest.mark.parametrize("name", ["d[1].csv", "tr*.csv", "what?.csv", "in [brackets]/a.csv"])
def test_a_file_s_name_is_no_pattern(name: str, tmp_path: Path) -> None:
    for other in ("d1.csv", "tr1.csv", "whats.csv"):
        write(tmp_path / other, "sentence,label\nfrom another file,1\n")
    path = write(tmp_path / name, "sentence,label\nmine,1\nmine too,2\n")
    assert list(read_files({"train": path}).splits["train"]["sentence"]) == ["mine", "mine too"]


@pytest.mark.parametrize(
    ("header", "columns", "said"),
    [
        ("id,sentence,label", ("sentence",), "'id' are not used"),
        ("sentence2,note,sentence1,label", ("sentence1", "sentence2"), "'note' are not used"),
        ("a,b,label", ("a", "b"), "'a' and 'b' are read as a pair"),
        ("premise,hypothesis,label", ("premise", "hypothesis"), ""),
    ],
)
def test_which_columns_are_the_text(
    header: str, columns: tuple[str, ...], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = header.split(",")
    rows = [",".join(f"{name} {row}" for name in names) for row in range(2)]
    with caplog.at_level(logging.WARNING, "transformers"):
        found = read_files({"train": write(tmp_path / "a.csv", "\n".join([header, *rows, ""]))}).columns
    assert found == columns
    assert said in caplog.text
    assert bool(said) is bool(caplog.text)


def test_texts_that_happen_to_be_numbers(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "sentence,label\none,0\ntwo,1\n")
    test = write(tmp_path / "test.csv", "sentence\n123\n45\n")
    assert list(read_files({"train": train, "test": test}).splits["test"]["sentence"]) == ["123", "45"]


REGRESSION = "sentence,label\na,0.5\nb,1.5\n"
BAD = {
    "one class": ("a.csv", "sentence,label\na,up\nb,up\n", None, "All labels of .* are 'up'; a classifier needs two"),
    "lists": ("a.jsonl", '{"sentence": "a", "label": [1]}\n', None, "has 1 class.* needs two or more"),
    "a list and a name": (
        "a.jsonl",
        '{"sentence": "a", "label": ["x"]}\n{"sentence": "b", "label": "x"}\n',
        None,
        "holds lists or objects, or several types",
    ),
    "objects": ("a.jsonl", '{"sentence": "a", "label": {"x": 1}}\n', None, "holds lists or objects, or several types"),
    "a value that is none": (
        "a.jsonl",
        "".join(json.dumps({"sentence": "a", "label": value}) + "\n" for value in (0.5, float("nan"))),
        None,
        r"row 2",
    ),
    "names among values": (
        "a.csv",
        REGRESSION,
        "sentence,label\na,up\n",
        "has the label 'up', but this is a regression",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_labels_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    file, train, validation, message = BAD[name]
    paths = {"train": write(tmp_path / file, train)}
    if validation is not None:
        paths["validation"] = write(tmp_path / "validation.csv", validation)
    with pytest.raises(ValueError, match=message):
        read_files(paths)
