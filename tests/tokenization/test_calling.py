"""What callers may hand over, what they get, and what they are told when it makes no sense."""

from __future__ import annotations

import logging
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_texts import random_texts
from vocabularies import SENTENCES

from transformers import BertTokenizer, RobertaTokenizer
from transformers.tokenization import library

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(batch=st.lists(st.tuples(TEXT, TEXT.filter(bool)), min_size=1, max_size=5))
def test_a_batch_is_its_texts_one_by_one(roberta: RobertaTokenizer, bert: BertTokenizer, batch: Any) -> None:
    for tokenizer in (roberta, bert):
        first, second = map(list, zip(*batch, strict=True))
        together = tokenizer(first, second)
        for row, pair in enumerate(batch):
            alone = tokenizer(*pair)
            assert {name: together[name][row] for name in together} == dict(alone)
            assert tokenizer.encode(*pair) == alone["input_ids"]
        assert tokenizer(batch).data == tokenizer([list(pair) for pair in batch]).data == together.data


@QUIET
@given(text=TEXT)
def test_byte_level_bpe_gives_back_every_text(roberta: RobertaTokenizer, text: str) -> None:
    assert roberta.decode(roberta.encode(text), skip_special_tokens=True) == text


@QUIET
@given(
    batch=st.lists(TEXT, min_size=1, max_size=5), length=st.integers(2, 12), side=st.sampled_from(["right", "left"])
)
def test_truncation_and_padding_keep_to_their_lengths(bert: BertTokenizer, batch: Any, length: int, side: str) -> None:
    full = bert(batch, return_special_tokens_mask=True)
    cut = bert(batch, truncation=True, padding="max_length", max_length=length, padding_side=side, return_tensors="pt")
    assert cut["input_ids"].shape == (len(batch), length)
    for row, ids in enumerate(full["input_ids"]):
        kept = cut["input_ids"][row][cut["attention_mask"][row].bool()].tolist()
        expected = ids if len(ids) <= length else [*ids[: length - 1], bert.sep_token_id]
        assert kept == expected
        assert (cut["input_ids"][row][~cut["attention_mask"][row].bool()] == bert.pad_token_id).all()


def test_a_call_leaves_the_tokenizer_as_it_was(bert: BertTokenizer) -> None:
    before = pickle.dumps(bert)
    bert(SENTENCES, truncation=True, max_length=7, padding=True, pad_to_multiple_of=1, split_special_tokens=True)
    with pytest.raises(ValueError, match="only_second"):
        bert("a b c d e f g", truncation="only_second", max_length=5)
    assert pickle.dumps(bert) == before


def test_pickled_and_loaded_it_does_the_same(roberta: RobertaTokenizer) -> None:
    roberta.add_tokens(["tokenizer"])
    copy = pickle.loads(pickle.dumps(roberta))
    texts = random_texts(50, seed=7) + SENTENCES
    assert dict(copy(texts, padding=True)) == dict(roberta(texts, padding=True))
    assert copy.special_tokens_map == roberta.special_tokens_map


def test_model_input_names_choose_the_entries(roberta: RobertaTokenizer, bert: BertTokenizer) -> None:
    assert list(roberta("a")) == ["input_ids", "attention_mask"]
    assert list(bert("a")) == ["input_ids", "token_type_ids", "attention_mask"]
    assert list(roberta("a", return_token_type_ids=True, return_attention_mask=False)) == [
        "input_ids",
        "token_type_ids",
    ]


def test_columns_arrays_and_empty_batches_are_batches(bert: BertTokenizer) -> None:
    datasets = pytest.importorskip("datasets")
    column = datasets.Dataset.from_dict({"text": SENTENCES})["text"]
    expected = bert(SENTENCES)["input_ids"]
    assert bert(column)["input_ids"] == expected
    assert bert(np.array(SENTENCES))["input_ids"] == expected
    assert dict(bert([])) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_words_may_be_tuples(bert: BertTokenizer) -> None:
    expected = bert(["the", "cat"], is_split_into_words=True)
    assert bert(("the", "cat"), is_split_into_words=True).data == expected.data
    assert bert([("the", "cat")], is_split_into_words=True)["input_ids"] == [expected["input_ids"]]
    assert bert(("a", "b"))["input_ids"] == [bert.encode("a"), bert.encode("b")]


def test_targets_become_labels(bert: BertTokenizer) -> None:
    assert bert("a", text_target="b")["labels"] == bert("b")["input_ids"]
    assert dict(bert(text_target="b")) == dict(bert("b"))


