"""Our tokenizers against upstream's, on texts of all that Unicode holds and on every way of calling."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from random_texts import random_texts
from vocabularies import SENTENCES, make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from transformers import AutoTokenizer

pytestmark = pytest.mark.reference

EVERYTHING = {
    "return_token_type_ids": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}
TEXTS = random_texts(1000, seed=1) + SENTENCES
FIRST, SECOND = random_texts(25, seed=2) + SENTENCES, random_texts(25, seed=3) + SENTENCES[::-1]
WORDS = [[word for word in text.split(" ") if word] or ["a"] for text in random_texts(25, seed=4)]
SPECIAL = ["a <mask> b", "x<mask>", "[MASK] is [SEP]", "</s><s> <pad>", " <unk> [UNK][CLS]", "<mask>"]


def ways_of_calling(
    texts: list[str] = TEXTS,
    first: list[str] = FIRST,
    second: list[str] = SECOND,
    words: list[list[str]] = WORDS,
) -> list[dict[str, Any]]:
    """List calls that cover singles, pairs, batches, words, truncation, overflow and padding."""
    calls: list[dict[str, Any]] = [
        {"text": texts, **EVERYTHING},
        {"text": first, "text_pair": second, **EVERYTHING},
        {"text": first},
        {"text": first[0], "text_pair": second[0], **EVERYTHING},
        {"text": ""},
        {"text": "", "text_pair": "", **EVERYTHING},
        {"text": [[a, b] for a, b in zip(first, second, strict=True)], **EVERYTHING},
        {"text": first, "text_pair": second, "add_special_tokens": False, **EVERYTHING},
        {"text": words, "is_split_into_words": True, **EVERYTHING},
        {"text": words, "text_pair": words[::-1], "is_split_into_words": True, **EVERYTHING},
        {"text": words[0], "is_split_into_words": True, **EVERYTHING},
        {"text": first, "max_length": 9},
        {"text": first, "max_length": 9, "truncation": False},
        {"text": SENTENCES, "return_token_type_ids": False, "return_attention_mask": False},
    ]
    for strategy, length, stride in [(True, 12, 0), ("longest_first", 13, 3), (True, 4, 0), ("do_not_truncate", 9, 0)]:
        for overflow in (False, True):
            options = {"truncation": strategy, "max_length": length, "return_overflowing_tokens": overflow}
            calls.append({"text": first, "text_pair": second, "stride": stride, **options, **EVERYTHING})
            calls.append({"text": first, **options, **EVERYTHING})
    for strategy in ("only_first", "only_second"):
        pair = (SENTENCES[1], SENTENCES[2])
        for overflow in (False, True):
            options = {"truncation": strategy, "max_length": 40, "stride": 4, "return_overflowing_tokens": overflow}
            calls.append({"text": pair[0], "text_pair": pair[1], **options, **EVERYTHING})
        calls.append({"text": pair[0], "text_pair": pair[1], "truncation": strategy, "max_length": 8})
    for side in ("left", "right"):
        for padding, length, multiple in [(True, None, None), ("longest", None, 8), ("max_length", 200, None)]:
            options = {"padding": padding, "max_length": length, "pad_to_multiple_of": multiple, "padding_side": side}
            calls.append({"text": first, "text_pair": second, **options, **EVERYTHING})
        calls.append(
            {"text": first, "padding": "max_length", "max_length": 16, "truncation": True, "padding_side": side}
        )
    return calls


def refused_calls() -> list[dict[str, Any]]:
    """List calls that make no sense."""
    return [
        {"text": "a", "truncation": "foo"},
        {"text": "a", "padding": "foo"},
        {"text": "a", "return_tensors": "foo"},
        {"text": ["a", 3]},
        {"text": ["a", None]},
        {"text": 3},
        {"text": ["a", "b"], "text_pair": ["c"]},
        {"text": ["a", "b"], "text_pair": "c"},
        {"text": "a", "truncation": True, "max_length": 6, "stride": 6},
        {"text": "a", "truncation": True, "max_length": -1},
        {"text": "a b c", "truncation": True, "max_length": 5, "padding": True, "pad_to_multiple_of": 8},
    ]


def job(
    folder: Path, calls: list[dict[str, Any]], decode: list[list[int]], save_to: Path | None = None, **settings: Any
):
    """Describe what upstream is to do with the tokenizer of a folder."""
    return {
        "folder": str(folder),
        "settings": settings,
        "calls": calls,
        "decode": decode,
        "save_to": save_to and str(save_to),
    }


@pytest.fixture(scope="session")
def ask(
    upstream: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[dict[str, Any]]]:
    """Give a function that lets upstream do several jobs in one process."""

    def run(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
        place = tmp_path_factory.mktemp("ask")
        (place / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
        upstream("upstream_tokenize.py", place / "jobs.json", place / "results.json")
        return json.loads((place / "results.json").read_text(encoding="utf-8"))

    return run


def random_rows(size: int, seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(size) for _ in range(rng.randrange(12))] for _ in range(200)]


def as_json(value: Any) -> Any:
    """Turn tuples into lists, as a trip through JSON does."""
    return json.loads(json.dumps(value))


def assert_same(tokenizer: Any, described: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare every call entry by entry, and every decoded row."""
    for arguments, expected in zip(described["calls"], theirs["calls"], strict=True):
        shown = {key: value for key, value in arguments.items() if key not in ("text", "text_pair")}
        if "error" in expected:
            with pytest.raises((ValueError, TypeError)):
                tokenizer(**arguments)
            continue
        found = as_json(dict(tokenizer(**arguments)))
        assert set(found) == set(expected), shown
        for name in expected:
            assert found[name] == expected[name], (name, shown)
    for skip, decoded in zip((False, True), theirs["decoded"], strict=True):
        rows = described["decode"]
        assert [tokenizer.decode(row, skip_special_tokens=skip) for row in rows] == decoded
        assert tokenizer.batch_decode(rows, skip_special_tokens=skip) == decoded
    assert len(tokenizer) == theirs["length"]
    assert sorted(tokenizer.all_special_ids) == theirs["special_ids"]
    assert tokenizer.model_max_length == theirs["model_max_length"]


