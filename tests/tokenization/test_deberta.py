"""DeBERTa's tokenizer: SentencePiece's ids, special tokens around them, and the way back to the text."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import string
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from random_texts import random_texts
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import Unigram, WordLevel
from vocabularies import SENTENCES, make_sentencepiece_model

from transformers import AutoTokenizer
from transformers.models.deberta_v2.tokenization_deberta_v2 import DebertaV2Tokenizer

sentencepiece = pytest.importorskip("sentencepiece")

TEXTS = random_texts(300, seed=31) + SENTENCES + ["", " ", "\u200b", "<0x41> <unk> <ctl>"]


def processor(folder: Path) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))


def around(tokenizer: DebertaV2Tokenizer, *rows: list[int]) -> list[int]:
    ids = [tokenizer.cls_token_id]
    for row in rows:
        ids += [*row, tokenizer.sep_token_id]
    return ids


@pytest.fixture
def deberta(deberta_folder: Path) -> DebertaV2Tokenizer:
    return DebertaV2Tokenizer.from_pretrained(deberta_folder)


def test_ids_are_sentencepieces_from_every_set_of_files(any_deberta_folder: Path, tmp_path: Path) -> None:
    theirs = processor(any_deberta_folder)
    tokenizer = AutoTokenizer.from_pretrained(any_deberta_folder)
    assert type(tokenizer) is DebertaV2Tokenizer
    tokenizer.save_pretrained(tmp_path / "both")
    assert (tmp_path / "both" / "spm.model").read_bytes() == (any_deberta_folder / "spm.model").read_bytes()
    places = ["both"]
    if "user-defined" not in any_deberta_folder.name:  # which pieces are, a tokenizer.json cannot say
        shutil.copytree(tmp_path / "both", tmp_path / "json")
        (tmp_path / "json" / "spm.model").unlink()
        places.append("json")
    expected = [around(tokenizer, theirs.encode(text)) for text in TEXTS]
    assert tokenizer(TEXTS)["input_ids"] == expected
    for place in places:
        loaded = AutoTokenizer.from_pretrained(tmp_path / place)
        assert type(loaded) is DebertaV2Tokenizer
        assert loaded(TEXTS)["input_ids"] == expected
        assert len(loaded) == len(tokenizer)
        assert loaded.special_tokens_map == tokenizer.special_tokens_map


def test_special_tokens_are_the_models_or_follow_its_pieces(any_deberta_folder: Path) -> None:
    theirs = processor(any_deberta_folder)
    tokenizer = DebertaV2Tokenizer.from_pretrained(any_deberta_folder)
    pieces = [theirs.id_to_piece(number) for number in range(len(theirs))]
    missing = [token for token in ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]") if token not in pieces]
    expected = {**{piece: number for number, piece in enumerate(pieces)}}
    expected |= {token: len(pieces) + number for number, token in enumerate(missing)}
    for role in ("cls", "sep", "unk", "pad", "mask"):
        assert getattr(tokenizer, f"{role}_token_id") == expected[getattr(tokenizer, f"{role}_token")]
    assert tokenizer.mask_token_id == len(tokenizer) - 1
    assert tokenizer.vocab_size == len(pieces)


def test_pairs_types_and_parts_between_special_tokens(deberta: DebertaV2Tokenizer, deberta_folder: Path) -> None:
    encode = processor(deberta_folder).encode
    pair = deberta("a text", "and ﬁne", return_special_tokens_mask=True)
    first, second = encode("a text"), encode("and ﬁne")
    assert pair["input_ids"] == around(deberta, first, second)
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert pair["special_tokens_mask"] == deberta.get_special_tokens_mask(first, second)
    assert deberta.build_inputs_with_special_tokens(first, second) == pair["input_ids"]
    assert deberta.create_token_type_ids_from_sequences(first, second) == pair["token_type_ids"]
    marked = deberta("a [MASK]text[SEP] x", add_special_tokens=False)["input_ids"]
    assert marked == [*encode("a "), deberta.mask_token_id, *encode("text"), deberta.sep_token_id, *encode(" x")]
    split = deberta("a [MASK]text", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert split == encode("a [MASK]text")
    words = deberta(["a", "", "ﬁne"], is_split_into_words=True, add_special_tokens=False)
    assert words["input_ids"] == [*encode("a"), *encode("ﬁne")]
    assert set(words.word_ids()) == {0, 2}


def cut_at_punctuation(text: str) -> list[str]:
    """Split punctuation off, character by character, as BERT's basic tokenizer defines it."""
    parts: list[list[str]] = []
    inside = False
    for character in text:
        if character in string.punctuation or unicodedata.category(character).startswith("P"):
            parts.append([character])
            inside = False
        elif inside:
            parts[-1].append(character)
        else:
            parts.append([character])
            inside = True
    return ["".join(part) for part in parts]


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_v2_lowers_and_splits_at_punctuation(lower: bool, split: bool, byte_folder: Path, tmp_path: Path) -> None:
    encode = processor(byte_folder).encode
    switches = {"do_lower_case": lower, "split_by_punct": split}
    tokenizer = AutoTokenizer.from_pretrained(byte_folder, **switches)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "spm.model").unlink()
    from_json = DebertaV2Tokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, "Hello, WORLD… «ΣΊΣΥΦΟΣ» İstanbul_x $5", "...!?"]
    for text in texts:
        cased = text.lower() if lower else text
        parts = cut_at_punctuation(cased) if split else [cased]
        expected = around(tokenizer, [number for part in parts for number in encode(part)])
        assert tokenizer.encode(text) == expected
        assert loaded.encode(text) == expected
        assert from_json.encode(text) == expected
    assert (from_json.do_lower_case, from_json.split_by_punct) == (lower, split)


