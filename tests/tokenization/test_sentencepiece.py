"""Our SentencePiece against SentencePiece itself: reading the file, normalising, splitting."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_texts import random_texts
from vocabularies import SENTENCES, make_sentencepiece_model

from transformers.tokenization.sentencepiece.normalizer import CharacterMap
from transformers.tokenization.sentencepiece.reader import SentencePieceModel, read_sentencepiece_model
from transformers.tokenization.sentencepiece.unigram import SentencePieceUnigram

sentencepiece = pytest.importorskip("sentencepiece")

QUIET = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pair(folder: Path) -> tuple[Any, SentencePieceUnigram]:
    """Load SentencePiece's own object and ours."""
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    return theirs, SentencePieceUnigram(read_sentencepiece_model(folder / "spm.model"))


@pytest.fixture(scope="module")
def two_pairs(byte_folder: Path, deberta_folder: Path) -> list[tuple[Any, SentencePieceUnigram]]:
    return [pair(byte_folder), pair(deberta_folder)]


def hard_texts() -> list[str]:
    """List texts in which many ways of splitting are equally good, and texts that are only just texts."""
    rng = random.Random(0)
    repeats = ["".join(rng.choices("abey", k=rng.randrange(1, 60))) for _ in range(2000)]
    return [
        *(" ".join(repeats[start : start + 40]) for start in range(0, 2000, 40)),
        *("a" * length for length in (1, 17, 100, 3000)),
        *(
            "\u2581\u2581x \u2581",
            "\0a\0",
            "<s> <ctl> a<ud>b <ud><ud>",
            "foo bar foo  bar",
            "☃☃☃",
            "[CLS]<0x41><0xE2>",
        ),
        *(" ", "  a  b  ", "\u200b", "\u200b \u200b a", "e\u0301\u0301 " * 50, "\u1100\u1161\u11a8", "\ufdfa", "ﷺ x"),
    ]


def test_ids_and_normalised_text_are_sentencepieces(any_deberta_folder: Path) -> None:
    theirs, ours = pair(any_deberta_folder)
    for text in random_texts(2500, seed=21) + hard_texts() + SENTENCES:
        assert ours.normalizer.normalize(text) == theirs.normalize(text), repr(text)
        assert ours.encode(text) == theirs.encode(text), repr(text)


@QUIET
@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab e\u0301ﬁ\u3000☃\u2581"))
def test_ids_are_sentencepieces_on_any_text(two_pairs: list[Any], text: str) -> None:
    for theirs, ours in two_pairs:
        assert ours.encode(text) == theirs.encode(text)


def test_ids_of_a_very_long_text(deberta_folder: Path) -> None:
    """Beyond a sum of 100,000 SentencePiece starts again from 0."""
    theirs, ours = pair(deberta_folder)
    rng = random.Random(1)
    text = " ".join(rng.choice(["aaab", "baaa", "yyyyy", "zqxj", "☃漢字"]) for _ in range(6000))
    assert abs(sum(theirs.get_score(number) for number in theirs.encode(text))) > 100_000
    assert ours.encode(text) == theirs.encode(text)


def test_what_is_remembered_changes_nothing(deberta_folder: Path) -> None:
    _, ours = pair(deberta_folder)
    before = pickle.dumps(ours)
    texts = hard_texts()[::3]
    first = [ours.encode(text) for text in texts]
    assert [ours.encode(text) for text in texts] == first
    assert [ours.encode(text) for text in texts[::-1]] == first[::-1]
    assert pickle.dumps(ours) == before
    assert [pickle.loads(before).encode(text) for text in texts] == first


def test_ends_and_spans_cover_the_text_in_order(any_deberta_folder: Path) -> None:
    _, ours = pair(any_deberta_folder)
    for text in random_texts(300, seed=22) + SENTENCES:
        normalized, spans = ours.normalizer.normalize_with_spans(text)
        assert normalized == ours.normalizer.normalize(text)
        assert len(spans) == len(normalized)
        assert all(0 <= first <= last <= len(text) for first, last in spans)
        assert spans == sorted(spans)
        for character, (first, last) in zip(normalized, spans, strict=True):
            alone = ours.normalizer.normalize(text[first:last])
            assert character in alone or character == "\u2581"
        found = ours.segment(normalized)
        assert found.ends == sorted(found.ends)
        assert len(found.ids) == len(found.ends)
        assert found.ends[-1:] == ([len(normalized)] if normalized else [])


def test_the_file_is_read_as_protobuf_reads_it(any_deberta_folder: Path) -> None:
    protobuf = pytest.importorskip("sentencepiece.sentencepiece_model_pb2", exc_type=ImportError)
    message = protobuf.ModelProto()
    message.ParseFromString((any_deberta_folder / "spm.model").read_bytes())
    model = read_sentencepiece_model(any_deberta_folder / "spm.model")
    assert model == SentencePieceModel(
        pieces=[piece.piece for piece in message.pieces],
        scores=[piece.score for piece in message.pieces],
        kinds=[piece.type for piece in message.pieces],
        charsmap=message.normalizer_spec.precompiled_charsmap,
        add_dummy_prefix=message.normalizer_spec.add_dummy_prefix,
        remove_extra_whitespaces=message.normalizer_spec.remove_extra_whitespaces,
        escape_whitespaces=message.normalizer_spec.escape_whitespaces,
        treat_whitespace_as_suffix=message.trainer_spec.treat_whitespace_as_suffix,
        byte_fallback=message.trainer_spec.byte_fallback,
    )


def test_a_file_that_is_cut_anywhere_is_an_error(tmp_path: Path, deberta_folder: Path) -> None:
    whole = (deberta_folder / "spm.model").read_bytes()
    # What follows the normaliser's settings is not needed to encode; everything before is.
    needed = len(whole) - 64
    rng = random.Random(2)
    for length in [0, 1, 2, 10, needed, *(rng.randrange(needed) for _ in range(60))]:
        (tmp_path / "spm.model").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"spm.model' is not a whole SentencePiece model"):
            read_sentencepiece_model(tmp_path / "spm.model")


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"<!DOCTYPE html><html></html>",
        b"PK\x03\x04rubbish",
        b"\x00" * 100,
        b"hello",
        "Ünïcode".encode(),
    ],
)
def test_what_is_no_model_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spm.model").write_bytes(content)
    with pytest.raises(ValueError, match=r"spm.model' is not a whole SentencePiece model"):
        read_sentencepiece_model(tmp_path / "spm.model")


def test_damaged_bytes_are_never_another_exception(tmp_path: Path, deberta_folder: Path) -> None:
    whole = bytearray((deberta_folder / "spm.model").read_bytes())
    rng = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "spm.model").write_bytes(damaged)
        try:
            SentencePieceUnigram(read_sentencepiece_model(tmp_path / "spm.model")).encode("A text: ﬁne, é e\u0301.")
        except ValueError:
            continue


def test_other_kinds_of_models_are_an_error(tmp_path: Path) -> None:
    make_sentencepiece_model(tmp_path, model_type="bpe")
    with pytest.raises(ValueError, match="type 'bpe'; DeBERTa's are of type 'unigram'"):
        read_sentencepiece_model(tmp_path / "spm.model")


def test_a_character_map_that_is_broken_is_an_error() -> None:
    for charsmap in (b"x", b"\x00\x04\x00\x00", (2048).to_bytes(4, "little") + bytes(100)):
        with pytest.raises(ValueError, match="character map is broken"):
            CharacterMap(charsmap)
    assert CharacterMap(b"").longest_match("a", 0) is None
    assert CharacterMap(b"").first_characters() == {}
