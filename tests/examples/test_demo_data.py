"""The demo data set is what its README says: large enough, balanced, clean, and without leaks between files."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "text-classification" / "demo"
SPLITS = ("train", "validation", "test")
LABELS = {"negative", "positive"}

Trigram = tuple[str, str, str]


def read_rows(split: str) -> list[dict[str, str]]:
    with (DEMO / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def sentences(split: str) -> list[str]:
    return [row["sentence"] for row in read_rows(split)]


def words(sentence: str) -> list[str]:
    return re.findall(r"[\w'-]+", sentence.casefold())


def trigrams(sentence: str) -> set[Trigram]:
    tokens = words(sentence)
    return set(zip(tokens, tokens[1:], tokens[2:], strict=False))


def near_copies(texts: list[str], threshold: float = 0.5) -> Iterator[tuple[str, str]]:
    """Yield the pairs whose word trigrams overlap (Jaccard) by more than `threshold`."""
    with_trigrams = [(text, trigrams(text)) for text in texts]
    for (first, a), (second, b) in combinations(with_trigrams, 2):
        if not a.isdisjoint(b) and len(a & b) > threshold * len(a | b):
            yield first, second


@pytest.mark.parametrize(
    ("split", "columns", "at_least"),
    [("train", ["sentence", "label"], 500), ("validation", ["sentence", "label"], 150), ("test", ["sentence"], 50)],
)
def test_columns_and_counts(split: str, columns: list[str], at_least: int) -> None:
    rows = read_rows(split)
    assert len(rows) >= at_least
    # DictReader files surplus fields under None and fills missing ones with None: both must not happen.
    assert all(list(row) == columns and None not in row.values() for row in rows)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_labels_are_the_two_words_in_balance(split: str) -> None:
    counts = Counter(row["label"] for row in read_rows(split))
    assert set(counts) == LABELS
    assert 0.48 <= counts["positive"] / counts.total() <= 0.52


def test_labels_are_mixed_not_sorted() -> None:
    labels = [row["label"] for row in read_rows("train")]
    for start in range(0, len(labels) - 99, 100):
        assert 25 <= labels[start : start + 100].count("positive") <= 75


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_are_clean_text(split: str) -> None:
    for sentence in sentences(split):
        assert sentence == " ".join(sentence.split()), f"stray white space: {sentence!r}"
        assert all(unicodedata.category(char) not in {"Cc", "Cf", "Co", "Cn"} for char in sentence), repr(sentence)
        assert 5 <= len(sentence.split()) <= 35, sentence


def test_no_sentence_occurs_twice_or_nearly() -> None:
    texts = [text for split in SPLITS for text in sentences(split)]
    repeated = [text for text, count in Counter(map(str.casefold, texts)).items() if count > 1]
    assert repeated == []
    assert list(near_copies(texts)) == []


def test_near_copies_are_recognised() -> None:
    pair = ["The soup was cold and so was the bread.", "The soup was cold and so was the welcome."]
    assert list(near_copies(pair)) == [(pair[0], pair[1])]


def test_no_opening_is_a_template() -> None:
    openings = Counter(tuple(words(text)[:3]) for split in SPLITS for text in sentences(split))
    assert max(openings.values()) <= 6


def test_readme_gives_the_counts() -> None:
    readme = (DEMO / "README.md").read_text(encoding="utf-8")
    for split in SPLITS:
        rows = read_rows(split)
        counts = Counter(row.get("label") for row in rows)
        negative, positive = (counts[label] or "-" for label in ("negative", "positive"))
        assert f"| `{split}.csv` | {len(rows)} | {negative} | {positive} |" in readme