@pytest.mark.parametrize("switches", [{}, {"do_lower_case": True, "split_by_punct": True}])
@pytest.mark.parametrize("folder", ["deberta_folder", "byte_folder"])
def test_positions_lead_to_the_text(folder: str, switches: dict[str, bool], request: pytest.FixtureRequest) -> None:
    tokenizer = DebertaV2Tokenizer.from_pretrained(request.getfixturevalue(folder), **switches)
    normalize = tokenizer._unigram.normalizer.normalize
    texts = [*random_texts(100, seed=32), *SENTENCES, "İİ [MASK] ﬁ, x", "a[CLS]b"]
    batch = tokenizer(texts, return_offsets_mapping=True)
    for row, text in enumerate(texts):
        offsets = batch["offset_mapping"][row][1:-1]
        assert offsets == sorted(offsets)
        last_word = -1
        for index, (start, end) in enumerate(offsets, start=1):
            assert 0 <= start < end <= len(text)
            token = batch.tokens(row)[index]
            # The form of a lower-case sigma depends on what follows it, which is not part of the piece.
            fold = str.casefold if switches else str
            source = fold(text[start:end])
            if not token.startswith(("<0x", "[")):
                piece = fold(token.replace("\u2581", ""))
                assert piece in fold(normalize(source)).replace("\u2581", "") or piece in source
            word = batch.word_ids(row)[index]
            assert word in (last_word, last_word + 1)
            last_word = word
            found = batch.char_to_token(row, end - 1)
            assert offsets[found - 1][0] <= end - 1 < offsets[found - 1][1]
            assert batch.token_to_chars(row, index) == (start, end)
            tokens = batch.word_to_tokens(row, word)
            assert tokens.start <= index < tokens.end
            assert batch.word_to_chars(row, word).start <= start
            assert batch.char_to_word(row, start) == batch.word_ids(row)[batch.char_to_token(row, start)]
        assert batch.sequence_ids(row) == [None, *[0] * len(offsets), None]
        assert batch.token_to_chars(row, 0) is None
        assert batch.token_to_word(row, -1) is None