VOCABULARIES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "roberta": (make_roberta_vocabulary, {}),
    "roberta-prefix-space": (make_roberta_vocabulary, {"add_prefix_space": True, "model_max_length": 50}),
    "bert-uncased": (make_bert_vocabulary, {}),
    "bert-cased": (lambda folder: make_bert_vocabulary(folder, lowercase=False), {"do_lower_case": False}),
    "bert-switches": (make_bert_vocabulary, {"strip_accents": False, "tokenize_chinese_chars": False}),
}


@pytest.fixture(scope="module")
def cases(ask: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, Any, Any]]]:
    """For each vocabulary: our tokenizer, what was asked and upstream's answer, for three folders.

    The folders: the bare vocabulary, what we saved from it, and what upstream saved from it.
    """
    calls = ways_of_calling()
    marked = [*calls, {"text": SPECIAL, **EVERYTHING}, {"text": SPECIAL, "split_special_tokens": True}]
    jobs, tokenizers = [], []
    for kind, (make, settings) in VOCABULARIES.items():
        place = tmp_path_factory.mktemp(kind)
        ours = AutoTokenizer.from_pretrained(make(place / "vocabulary"), **settings)
        ours.save_pretrained(place / "ours")
        rows = random_rows(len(ours), seed=5)
        jobs += [
            job(place / "vocabulary", calls, rows, place / "theirs", **settings),
            job(place / "ours", marked, rows),
            job(place / "theirs", marked, rows),
        ]
        tokenizers.append(ours)
    answers = ask(*jobs)
    result = {}
    for number, kind in enumerate(VOCABULARIES):
        three = slice(3 * number, 3 * number + 3)
        loaded = [AutoTokenizer.from_pretrained(described["folder"]) for described in jobs[three][1:]]
        result[kind] = list(zip([tokenizers[number], *loaded], jobs[three], answers[three], strict=True))
    return result


