"""Words are hidden whole, whichever way the tokenizer shows where they begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from vocabularies import make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from transformers import BertTokenizer, DataCollatorForWholeWordMask, DebertaV2Tokenizer, RobertaTokenizer

KINDS: dict[str, Any] = {
    "bert": (BertTokenizer, make_bert_vocabulary),
    "roberta": (RobertaTokenizer, make_roberta_vocabulary),
    "deberta": (DebertaV2Tokenizer, make_sentencepiece_model),
}
TEXT = "unbelievable tokenizers segregate extraordinarily peculiar words everywhere"


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_hidden_whole_or_not_at_all(kind: str, tmp_path: Path) -> None:
    tokenizer_class, make = KINDS[kind]
    tokenizer = tokenizer_class.from_pretrained(make(tmp_path / kind))
    encoded = tokenizer(TEXT)
    words = encoded.word_ids()
    assert len(set(words)) < len(words) - 2  # some word has several tokens
    collate = DataCollatorForWholeWordMask(tokenizer, mlm_probability=0.3)
    shares = []
    for _ in range(20):
        batch = collate([{"input_ids": encoded["input_ids"]}] * 2)
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            hidden = labels != -100
            assert hidden.any()
            for word in set(words) - {None}:
                assert len({bool(hidden[place]) for place, of in enumerate(words) if of == word}) == 1
            assert not any(hidden[place] for place, of in enumerate(words) if of is None)
            original = torch.tensor(encoded["input_ids"])
            assert torch.equal(labels[hidden], original[hidden])
            assert torch.equal(ids[~hidden], original[~hidden])
            shares.append(float(hidden.float().mean()))
    assert 0.1 < sum(shares) / len(shares) < 0.45


def test_no_share_hides_nothing(tmp_path: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_bert_vocabulary(tmp_path / "bert"))
    batch = DataCollatorForWholeWordMask(tokenizer, mlm_probability=0.0)([tokenizer(TEXT)])
    assert (batch["labels"] == -100).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizers_word_ids_say_what_a_word_is(kind: str, tmp_path: Path) -> None:
    tokenizer_class, make = KINDS[kind]
    tokenizer = tokenizer_class.from_pretrained(make(tmp_path / kind))
    encoded = [tokenizer(TEXT), tokenizer("It's a naïve, unbelievable word.")]
    examples = [{"input_ids": row["input_ids"], "word_ids": row.word_ids()} for row in encoded]
    collate = DataCollatorForWholeWordMask(tokenizer, mlm_probability=0.3)
    split = set()
    for _ in range(10):
        batch = collate(examples)
        assert "word_ids" not in batch
        for row, example in enumerate(examples):
            hidden = batch["labels"][row] != -100
            words: dict[Any, set[bool]] = {}
            for place, word in enumerate(example["word_ids"]):
                words.setdefault(word, set()).add(bool(hidden[place]))
            assert words.pop(None) == {False}
            assert all(len(seen) == 1 for seen in words.values())
            split |= {row} if any(seen == {True} for seen in words.values()) else set()
    assert split == {0, 1}, "words of both rows must have been drawn"
