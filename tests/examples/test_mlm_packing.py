"""From files to sequences: whatever the texts, no token is lost, and texts are parted where they end."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import SENTENCES, make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from mlm_files import Piece, read_pieces
from mlm_packing import Tokens, pack, tokenize
from mlm_sequences import Recipe, make_sequences
from transformers import AutoTokenizer
from transformers.data.whole_word_mask import NO_WORD

MAKERS = {"wordpiece": make_bert_vocabulary, "bpe": make_roberta_vocabulary, "sentencepiece": make_sentencepiece_model}
SEPARATOR = 0


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(MAKERS[request.param](tmp_path_factory.mktemp("words") / request.param))


def joined_ids(rows: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(rows))


def texts_of(pieces: list[Piece]) -> list[str]:
    """Put the pieces of each text together."""
    texts, text = [], ""
    for piece in pieces:
        text += piece.text
        if piece.ends:
            texts.append(text)
            text = ""
    assert not text, "the last text must end"
    return texts


# A text as its pieces, each of some tokens; ids are above 0, which is the separator.
DOCUMENTS = st.lists(st.lists(st.lists(st.integers(1, 9), max_size=9), min_size=1, max_size=4), max_size=8)


def as_tokens(documents: list[list[list[int]]]) -> list[Tokens]:
    found = []
    for pieces in documents:
        for number, ids in enumerate(pieces):
            words = [place // 2 for place in range(len(ids))]
            found.append(Tokens(list(ids), words, ends=number == len(pieces) - 1))
    return found


@settings(max_examples=200, deadline=None)
@given(documents=DOCUMENTS, room=st.integers(2, 12), joined=st.booleans())
def test_no_token_is_lost_and_no_sequence_too_long(documents: list[list[list[int]]], room: int, joined: bool) -> None:
    rows = list(pack(as_tokens(documents), room, SEPARATOR, joined))
    texts = [text for text in map(joined_ids, documents) if text]
    assert [token for row in rows for token in row.ids if token != SEPARATOR] == joined_ids(texts)
    for row in rows:
        assert 0 < len(row.ids) <= room
        assert len(row.words) == len(row.ids)
        assert SEPARATOR not in (row.ids[0], row.ids[-1])
        assert (SEPARATOR, SEPARATOR) not in zip(row.ids, row.ids[1:], strict=False)
        assert [word == NO_WORD for word in row.words] == [token == SEPARATOR for token in row.ids]
    if joined:
        for row, after in pairwise(rows):
            assert len(row.ids) == room or (row.ends and len(row.ids) > room - 2), "all but the last are full"
            assert after.ids
    # Where the texts are parted, by a separator or by the end of a sequence, one of them ends.
    ends = {sum(map(len, texts[: number + 1])) for number in range(len(texts))}
    passed = 0
    for row in rows:
        for token in row.ids:
            if token == SEPARATOR:
                assert joined
                assert passed in ends
            passed += token != SEPARATOR
        assert not row.ends or passed in ends
    parted = sum(row.ids.count(SEPARATOR) + row.ends for row in rows)
    full = sum(not row.ends for row in rows)
    assert len(texts) - full <= parted <= len(texts), "a border may fall together with the end of a full sequence"


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.sampled_from([*" ".join(SENTENCES).split(), "x" * 30, "(a)", "…"]), min_size=1, max_size=40),
    blanks=st.sampled_from([" ", "  ", "\t"]),
    size=st.integers(5, 60),
)
def test_a_long_text_in_pieces_has_the_tokens_of_the_whole(
    tokenizer: Any, words: list[str], blanks: str, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text(blanks.join(words) + "\n\n" + "short")
    pieces = list(read_pieces(str(path), "text", size=size))
    assert texts_of(pieces) == [blanks.join(words), "short"]
    if any(len(word) >= size - 1 for word in words):
        return  # a word that is longer than a piece is cut
    tokens = list(tokenize(pieces, tokenizer, with_words=True))
    whole = tokenizer([blanks.join(words), "short"], add_special_tokens=False, truncation=False)
    assert joined_ids(piece.ids for piece in tokens) == joined_ids(whole["input_ids"])
    [*rows] = pack(tokens, 10_000, SEPARATOR, joined=False)
    runs = [[len(list(run)) for _, run in groupby(row.words)] for row in rows]
    assert runs == [[len(list(run)) for _, run in groupby(whole.word_ids(number))] for number in range(2)]


FILES: dict[str, str] = {
    "texts.txt": "one\n\n  \ntwo two\r\nthree",
    "rows.jsonl": '{"text": "one"}\n\n{"text": " "}\n{"text": "two two"}\n{"text": "three", "id": 3}\n',
    "rows.json": '{"text": "one"}\n{"text": "two two"}\n{"text": "three"}\n',
    "table.json": '[{"text": "one"}, {"text": null}, {"text": "two two"}, {"text": "three"}]',
    "table.csv": "id;text\n1;one\n2;\n3;two two\n4;three\n",
    "table.tsv": "text\tlabel\none\t1\ntwo two\t1\nthree\t0\n",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_kind_of_file_gives_its_texts(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FILES[name].replace("one", "Zoë"), encoding=encoding, newline="")
    assert texts_of(list(read_pieces(str(path), "text"))) == ["Zoë", "two two", "three"]


def test_a_text_larger_than_the_memory_it_may_take(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    with path.open("w") as file:
        file.writelines("The film was not bad. " * 1_000 for _ in range(1_500))  # 33 MB in one line
    tracemalloc.start()
    pieces = (piece for piece in read_pieces(str(path), "text"))
    number = sum(len(piece.text) for piece in pieces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert number == path.stat().st_size
    assert peak < 12 * 2**20


def recipe(tokenizer: Any, **changes: Any) -> Recipe:
    fields: dict[str, Any] = {"file": "0", "column": None, "encoding": None, "tokenizer": tokenizer.name_or_path}
    fields |= {"length": 16, "joined": True, "with_words": False, "percentage": 0, "parted_off": False, "limit": None}
    return Recipe(**{**fields, **changes})


def test_sequences_on_the_disk_and_their_parts(tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(SENTENCES))
    rows = make_sequences(str(path), recipe(tokenizer, with_words=True), tokenizer)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    whole = joined_ids(tokenizer(SENTENCES, add_special_tokens=False)["input_ids"])
    assert [token for row in rows["input_ids"] for token in row if token not in special] == whole
    for row in rows:
        assert (row["input_ids"][0], row["input_ids"][-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert len(row["word_ids"]) == len(row["input_ids"]) <= 16
    assert make_sequences(str(path), recipe(tokenizer, with_words=True), tokenizer)[:] == rows[:]
    assert len(make_sequences(str(path), recipe(tokenizer, limit=2), tokenizer)) == 2

    each = {"joined": False, "length": 400}
    kept, parted = (
        make_sequences(str(path), recipe(tokenizer, percentage=20, parted_off=off, **each), tokenizer)["input_ids"]
        for off in (False, True)
    )
    alone = tokenizer(SENTENCES)["input_ids"]
    assert list(parted) == [alone[4], alone[9]], "every fifth text"
    assert list(kept) == [row for number, row in enumerate(alone) if number % 5 != 4]
    with pytest.raises(ValueError, match="too few texts to part 5 % of them off"):
        make_sequences(str(path), recipe(tokenizer, percentage=5, parted_off=True), tokenizer)


def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path) -> None:
    bad = {
        "a.jsonl": ('{"text": "a"}\n{"body": "b"}\n', "Line 2 of '.*' has no 'text'"),
        "b.jsonl": ('{"text": "a"}\n{"text": 3}\n', None),
        "c.jsonl": ('{"text": "a"}\n{"text": ["b"]}\n', "'text' in line 2 of '.*' is a list; a text was expected"),
        "d.jsonl": ('{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        "e.csv": ("id,sentence\n1,a\n", "has no column 'text'; its columns are id, sentence. Name .* --text_column"),
        "f.txt": ("a\0b\n", "holds zero bytes"),
    }
    for name, (content, said) in bad.items():
        path = tmp_path / name
        path.write_text(content)
        if said is None:  # a number is the text that stands there, as everywhere
            assert texts_of(list(read_pieces(str(path), "text"))) == ["a", "3"]
            continue
        with pytest.raises(ValueError, match=said):
            list(read_pieces(str(path), "text"))
    other = tmp_path / "latin.txt"
    other.write_bytes("café\n".encode("cp1252"))
    assert texts_of(list(read_pieces(str(other), "text"))) == ["café"], "what is no UTF-8 is read as Windows-1252"
    with pytest.raises(ValueError, match=r"cannot be read as utf-8 .* name its encoding with --file_encoding"):
        list(read_pieces(str(other), "text", "utf-8"))