@pytest.mark.parametrize("place", ["vocabulary", "ours", "theirs"])
@pytest.mark.parametrize("kind", VOCABULARIES)
def test_same_as_upstream(kind: str, place: str, cases: dict[str, list[tuple[Any, Any, Any]]]) -> None:
    assert_same(*cases[kind][["vocabulary", "ours", "theirs"].index(place)])


def test_added_tokens_and_changed_roles_survive_both_ways(ask: Any, tmp_path: Path) -> None:
    folder = make_roberta_vocabulary(tmp_path / "vocabulary")
    ours = AutoTokenizer.from_pretrained(folder)
    ours.add_tokens(["tokenizer", "Zürich"])
    ours.add_special_tokens({"additional_special_tokens": ["<e1>", "</e1>"], "pad_token": "<fill>"})
    ours.padding_side = "left"
    ours.save_pretrained(tmp_path / "ours")
    texts = ["The tokenizer of Zürich <e1>it</e1>", "<fill> tokenizers", *SENTENCES]
    described = job(tmp_path / "ours", [{"text": texts, "padding": True, **EVERYTHING}], [], tmp_path / "theirs")
    result = ask(described)[0]
    assert_same(ours, described, result)
    assert_same(AutoTokenizer.from_pretrained(tmp_path / "theirs"), described, result)


@pytest.mark.parametrize("make", [make_roberta_vocabulary, make_bert_vocabulary])
def test_what_upstream_refuses_is_refused_here(make: Any, ask: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "vocabulary")
    described = job(folder, refused_calls(), [])
    result = ask(described)[0]
    assert all("error" in expected for expected in result["calls"])
    assert_same(AutoTokenizer.from_pretrained(folder), described, result)


ENGLISH = [text for text in SENTENCES if text.isascii()]
"""Texts on which upstream's conversion of a SentencePiece model loses nothing."""


def test_deberta_same_as_upstream_where_upstream_keeps_the_model(ask: Any, tmp_path: Path) -> None:
    folder = make_sentencepiece_model(tmp_path / "vocabulary")
    ours = AutoTokenizer.from_pretrained(folder)
    ours.save_pretrained(tmp_path / "ours")
    calls = ways_of_calling(ENGLISH, ENGLISH, ENGLISH[::-1], [text.split() for text in ENGLISH])
    english = [*calls, {"text": ["a [MASK] b", "[CLS]x[SEP]"]}]
    rows = [row for row in random_rows(len(ours), seed=9) if ours.unk_token_id not in row]
    jobs = [
        job(folder, english, rows, tmp_path / "theirs"),
        job(tmp_path / "ours", english, rows),
        job(tmp_path / "theirs", ways_of_calling(), rows),
    ]
    results = ask(*jobs)
    assert_same(ours, jobs[0], results[0])
    assert_same(AutoTokenizer.from_pretrained(tmp_path / "ours"), jobs[1], results[1])
    # What upstream saves lacks the character map; on it we do as upstream does, on every text.
    assert_same(AutoTokenizer.from_pretrained(tmp_path / "theirs"), jobs[2], results[2])


def test_minilm_same_as_upstream(minilm: Path, ask: Any, tmp_path: Path) -> None:
    ours = AutoTokenizer.from_pretrained(minilm)
    ours.save_pretrained(tmp_path / "ours")
    rows = random_rows(len(ours), seed=6)
    jobs = [job(minilm, ways_of_calling(), rows), job(tmp_path / "ours", ways_of_calling(), rows)]
    for described, result in zip(jobs, ask(*jobs), strict=True):
        assert_same(ours, described, result)
