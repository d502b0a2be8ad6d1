"""Rows made of ids and tokens, as 4.4.2's tokenizers in Python make them, and the arguments of its older scripts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from vocabularies import SENTENCES

from transformers import BertTokenizer, DebertaV2Tokenizer, PreTrainedTokenizerFast, RobertaTokenizer

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
IDS = st.lists(st.integers(5, 40), max_size=12)
A, B = SENTENCES[:2]


@pytest.fixture(params=["roberta", "bert", "deberta", "generic"])
def tokenizer(request: pytest.FixtureRequest, roberta: Any, bert: Any, deberta_folder: Path) -> Any:
    """Give a tokenizer of each kind in turn."""
    if request.param == "deberta":
        return DebertaV2Tokenizer.from_pretrained(deberta_folder)
    if request.param == "generic":
        return PreTrainedTokenizerFast(tokenizer_object=bert.backend_tokenizer, **bert.special_tokens_map)
    return {"roberta": roberta, "bert": bert}[request.param]


@pytest.mark.parametrize("pair", [None, B])
def test_text_tokens_and_ids_give_the_same_row(tokenizer: Any, pair: str | None) -> None:
    expected = tokenizer(A, pair, return_special_tokens_mask=True)
    tokens = [None if text is None else tokenizer.tokenize(text) for text in (A, pair)]
    ids = [None if row is None else tokenizer.convert_tokens_to_ids(row) for row in tokens]
    for given_ in (tokens, ids, (ids[0], pair), (A, pair)):
        assert dict(tokenizer.encode_plus(*given_, return_special_tokens_mask=True)) == dict(expected)
        assert tokenizer.encode(*given_) == expected["input_ids"]
    assert tokenizer.encode(ids[0], add_special_tokens=False) == ids[0]
    assert dict(tokenizer.prepare_for_model(*ids, return_special_tokens_mask=True)) == dict(expected)


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_are_cut_and_padded_as_texts_are(tokenizer: Any, strategy: str, side: str) -> None:
    tokenizer.padding_side = tokenizer.truncation_side = side
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in (A, B)]
    longest = len(tokenizer(A, B)["input_ids"])
    for length in (longest - 2, longest + 3):
        options = {"truncation": strategy, "padding": "max_length", "max_length": length, "return_tensors": "pt"}
        options["return_special_tokens_mask"] = True
        expected = tokenizer(A, B, **options)
        found = tokenizer.encode_plus(*ids, **options)
        assert found.keys() == expected.keys()
        for name in expected:
            assert torch.equal(found[name], expected[name])
            assert found[name].shape == (1, length)


@pytest.mark.parametrize("pair", [None, [], [9, 8]])
def test_special_tokens_around_any_ids(tokenizer: Any, pair: list[int] | None) -> None:
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    between = [sep, sep] if isinstance(tokenizer, RobertaTokenizer) else [sep]
    for first in ([], [5, cls, 10**9]):
        row = [cls, *first, sep] if pair is None else [cls, *first, *between, *pair, sep]
        types = [0] * len(row)
        if pair is not None and not isinstance(tokenizer, RobertaTokenizer):
            types = [0] * (len(first) + 2) + [1] * (len(pair) + 1)
        assert tokenizer.build_inputs_with_special_tokens(first, pair) == row
        assert tokenizer.create_token_type_ids_from_sequences(first, pair) == types
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    assert bare.build_inputs_with_special_tokens([5, 6], pair) == [5, 6, *(pair or [])]


@QUIET
@given(first=IDS, second=IDS, count=st.integers(0, 24))
def test_longest_first_leaves_texts_of_like_length(bert: BertTokenizer, first: Any, second: Any, count: int) -> None:
    count = min(count, len(first) + len(second))
    kept_first, kept_second, removed = bert.truncate_sequences(first, second, count)
    assert kept_second is not None
    assert (kept_first, kept_second) == (first[: len(kept_first)], second[: len(kept_second)])
    assert len(kept_first) + len(kept_second) == len(first) + len(second) - count
    shorter_before = min(len(first), len(second))
    if min(len(kept_first), len(kept_second)) < shorter_before:
        assert len(kept_first) - len(kept_second) in (0, 1)
    assert removed == []


@QUIET
@given(ids=IDS, count=st.integers(0, 12), stride=st.integers(0, 4), side=st.sampled_from(["right", "left"]))
def test_what_is_cut_off_is_given(bert: BertTokenizer, ids: Any, count: int, stride: int, side: str) -> None:
    bert.truncation_side = side
    count = min(count, len(ids))
    kept, pair, removed = bert.truncate_sequences(ids, None, count, "longest_first", stride)
    assert pair is None
    assert len(kept) == len(ids) - count
    shared = min(stride, len(kept)) if count else 0
    whole = kept + removed[shared:] if side == "right" else removed[: len(removed) - shared] + kept
    assert whole == ids
    assert bert.truncate_sequences([7], ids, count, "only_second", stride) == ([7], kept, removed)


def test_overflow_of_ids_is_in_the_row(bert: BertTokenizer) -> None:
    ids = bert.encode(A, add_special_tokens=False)
    row = bert.prepare_for_model(
        ids, truncation=True, max_length=6, stride=1, return_overflowing_tokens=True, return_length=True
    )
    assert row["input_ids"] == [bert.cls_token_id, *ids[:4], bert.sep_token_id]
    assert row["overflowing_tokens"] == ids[3:]
    assert (row["num_truncated_tokens"], row["length"]) == (len(ids) - 4, 6)


def test_lists_that_make_no_sense(bert: BertTokenizer) -> None:
    with pytest.raises(ValueError, match=r"is a text and no token.*call the tokenizer itself"):
        bert.encode(SENTENCES)
    for mixed in (["a", None], [5, "a"], ["a", 5]):
        with pytest.raises(TypeError, match="a list of tokens, or one of ids, was expected"):
            bert.encode(mixed)
    assert bert.encode([], [5]) == bert.build_inputs_with_special_tokens([], [5])
    with pytest.raises(ValueError, match="3 tokens are to be removed from a text of 2"):
        bert.truncate_sequences([5, 6], [7, 8, 9], 3, "only_first")
    with pytest.raises(ValueError, match="for an offset_mapping"):
        bert.encode_plus([5, 6], return_offsets_mapping=True)
    with pytest.raises(ValueError, match="are to be removed"):
        bert.prepare_for_model([5, 6], truncation=True, max_length=1)
    assert len(bert(["a", "b"])["input_ids"]) == 2  # a batch, where the tokenizer itself is called
    assert bert.encode(["a", "b"], is_split_into_words=True) == bert.encode("a b")


def test_no_ids_are_a_row_of_special_tokens(tokenizer: Any) -> None:
    assert tokenizer.encode([]) == tokenizer.build_inputs_with_special_tokens([])
    assert tokenizer.encode([], add_special_tokens=False) == []
    row = tokenizer.encode_plus([], return_tensors="pt")
    assert row["input_ids"].shape == row["attention_mask"].shape == (1, tokenizer.num_special_tokens_to_add())
    assert tokenizer.encode("a", []) == tokenizer.build_inputs_with_special_tokens(
        tokenizer.encode("a", add_special_tokens=False), []
    )
    assert tokenizer([])["input_ids"] == []  # a batch without rows, where the tokenizer itself is called


def test_arguments_are_counted_as_python_does(bert: BertTokenizer) -> None:
    assert bert.encode_plus([5, 6], None, False, "max_length", None, 4)["input_ids"] == [5, 6, 0, 0]
    with pytest.raises(TypeError, match="too many positional arguments"):
        bert.encode_plus([5, 6], None, *[None] * 16)
    with pytest.raises(TypeError, match="multiple values for argument 'add_special_tokens'"):
        bert.encode_plus([5, 6], None, False, add_special_tokens=True)


def test_the_old_arguments_of_length(tokenizer: Any) -> None:
    for length in (5, 60):
        new = tokenizer(A, truncation=True, padding="max_length", max_length=length)
        with pytest.warns(FutureWarning, match="padding='max_length'"):
            old = tokenizer.encode_plus(A, max_length=length, pad_to_max_length=True)
        assert dict(old) == dict(new)
    with pytest.warns(FutureWarning, match="pad_to_max_length"):
        assert dict(tokenizer.batch_encode_plus([A, "a"], pad_to_max_length=True)) == dict(
            tokenizer([A, "a"], padding=True)
        )
    with pytest.warns(FutureWarning, match="truncation='only_second'"):
        old = tokenizer(A, B, max_length=len(tokenizer(A, B)["input_ids"]) - 2, truncation_strategy="only_second")
    assert dict(old) == dict(tokenizer(A, B, max_length=len(old["input_ids"]), truncation="only_second"))
    with pytest.warns(FutureWarning):
        old = tokenizer(A, B, max_length=9, truncation=True, truncation_strategy="only_second")
    assert dict(old) == dict(tokenizer(A, B, max_length=9, truncation=True))  # what is asked for today counts
    with pytest.warns(FutureWarning, match="truncation='only_first'"):
        ids = tokenizer.encode(
            tokenizer.encode(A, add_special_tokens=False), max_length=5, truncation_strategy="only_first"
        )
    assert len(ids) == 5


def test_a_space_in_front_for_one_call(roberta: RobertaTokenizer, roberta_folder: Path) -> None:
    spaced = RobertaTokenizer.from_pretrained(roberta_folder, add_prefix_space=True)
    before = pickle.dumps(roberta)
    for text in (A, f"the {roberta.mask_token} cat", " spaced", ""):
        assert roberta.tokenize(text, add_prefix_space=True) == spaced.tokenize(text)
        given_ = roberta(text, add_prefix_space=True, return_offsets_mapping=True)
        assert dict(given_) == dict(spaced(text, return_offsets_mapping=True))
    assert roberta.tokenize("the", add_prefix_space=True) != roberta.tokenize("the")
    assert pickle.dumps(roberta) == before


def test_attributes_of_4_4_2s_tokenizers_in_python(tokenizer: Any) -> None:
    assert type(tokenizer).model_input_names == tokenizer.model_input_names
    assert isinstance(type(tokenizer).model_input_names, list)
    assert tokenizer.encoder == tokenizer.get_vocab()
    token = tokenizer._tokenize(A)[0]
    assert tokenizer._convert_id_to_token(tokenizer._convert_token_to_id(token)) == token
    tokenizer.max_len_single_sentence = 30
    assert tokenizer.model_max_length == 32
    tokenizer.max_len_sentences_pair = 30
    assert tokenizer.model_max_length == 30 + tokenizer.num_special_tokens_to_add(pair=True)