def test_truncation_overflow_and_padding(deberta: DebertaV2Tokenizer) -> None:
    full = deberta(SENTENCES, add_special_tokens=False, return_offsets_mapping=True)
    options = {"truncation": True, "max_length": 12, "stride": 3, "return_overflowing_tokens": True}
    rows = deberta(SENTENCES, padding="max_length", return_offsets_mapping=True, **options)
    for row, index in enumerate(rows["overflow_to_sample_mapping"]):
        assert len(rows["input_ids"][row]) == 12
        places = [place for place, sequence in enumerate(rows.sequence_ids(row)) if sequence == 0]
        ids = [rows["input_ids"][row][place] for place in places]
        offsets = [rows["offset_mapping"][row][place] for place in places]
        begin = full["offset_mapping"][index].index(offsets[0])
        assert full["input_ids"][index][begin : begin + len(ids)] == ids
        assert full["offset_mapping"][index][begin : begin + len(ids)] == offsets
        padding = [place for place, mask in enumerate(rows["attention_mask"][row]) if mask == 0]
        assert all(rows["input_ids"][row][place] == deberta.pad_token_id for place in padding)
        assert all(rows.tokens(row)[place] == "[PAD]" for place in padding)
    pair = deberta(SENTENCES[0], SENTENCES[1], truncation="only_second", max_length=40, padding=True)
    assert len(pair["input_ids"]) == 40
    with pytest.raises(ValueError, match="cannot be cut to 5 tokens"):
        deberta(SENTENCES[0], SENTENCES[1], truncation="only_first", max_length=5)
    left = deberta(["a", SENTENCES[0]], padding=True, padding_side="left", return_tensors="pt")
    assert left["input_ids"][0, 0] == deberta.pad_token_id


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize(
    "padding",
    [{}, {"padding": True}, {"padding": "longest", "pad_to_multiple_of": 7}, {"padding": "max_length"}],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_that_need_no_cutting_are_those_of_the_library(
    deberta: DebertaV2Tokenizer, special: bool, padding: dict[str, Any], side: str
) -> None:
    """Where what is cut off is asked for the library makes all rows; the first of each text is the same row."""
    first, second = ["", "a b", *SENTENCES[:4]], ["x", "", *SENTENCES[3:7]]
    for texts in ((first,), (first, second)):
        for length in (28, 56, 203):
            options = {"truncation": True, "max_length": length, "padding_side": side, "add_special_tokens": special}
            options |= {**padding, "return_special_tokens_mask": True, "return_offsets_mapping": True}
            found = deberta(*texts, **options)
            whole = deberta(*texts, **options, return_overflowing_tokens=True)
            rows = [whole["overflow_to_sample_mapping"].index(index) for index in range(len(first))]
            for name, values in found.items():
                assert values == [whole[name][row] for row in rows], (name, length)
            for index, row in enumerate(rows):
                for name in ("tokens", "offsets", "sequence_ids", "word_ids", "n_sequences"):
                    assert getattr(found[index], name) == getattr(whole[row], name), (name, length)
                assert len(found[index]) == len(whole[row])


def test_decoding_is_sentencepieces(any_deberta_folder: Path) -> None:
    theirs = processor(any_deberta_folder)
    tokenizer = DebertaV2Tokenizer.from_pretrained(any_deberta_folder)
    compared = 0
    for text in [*random_texts(500, seed=33), *SENTENCES]:
        ids = theirs.encode(text)
        if theirs.unk_id() not in ids:
            assert tokenizer.decode(around(tokenizer, ids), skip_special_tokens=True) == theirs.decode(ids)
            compared += 1
    assert compared > 20


def test_tokens_show_pieces_and_unknown_text(deberta: DebertaV2Tokenizer, deberta_folder: Path) -> None:
    theirs = processor(deberta_folder)
    for text in [*random_texts(200, seed=34), *SENTENCES]:
        assert deberta.tokenize(text) == theirs.encode(text, out_type=str)
    assert deberta.convert_tokens_to_ids(deberta.tokenize("the cat")) == theirs.encode("the cat")


def test_added_tokens_are_found_and_saved(deberta: DebertaV2Tokenizer, deberta_folder: Path, tmp_path: Path) -> None:
    encode = processor(deberta_folder).encode
    assert deberta.add_tokens(["<e1>"]) == 1
    assert deberta.add_special_tokens({"additional_special_tokens": ["<e2>"], "cls_token": "<start>"}) == 2
    new = {token: deberta.convert_tokens_to_ids(token) for token in ("<e1>", "<e2>", "<start>")}
    expected = [new["<start>"], *encode("a"), new["<e1>"], *encode("b"), new["<e2>"], deberta.sep_token_id]
    deberta.save_pretrained(tmp_path)
    for tokenizer in (deberta, AutoTokenizer.from_pretrained(tmp_path), pickle.loads(pickle.dumps(deberta))):
        assert tokenizer.encode("a<e1>b<e2>") == expected
        assert len(tokenizer) == len(encode.__self__) + 4


def test_a_call_leaves_the_tokenizer_as_it_was(deberta: DebertaV2Tokenizer) -> None:
    before = pickle.dumps(deberta)
    batch = deberta([*TEXTS[:50], "[MASK]"], truncation=True, max_length=7, padding=True, split_special_tokens=True)
    assert pickle.dumps(deberta) == before
    copy = pickle.loads(before)
    assert copy(TEXTS).data == deberta(TEXTS).data
    again = pickle.loads(pickle.dumps(batch))
    assert again.data == batch.data
    assert again.tokens(3) == batch.tokens(3)
    assert again.word_ids(3) == batch.word_ids(3)
    assert again[3].offsets == batch[3].offsets


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"text": ["a", 3]}, TypeError, "Text 1 is 3 .int.; a str was expected"),
        ({"text": "a", "text_pair": 3}, TypeError, "part 2 of the pair, is 3"),
        ({"text": ["a", "x\udfff"]}, ValueError, "Text 1 holds .* at character 1: half of a surrogate"),
        ({"text": [["a"], ["b", None]], "is_split_into_words": True}, TypeError, r"Text 1 \(word 1\) is None"),
        ({"text": ["a", "b"], "text_pair": ["c"]}, ValueError, "holds 2 texts and `text_pair` 1"),
        ({"text": "a", "truncation": True, "max_length": 1}, ValueError, "max_length is 1, but the special tokens"),
    ],
)
def test_what_makes_no_sense_is_said(deberta: DebertaV2Tokenizer, arguments: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        deberta(**arguments)


def test_files_that_do_not_belong_together(deberta: DebertaV2Tokenizer, tmp_path: Path) -> None:
    deberta.save_pretrained(tmp_path)
    make_sentencepiece_model(tmp_path, size=400)
    with pytest.raises(ValueError, match="they do not belong together"):
        AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "spm.model").write_bytes((tmp_path / "spm.model").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"spm.model' is not a whole SentencePiece model"):
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="neither was given"):
        DebertaV2Tokenizer()


