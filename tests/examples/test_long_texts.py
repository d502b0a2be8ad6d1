"""Texts far longer than a model reads: cut before they are tokenized, with the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from vocabularies import SENTENCES, make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from common.long_texts import cut_long_texts
from transformers import AutoTokenizer


@pytest.fixture(params=[make_roberta_vocabulary, make_bert_vocabulary, make_sentencepiece_model])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    make: Callable[[Path], Path] = request.param
    return AutoTokenizer.from_pretrained(make(tmp_path))


def _long_text(seed: int) -> str:
    random = Random(seed)
    words = " ".join(SENTENCES).split()
    return "".join(random.choice(words) + random.choice([" ", "  ", "\n", "\t", ""]) for _ in range(2_000))


def test_the_tokens_are_the_same(tokenizer: Any) -> None:
    for seed in range(4):
        text, short = _long_text(seed), SENTENCES[seed]
        for row in ([text], [text, short], [short, text]):
            cut = cut_long_texts([[each] for each in row], 31, tokenizer, long=1_000)
            assert sum(len(column[0]) for column in cut) < sum(map(len, row)) / 1.5
            whole = tokenizer(*[[each] for each in row], truncation=True, max_length=31)
            assert dict(tokenizer(*cut, truncation=True, max_length=31)) == dict(whole)


def test_what_is_short_or_without_white_space_or_long_twice_stays(tokenizer: Any) -> None:
    texts = [["a b", "x" * 3_000, _long_text(0)], ["c", "d", _long_text(1)]]
    assert cut_long_texts(texts, 31, tokenizer, long=1_000) == texts
    assert cut_long_texts([[], []], 31, tokenizer) == [[], []]


def test_white_space_alone_ends(tokenizer: Any) -> None:
    assert cut_long_texts([[" " * 5_000]], 8, tokenizer, long=1_000) == [[" " * 5_000]]
