"""Numbers of more digits than Python reads (4,300) are no numbers of classes, tags or endings."""

from __future__ import annotations

from pathlib import Path

import pytest

from choice_files import read_examples
from common.labels import class_names
from common.tables import whole_number_of
from ner_files import Sentences
from ner_tags import named_tags

LONG = "9" * 5000


def test_a_whole_number() -> None:
    texts = ("7", "-07", "1.0", "", " 1", "9" * 4300, LONG)
    assert [whole_number_of(text) for text in texts] == [7, -7, None, None, None, 10**4300 - 1, None]


def test_classes_with_a_long_number_are_in_the_order_of_letters() -> None:
    assert class_names(["10", "9", "-1"]) == ("-1", "9", "10")
    assert class_names(["10", "9", LONG]) == ("10", "9", LONG)


def test_a_tag_with_a_long_number_has_no_name() -> None:
    sentences = Sentences("f.txt", [["a", "b"]], [["1", LONG]], [3], in_lines=True)
    with pytest.raises(ValueError, match=r"The tag of line 4 of 'f\.txt' is 999"):
        named_tags(sentences, ["O", "B-PER"])


def test_an_ending_with_a_long_number_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(f"sent1,ending0,ending1,ending{LONG},label\na,b,c,d,0\n")
    with pytest.raises(ValueError, match=r"f\.csv' has no column 'ending2'"):
        read_examples(str(tmp_path / "f.csv"))