def test_a_tokenizer_json_of_another_make_is_used_as_it_is(deberta: DebertaV2Tokenizer, tmp_path: Path) -> None:
    deberta.save_pretrained(tmp_path, legacy_format=False)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "NFC"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.encode("The cat") == deberta.encode("The cat")
    assert loaded.encode("ﬁ") == [
        loaded.cls_token_id,
        *loaded.backend_tokenizer.encode("ﬁ").ids[1:-1],
        loaded.sep_token_id,
    ]
    assert loaded.encode("ﬁ") != deberta.encode("ﬁ")


@pytest.mark.parametrize("unk_piece", ["<unk>", "[UNK]", "??"])
def test_unknown_text_has_one_id_whatever_the_piece_is_called(unk_piece: str, tmp_path: Path) -> None:
    folder = make_sentencepiece_model(tmp_path / "model", size=300, unk_piece=unk_piece)
    tokenizer = DebertaV2Tokenizer.from_pretrained(folder)
    text = "hello \u9f98 there \U0001f9a9"
    expected = processor(folder).encode(text)
    tokenizer.save_pretrained(tmp_path / "saved")
    for one in (tokenizer, DebertaV2Tokenizer.from_pretrained(tmp_path / "saved")):
        assert one.encode(text, add_special_tokens=False) == expected
        assert one.convert_tokens_to_ids(one.tokenize(text)) == expected
        assert one.convert_tokens_to_ids("no such piece") == processor(folder).unk_id()


def splits(tokenizer: DebertaV2Tokenizer) -> bool:
    """Say whether the library's object can split texts already."""
    return isinstance(tokenizer._tokenizer.model, Unigram)