def test_overflow_names_the_text_of_each_row(bert: BertTokenizer) -> None:
    rows = bert(SENTENCES, truncation=True, max_length=10, stride=2, return_overflowing_tokens=True)
    origins = rows["overflow_to_sample_mapping"]
    for index, text in enumerate(SENTENCES):
        ids = bert.encode(text, add_special_tokens=False)
        parts = [ids_[1:-1] for ids_, origin in zip(rows["input_ids"], origins, strict=True) if origin == index]
        assert parts[0] + [token for part in parts[1:] for token in part[2:]] == ids


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"text": ["a", 3]}, TypeError, "Text 1 is 3 .int.; a str was expected"),
        ({"text": ["a", None]}, TypeError, "Text 1 is None"),
        ({"text": 3}, TypeError, "`text` is a int"),
        ({"text": b"a"}, TypeError, "`text` is a bytes"),
        ({"text": "a", "text_pair": 3}, TypeError, "part 2 of the pair, is 3"),
        ({"text": ["a", "b"], "text_pair": ["c", 4.0]}, TypeError, "Text 1, part 2 of the pair, is 4.0"),
        ({"text": ["a", "b"], "text_pair": ["c"]}, ValueError, "holds 2 texts and `text_pair` 1"),
        ({"text": ["a", "b"], "text_pair": "c"}, TypeError, "`text_pair` must be one too"),
        ({"text": ["a", 1], "is_split_into_words": True}, TypeError, r"word 1\) is 1"),
        ({"text": [["a"], ["b", None]], "is_split_into_words": True}, TypeError, r"Text 1 \(word 1\) is None"),
        ({"text": ["fine", "x\ud800y"]}, ValueError, "Text 1 holds .*ud800.* at character 1: half of a surrogate"),
        ({"text": "a", "truncation": "foo"}, ValueError, "'foo' is not a valid TruncationStrategy.*'only_first'"),
        ({"text": "a", "padding": "foo"}, ValueError, "'foo' is not a valid PaddingStrategy.*'longest'"),
        ({"text": "a", "return_tensors": "tf"}, ValueError, "'tf' is not a valid TensorType.*'pt', 'np'"),
        ({"text": "a", "padding": True, "padding_side": "up"}, ValueError, "choose 'right' or 'left'"),
        ({"text": "a", "truncation": True, "max_length": 1}, ValueError, "max_length is 1, but the special tokens"),
        ({"text": "a", "truncation": True, "max_length": -2}, ValueError, "max_length is -2"),
        ({"text": "a", "truncation": True, "max_length": 6, "stride": 4}, ValueError, "stride is 4.*only 4 tokens"),
        (
            {"text": SENTENCES[0], "truncation": "only_second", "max_length": 5},
            ValueError,
            "cannot be cut to 5 tokens",
        ),
        (
            {"text": SENTENCES, "return_tensors": "pt"},
            ValueError,
            "'input_ids' cannot become one tensor.*padding=True",
        ),
        ({}, ValueError, "nothing to encode"),
    ],
)
def test_what_makes_no_sense_is_said(bert: BertTokenizer, arguments: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        bert(**arguments)
    assert bert("a")["input_ids"] == [bert.cls_token_id, bert.vocab["a"], bert.sep_token_id]


def test_padding_without_padding_token_is_an_error(bert: BertTokenizer) -> None:
    bert.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        bert(["a", "b c"], padding=True)
    with pytest.raises(ValueError, match="no padding token"):
        bert.pad({"input_ids": [[1], [1, 2]]})


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Any:
    """Collect the package's warnings, which do not reach pytest's own handler otherwise."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield lambda: _warnings(caplog)
    logger.removeHandler(caplog.handler)


def test_too_long_a_text_is_warned_of_once_in_one_line(bert: BertTokenizer, heard: Any) -> None:
    bert.model_max_length = 8
    bert(SENTENCES)
    bert(SENTENCES)
    assert len(heard()) == 1
    assert "\n" not in heard()[0]
    assert "at most 8" in heard()[0]
    assert max(map(len, bert(SENTENCES, truncation=True)["input_ids"])) == 8
    assert len(bert("a", padding="max_length")["input_ids"]) == 8


def test_lengths_that_cannot_be_kept_are_warned_of(bert: BertTokenizer, heard: Any) -> None:
    assert bert(SENTENCES, truncation=True, padding="max_length")["input_ids"] == bert(SENTENCES)["input_ids"]
    assert [message for message in heard() if "nothing is cut" in message]
    assert [message for message in heard() if "nothing is padded" in message]
    bert("a", max_length=3)
    bert("a", max_length=3, padding=True)
    bert("a", colour="blue")
    assert len(heard()) == 5


def test_decoding_takes_lists_arrays_tensors_and_single_ids(bert: BertTokenizer) -> None:
    ids = bert.encode(SENTENCES[0])
    text = bert.decode(ids)
    assert bert.decode(np.array(ids)) == bert.decode(torch.tensor(ids)) == text
    assert bert.decode(torch.tensor([ids, ids])) == bert.batch_decode([ids, ids]) == [text, text]
    assert bert.batch_decode([]) == []
    assert bert.decode(bert.vocab["a"]) == "a"
    assert bert.decode(ids, skip_special_tokens=True) == text.removeprefix("[CLS] ").removesuffix(" [SEP]")
    for wrong in ([-1], [1.5], ["a"], [None], [2**40]):
        with pytest.raises(ValueError, match="no token id"):
            bert.decode(wrong)


def test_clean_up_takes_spaces_away() -> None:
    clean = BertTokenizer.clean_up_tokenization
    assert clean("it is n't , is it ? no . we 've") == "it isn't, is it? no. we've"


def test_tokens_and_ids(bert: BertTokenizer) -> None:
    tokens = bert.tokenize("the unknowable 漢")
    ids = bert.convert_tokens_to_ids(tokens)
    assert bert.encode("the unknowable 漢", add_special_tokens=False) == ids
    assert bert.convert_ids_to_tokens(ids) == tokens
    assert bert.convert_tokens_to_ids("no such token") == bert.unk_token_id
    assert bert.convert_ids_to_tokens(bert.encode("the"), skip_special_tokens=True) == ["the"]
    assert bert.convert_tokens_to_string(["un", "##know", "##n"]) == "unknown"
    with pytest.raises(ValueError, match="no token id"):
        bert.convert_ids_to_tokens([-1])


def test_names_of_4_4_2(bert: BertTokenizer) -> None:
    one = bert("a b", "c", padding="max_length", max_length=9)
    assert dict(bert.encode_plus("a b", "c", padding="max_length", max_length=9)) == dict(one)
    pairs = [("a b", "c"), ("d", "e f")]
    assert dict(bert.batch_encode_plus(pairs)) == dict(bert(["a b", "d"], ["c", "e f"]))
    words = [(["a", "b"], ["c"]), (["d"], ["e", "f"])]
    assert dict(bert.batch_encode_plus(words, is_split_into_words=True)) == dict(bert(["a b", "d"], ["c", "e f"]))
    for text, pair in [("a b", None), ("a b", "c d e")]:
        first = bert.encode(text, add_special_tokens=False)
        second = None if pair is None else bert.encode(pair, add_special_tokens=False)
        encoded = bert(text, pair, return_special_tokens_mask=True)
        assert bert.build_inputs_with_special_tokens(first, second) == encoded["input_ids"]
        assert bert.create_token_type_ids_from_sequences(first, second) == encoded["token_type_ids"]
        assert bert.get_special_tokens_mask(first, second) == encoded["special_tokens_mask"]
        whole = encoded["input_ids"]
        assert bert.get_special_tokens_mask(whole, already_has_special_tokens=True) == encoded["special_tokens_mask"]
    assert bert.max_len_single_sentence == bert.model_max_length - 2
    assert bert.max_len_sentences_pair == bert.model_max_length - 3


def test_a_library_that_loses_the_overflow_is_refused(bert: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases 0.23.1 and 0.23.2 of tokenizers give no overflowing parts: a long text's rest was never read."""
    assert len(bert("a b c d e f g", truncation=True, max_length=4, return_overflowing_tokens=True)["input_ids"]) > 1

    def of_0_23_2(model: Any) -> Any:
        parts = SimpleNamespace(overflowing=[])
        return SimpleNamespace(encode=lambda text: parts, enable_truncation=lambda length, stride: None)

    library.check_keeps_overflow.cache_clear()
    monkeypatch.setattr(library, "Tokenizer", of_0_23_2)
    try:
        with pytest.raises(ImportError, match=r"pip install 'tokenizers>=0\.23\.3,<0\.24'"):
            bert("a b c d e f g", truncation=True, max_length=4, return_overflowing_tokens=True)
        bert("a b c d e f g", truncation=True, max_length=4)  # nothing else is touched
    finally:
        library.check_keeps_overflow.cache_clear()
