"""docs/data.md: every example on the page is read, or refused, as it says there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from common.columns import LABELS, PAIRS, TEXTS
from common.own_files import read_files

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(csv|tsv|json|jsonl)\n(.*?)```\n\n(reads|refused:) ([^\n]*)\n", PAGE, flags=re.DOTALL)
PROBLEMS = {"one class": "single_label_classification", "several classes": "multi_label_classification"}


def test_all_examples_are_found() -> None:
    assert len(EXAMPLES) == PAGE.count("\n```") // 2 > 12


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_is_what_the_page_says(number: int, tmp_path: Path) -> None:
    ending, text, kind, said = EXAMPLES[number]
    path = tmp_path / f"train.{ending}"
    path.write_text(text, encoding="utf-8")
    if kind == "refused:":
        with pytest.raises(ValueError, match=r"\w") as error:
            read_files({"train": str(path)})
        for part in said.replace("Which columns of … hold", "hold").split(" … "):
            assert part in str(error.value)
        return
    data = read_files({"train": str(path)})
    columns, labels, *first = said.split("; ")
    assert list(data.columns) == re.findall(r"`([^`]+)`", columns)
    what, _, names = labels.partition(" of ")
    assert data.problem == PROBLEMS.get(what, "regression")
    assert ", ".join(data.names) == names
    if first:
        expected = ast.literal_eval(first[0].removeprefix("first text "))
        assert data.splits["train"][0][data.columns[0]] == expected


def test_known_names_are_those_on_the_page() -> None:
    words = " ".join(PAGE.split())
    assert ", ".join(f"`{name}`" for name in TEXTS) in words
    assert ", ".join(f"`{name}`" for name in LABELS) in words
    for first, second in PAIRS:
        assert f"`{first}` and `{second}`" in words