def use(tokenizer: DebertaV2Tokenizer) -> list[Any]:
    """Do what needs no splitting by the library, with tokens that are new."""
    tokenizer.add_tokens(["<e1>", AddedToken("the", single_word=True), " rstrip"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e2>"], "cls_token": "<start>"})
    ids = tokenizer([*SENTENCES, "a<e1>the <e2> b"], padding=True, truncation=True, max_length=20)["input_ids"]
    texts = [tokenizer.batch_decode(ids, skip_special_tokens=skip) for skip in (False, True)]
    names = [tokenizer.convert_ids_to_tokens(list(range(len(tokenizer) + 2))), tokenizer.get_vocab()]
    row = tokenizer.build_inputs_with_special_tokens([5, 6], [7])
    return [ids, texts, names, row, tokenizer.added_tokens_decoder, tokenizer.convert_tokens_to_ids("no such")]


def test_the_library_gets_the_pieces_when_it_is_asked_for(any_deberta_folder: Path, tmp_path: Path) -> None:
    early, late = (DebertaV2Tokenizer.from_pretrained(any_deberta_folder) for _ in range(2))
    backend = early.backend_tokenizer
    assert splits(early)
    assert use(late) == use(early)
    assert not splits(late)
    assert late.backend_tokenizer.to_str() == backend.to_str()
    assert early.backend_tokenizer is backend
    late.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_text() == backend.to_str(pretty=True)
    model = late._unigram.model
    pieces = [list(piece) for piece in zip(model.pieces, model.scores, strict=True)]
    assert json.loads(backend.to_str())["model"]["vocab"] == pieces
    assert [late.backend_tokenizer.encode(text).ids for text in TEXTS] == [backend.encode(text).ids for text in TEXTS]


def test_copies_and_hashes_do_not_depend_on_what_was_asked_for(deberta_folder: Path) -> None:
    hasher = pytest.importorskip("datasets").fingerprint.Hasher
    early, late = (DebertaV2Tokenizer.from_pretrained(deberta_folder) for _ in range(2))
    early.backend_tokenizer.to_str()
    assert hasher.hash(late) == hasher.hash(early)
    fresh = DebertaV2Tokenizer.from_pretrained(deberta_folder)
    assert pickle.dumps(fresh) == pickle.dumps(early)
    assert splits(fresh)  # a copy is whole
    for copied in (copy.deepcopy, copy.copy, lambda one: pickle.loads(pickle.dumps(one))):
        asked, original = (DebertaV2Tokenizer.from_pretrained(deberta_folder) for _ in range(2))
        asked.backend_tokenizer.to_str()
        expected, found = copied(asked), copied(original)
        assert use(found) == use(expected)
        assert found.backend_tokenizer.to_str() == expected.backend_tokenizer.to_str()
        # A shallow copy shares the object, as always; the others have their own.
        assert (found.backend_tokenizer is original.backend_tokenizer) == (copied is copy.copy)
        assert (len(original) == len(found)) == (copied is copy.copy)


def test_several_threads_ask_for_the_library(deberta_folder: Path) -> None:
    expected = DebertaV2Tokenizer.from_pretrained(deberta_folder)
    ids = expected(SENTENCES)["input_ids"]
    texts = expected.batch_decode(ids)

    def work(tokenizer: DebertaV2Tokenizer, number: int) -> Any:
        if number % 2:
            return tokenizer.backend_tokenizer
        for _ in range(20):
            found = tokenizer(SENTENCES)["input_ids"]
            assert (found, tokenizer.batch_decode(found)) == (ids, texts)
        return tokenizer.backend_tokenizer

    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            tokenizer = DebertaV2Tokenizer.from_pretrained(deberta_folder)
            backends = list(pool.map(partial(work, tokenizer), range(16)))
            assert all(backend is backends[0] for backend in backends)
            assert backends[0].to_str() == expected.backend_tokenizer.to_str()


def test_a_token_level_object_beside_spm_model_is_left_as_it_is(deberta_folder: Path, tmp_path: Path) -> None:
    """A ``tokenizer.json`` of another make that has as many tokens is not given other pieces."""
    pieces = DebertaV2Tokenizer.from_pretrained(deberta_folder)._unigram.model.pieces
    given = Tokenizer(WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer = DebertaV2Tokenizer(deberta_folder / "spm.model", tokenizer_object=given)
    assert isinstance(tokenizer.backend_tokenizer.model, WordLevel)
    assert tokenizer.encode("the cat")[1:-1] == processor(deberta_folder).encode("the cat")
