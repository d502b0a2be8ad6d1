"""The reader of JSON files: one meaning or none, and bounds of size, nesting and time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from transformers.utils.json_files import DEEPEST, load_json, parse_json
from transformers.utils.shapes import Record, Whole

REFUSED = [
    ("[" * 100_000, "nested more than 64 levels deep"),
    ('{"a":' * 100_000, "nested more than 64 levels deep"),
    ('{"a":' * 65 + "1" + "}" * 65, "nested more than 64 levels deep"),
    ("[1]", "holds a list; a JSON object"),
    ("null", "holds a NoneType; a JSON object"),
    ("", "is not a JSON file: .*line 1 column 1"),
    ('{"a": 1,}', "is not a JSON file: .*line 1"),
    ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' occurs twice"),
    ('{"a": NaN}', "NaN is no number of JSON"),
    ('{"a": -Infinity}', "-Infinity is no number of JSON"),
    ('{"a": 1e999}', "'1e999' is too large"),
    ('{"a": ' + "9" * 5_000 + "}", "is not a JSON file"),
    ('{"a": "\\ud800"}', "half of a surrogate pair"),
    ('{"\\udc00": 1}', "half of a surrogate pair"),
    ('{"a": [1, {"b": "\\uD834x"}]}', "half of a surrogate pair"),
    ('{"a": "x"}', r"a is 'x'; a whole number was expected"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        load_json(tmp_path / "a.json", Record({"a": Whole()}))
    assert str(caught.value).startswith(f"'{tmp_path / 'a.json'}'")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("data", [b"\xff\xfe{}", b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b'{"a\0": 1'])
def test_bytes_that_are_no_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.json' is not a JSON file"):
        load_json(tmp_path / "a.json")


def test_what_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [' * 31 + "1" + "]}" * 31)
    load_json(tmp_path / "a.json")
    pair = '{"a": "\\ud83d\\ude00", "b": 1e300, "c": 123456789012345678901234567890}'
    (tmp_path / "a.json").write_text(pair)
    assert load_json(tmp_path / "a.json") == {"a": "😀", "b": 1e300, "c": 123456789012345678901234567890}
    assert parse_json("[" * DEEPEST + "]" * DEEPEST, "it")
    assert parse_json("[NaN]", "it", allow_nan=True)[0] != 0


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)  # a hole: no disk is used
    with pytest.raises(ValueError, match=r"has 1,099,511,627,776 bytes; at most 16,777,216"):
        load_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match="at most 7 were expected"):
        load_json(tmp_path / "b.json", largest=7)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for name in ("folder", "pipe"):
        with pytest.raises(OSError, match=f"{name}' is a folder or a device; a file was expected"):
            load_json(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_json(tmp_path / "absent")
