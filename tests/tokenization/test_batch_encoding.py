"""Positions: tokens, words and characters lead to each other; tensors and devices."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from vocabularies import SENTENCES

from transformers import BatchEncoding, BertTokenizer
from transformers.tokenization.batch import CharSpan, TokenSpan, to_tensor


def test_positions_agree_with_each_other(bert: BertTokenizer) -> None:
    batch = bert(SENTENCES, SENTENCES[::-1], return_offsets_mapping=True)
    for row, (first, second) in enumerate(zip(SENTENCES, SENTENCES[::-1], strict=True)):
        for token, (start, end) in enumerate(batch["offset_mapping"][row]):
            sequence = batch.sequence_ids(row)[token]
            assert batch.token_to_sequence(row, token) == sequence
            if sequence is None:
                assert batch.token_to_chars(row, token) is None
                assert batch.token_to_word(row, token) is None
                continue
            text = (first, second)[sequence]
            word = batch.token_to_word(row, token)
            assert batch.token_to_chars(row, token) == CharSpan(start, end)
            assert batch.char_to_token(row, start, sequence) == token
            assert batch.char_to_word(row, start, sequence) == word == batch.word_ids(row)[token]
            span = batch.word_to_tokens(row, word, sequence)
            assert isinstance(span, TokenSpan)
            assert span.start <= token < span.end
            chars = batch.word_to_chars(row, word, sequence)
            assert text[start:end] in text[chars.start : chars.end]


def test_the_row_may_be_left_out_of_a_single_text(bert: BertTokenizer) -> None:
    one = bert("the cat sat")
    assert one.tokens()[1:-1] == bert.tokenize("the cat sat")
    assert one.char_to_token(4) == one.char_to_token(0, 4)
    assert one.char_to_token(3) is None
    assert one.token_to_chars(-2) == one.token_to_chars(len(one["input_ids"]) - 2)
    assert one.words() == one.word_ids()
    assert one.n_sequences == 1
    assert bert("a", "b").n_sequences == 2


def test_entries_are_attributes_and_rows_are_encodings(bert: BertTokenizer) -> None:
    batch = bert(["a", "b c"])
    assert batch.input_ids is batch["input_ids"]
    assert batch[1].ids == batch["input_ids"][1]
    assert {**batch} == batch.data
    with pytest.raises(AttributeError, match="no_such"):
        _ = batch.no_such
    with pytest.raises(KeyError):
        _ = batch["no_such"]


def test_pickled_it_keeps_numbers_and_positions(bert: BertTokenizer) -> None:
    batch = pickle.loads(pickle.dumps(bert(["a", "b c"])))
    assert batch.data == bert(["a", "b c"]).data
    assert batch.tokens(1) == ["[CLS]", "b", "c", "[SEP]"]


def test_without_encodings_positions_are_an_error() -> None:
    batch = BatchEncoding({"input_ids": [[1, 2]]})
    assert not batch.is_fast
    for ask in (batch.tokens, batch.word_ids, batch.sequence_ids, lambda: batch.token_to_chars(0)):
        with pytest.raises(ValueError, match="Positions are unknown"):
            ask()


def test_only_tensors_move(bert: BertTokenizer) -> None:
    batch = bert(["a", "b"], return_tensors="pt")
    batch["note"] = "stays"
    assert batch.to("meta") is batch
    assert batch["input_ids"].device.type == "meta"
    assert batch["note"] == "stays"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1, 2], torch.int64),
        ([1, 2.5], torch.float32),
        ([True, False], torch.bool),
        ([[]], torch.int64),
        ([[0.5], [1]], torch.float32),
        (np.ones(2, dtype=np.float64), torch.float64),
        ([np.ones(2, dtype=np.int32)] * 2, torch.int32),
        ([torch.ones(2, dtype=torch.bfloat16)] * 2, torch.bfloat16),
    ],
)
def test_dtypes_of_tensors(value: object, dtype: torch.dtype) -> None:
    assert to_tensor(value, "pt").dtype is dtype


def test_what_is_no_tensor_is_named() -> None:
    with pytest.raises(ValueError, match="'text' cannot become one tensor"):
        BatchEncoding({"input_ids": [[1]], "text": ["a"]}, tensor_type="pt")
    with pytest.raises(ValueError, match=r"'input_ids' cannot become one tensor.*padding=True"):
        BatchEncoding({"input_ids": [[1], [1, 2]]}, tensor_type="np")
    assert BatchEncoding({"input_ids": [1, 2]}, tensor_type="np", prepend_batch_axis=True)["input_ids"].shape == (1, 2)
