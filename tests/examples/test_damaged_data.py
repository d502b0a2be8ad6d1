"""Files of texts that mean nothing, or two things at once: one line that names file and place, never another table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.files import read_table
from common.identity import IDENTITY_FILE, check_same_run
from common.labels import read_labels

WHOLE = '{"text": "a", "label": "x"}\n'
DAMAGED: dict[str, tuple[str, str, str]] = {
    "lists 500 deep": (
        "a.jsonl",
        WHOLE + '{"text": "b", "z": ' + "[" * 500 + "]" * 500 + "}",
        "line 2 is nested more",
    ),
    "lists 100,000 deep": ("a.jsonl", WHOLE + '{"text": ' + "[" * 100_000, "line 2 is nested more than 64 levels"),
    "objects 100,000 deep": ("a.json", '{"a":' * 100_000, "nested more than 64 levels"),
    "a name twice": ("a.jsonl", '{"text": "a", "text": "b", "label": "x"}\n', "line 1 .* 'text' occurs twice"),
    "half a pair": ("a.jsonl", WHOLE + '{"text": "\\ud800", "label": "x"}', "line 2 .*half of a surrogate pair"),
    "a value too many": (
        "a.json",
        '{"columns": ["text"], "data": [["a"], ["b", "c"]]}',
        "row 2 of 'data' is 2 values",
    ),
    "a value too few": ("a.json", '{"columns": ["text", "label"], "data": [["a"]]}', "row 1 of 'data' is 1 values"),
    "a row that is none": ("a.json", '{"columns": ["text"], "data": [["a"], 5]}', "row 2 of 'data' is a str"),
    "a column twice": ("a.json", '{"columns": ["text", "text"], "data": [["a", "b"]]}', "a name twice"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_means_nothing_is_refused(case: str, tmp_path: Path) -> None:
    name, text, said = DAMAGED[case]
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        read_table(str(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith("..")


@pytest.mark.parametrize("label", ["[" * 100_000 + "]" * 100_000, "[a], [b]", "['a'], ['b']"])
def test_a_label_that_only_looks_like_a_list_is_a_name(label: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'text,label\nx,"{label}"\ny,[]\n')
    found = read_labels(read_table(str(path)), ["label"])
    assert found.values == [label, "[]"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "a JSON object"),
        ({"task": "sst2"}, "has no 'data'"),
        ({"task": "sst2", "data": {"train": 5}, "labels": []}, "data.train is 5"),
        ({"task": "sst2", "data": {}, "labels": {"0": "no"}}, "labels is"),
        ({"task": "sst2", "data": {}, "labels": [], "method": [1]}, "method is"),
    ],
)
def test_a_damaged_record_of_a_run_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said) as caught:
        check_same_run(str(tmp_path / "checkpoint-3"), {"task": "sst2", "data": {}, "labels": [], "method": {}})
    assert IDENTITY_FILE in str(caught.value)


def test_a_stray_zero_byte_is_no_utf_16(tmp_path: Path) -> None:
    """Read as UTF-16 it was other letters, in silence."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\nBr\xc3\xbccke,x\nTa\0l,y\n")
    with pytest.raises(ValueError, match="holds zero bytes, so it is no text in utf-8"):
        read_table(str(path))
    for text in ("text,label\nŽluťoučký kůň,x\n", "text,label\n橋を渡る,x\n", "text,label\nbridge,x\n"):
        for encoding in ("utf-16-le", "utf-16-be"):
            path.write_bytes(text.encode(encoding))
            assert read_table(str(path)).columns["text"] == [text.split("\n")[1].removesuffix(",x")]
