"""Files of tokenizers that are damaged, or made to do harm: refused in one line, or read as they say."""

from __future__ import annotations

import base64
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vocabularies import make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from transformers import AutoTokenizer, BertTokenizer, DebertaV2Tokenizer, RobertaTokenizer
from transformers.tokenization.sentencepiece.character_map import CharacterMap
from transformers.tokenization.sentencepiece.reader import read_sentencepiece_model


@pytest.fixture
def folder(tmp_path: Path, roberta_folder: Path) -> Path:
    return shutil.copytree(roberta_folder, tmp_path / "tokenizer")


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    """Change what a JSON file holds; a new one begins empty."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_an_id_beyond_the_vocabulary_is_refused(folder: Path) -> None:
    size = len(json.loads((folder / "vocab.json").read_text()))
    for number in (4_000_000_000, 2**31 - 1, size, -1, 1.5, "7", None, True):
        rewrite(folder / "vocab.json", lambda vocab, number=number: vocab.update({"a": number}))
        with pytest.raises(ValueError, match=r"vocab\.json': .*a.* is "):
            RobertaTokenizer.from_pretrained(folder)
    rewrite(folder / "vocab.json", lambda vocab: vocab.update({"a": vocab["b"]}))
    with pytest.raises(ValueError, match=r"vocab\.json': 'a' and 'b' have the same id|'b' and 'a' have the same id"):
        RobertaTokenizer.from_pretrained(folder)
    with pytest.raises(ValueError, match="the id of 'b' is 7, beyond the vocabulary"):
        RobertaTokenizer(vocab={"a": 0, "b": 7}, merges=[])


KINDS = [(make_roberta_vocabulary, True), (make_bert_vocabulary, True), (make_sentencepiece_model, False)]


@pytest.mark.parametrize(("make", "is_table"), KINDS)
def test_ids_in_tokenizer_json(make: Callable[[Path], Path], is_table: bool, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(make(tmp_path)).save_pretrained(tmp_path, legacy_format=False)
    path = tmp_path / "tokenizer.json"
    whole = path.read_text(encoding="utf-8")

    def vocabulary(content: Any) -> None:
        content["model"]["vocab"]["new"] = 4_000_000_000

    def added(content: Any) -> None:
        content["added_tokens"][0]["id"] = 2_000_000_000

    def unknown(content: Any) -> None:
        content["model"]["unk_id"] = 10**6

    for change in (added, vocabulary if is_table else unknown):
        path.write_text(whole, encoding="utf-8")
        rewrite(path, change)
        with pytest.raises(ValueError, match=r"tokenizer\.json' is not a tokenizer\.json: .*(beyond|4000000000)"):
            AutoTokenizer.from_pretrained(tmp_path)


def test_an_added_token_has_the_id_that_tokenizer_json_says(folder: Path) -> None:
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder, legacy_format=False)

    def two(content: Any) -> None:
        size = len(content["model"]["vocab"])
        flags = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
        content["added_tokens"] += [
            {"id": size + 1, "content": "<x>", **flags},
            {"id": size, "content": "<y>", **flags},
        ]

    rewrite(folder / "tokenizer.json", two)
    with pytest.raises(ValueError, match=r"added token '<.>' has id .* it gets .*do not belong together|beyond"):
        AutoTokenizer.from_pretrained(folder)


def test_a_merge_whose_token_is_not_there(folder: Path) -> None:
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    first, second = merges[1].split()
    merged = first + second
    whole = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    for lacking in (merged, first):
        names = [name for name in whole if name != lacking]
        (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
        with pytest.raises(ValueError, match=r"merge 1.* needs the token .*which the vocabulary lacks"):
            RobertaTokenizer.from_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(whole))
    for line in ("a", "a b c", "a  b", " a", ""):
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", line, merges[1]]) + "\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"merges\.txt', line 2 is .*two tokens with a space between"):
            RobertaTokenizer.from_pretrained(folder)


SETTINGS = [
    ("tokenizer_config.json", "tokenizer_class", 5),
    ("tokenizer_config.json", "model_max_length", []),
    ("tokenizer_config.json", "model_max_length", -1),
    ("tokenizer_config.json", "padding_side", "up"),
    ("tokenizer_config.json", "pad_token", 5),
    ("tokenizer_config.json", "pad_token", {"content": 5}),
    ("tokenizer_config.json", "model_input_names", "input_ids"),
    ("tokenizer_config.json", "added_tokens_decoder", {"one": {"content": "x"}}),
    ("tokenizer_config.json", "added_tokens_decoder", {"0": "x"}),
    ("tokenizer_config.json", "additional_special_tokens", [5]),
    ("tokenizer_config.json", "add_prefix_space", "yes"),
    ("special_tokens_map.json", "mask_token", ["<mask>"]),
    ("special_tokens_map.json", "additional_special_tokens", "<a>"),
    ("added_tokens.json", "<a>", "7"),
    ("added_tokens.json", "<a>", 4_000_000_000),
    ("added_tokens.json", "<a>", None),
    ("config.json", "tokenizer_class", 5),
    ("config.json", "model_type", ["roberta"]),
]


@pytest.mark.parametrize(("file", "field", "value"), SETTINGS)
def test_settings_of_another_kind(folder: Path, file: str, field: str, value: Any) -> None:
    rewrite(folder / file, lambda content: content.update({field: value}))
    with pytest.raises(ValueError, match=rf"{file}': .*{field}.* (is|has the key) .* was expected"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "file", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"]
)
def test_nesting_without_end(folder: Path, file: str) -> None:
    for text in ("[" * 100_000, '{"a": ' * 100_000):
        (folder / file).write_text(text)
        with pytest.raises(ValueError, match=rf"{file}' is nested more than 64 levels deep"):
            AutoTokenizer.from_pretrained(folder)


def test_settings_name_no_files(tmp_path: Path, deberta_folder: Path) -> None:
    outside = shutil.copy(deberta_folder / "spm.model", tmp_path / "outside.model")
    other = make_sentencepiece_model(tmp_path / "other", "identity", size=300)
    plain = DebertaV2Tokenizer.from_pretrained(other)
    for name in ("vocab", "vocab_file", "tokenizer_file", "tokenizer_object", "merges", "roles", "self", "additional"):
        rewrite(other / "tokenizer_config.json", lambda content, name=name: content.update({name: str(outside)}))
    loaded = AutoTokenizer.from_pretrained(other)
    assert loaded.get_vocab() == plain.get_vocab()
    loaded.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "spm.model").read_bytes() == (other / "spm.model").read_bytes()
    assert str(outside) not in (tmp_path / "saved" / "tokenizer_config.json").read_text()


def test_a_token_twice_in_vocab_txt(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\nthe\nfilm\nthe\n\n\n")
    with pytest.raises(ValueError, match=r"vocab\.txt' holds 'the' twice, in lines 2 and 4"):
        BertTokenizer.from_pretrained(tmp_path)


# spm.model ------------------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _piece(text: bytes, score: float = -1.0, kind: int = 1) -> bytes:
    return _field(1, _field(1, text) + _varint(2 << 3 | 5) + struct.pack("<f", score) + _field(3, kind))


def _model(*pieces: bytes, trainer: bytes = b"", normalizer: bytes = b"") -> bytes:
    unknown = _piece(b"<unk>", 0.0, 2)
    return b"".join([unknown, *pieces, _field(2, _field(3, 1) + trainer), _field(3, normalizer)])


def test_the_models_of_these_tests_are_whole(tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_bytes(_model(_piece(b"a"), _piece(b"b")))
    assert read_sentencepiece_model(tmp_path / "spm.model").pieces == ["<unk>", "a", "b"]


def test_pieces_that_look_like_something_else(tmp_path: Path) -> None:
    """Zero bytes, line feeds and lengths inside of texts and scores, and pieces of all lengths, one after another."""
    like_a_piece = struct.unpack("<f", b"\n\x08\n\x01")[0]
    texts = ["\n\t\n\x02ab", "a\0b", "x" * 118, "x" * 119, "\n\x10\n\x09", "y" * 200, "\0", "é\n", "z"]
    scores = [-1.0, like_a_piece, -2.5, like_a_piece, -0.0, 1.5, like_a_piece, -7.0, like_a_piece]
    pieces = [_piece(text.encode(), score) for text, score in zip(texts, scores, strict=True)]
    for count in range(len(texts) + 1):
        (tmp_path / "spm.model").write_bytes(_model(*pieces[:count]))
        model = read_sentencepiece_model(tmp_path / "spm.model")
        assert model.pieces == ["<unk>", *texts[:count]]
        assert model.scores == [0.0, *scores[:count]]
        assert model.kinds == [2] + [1] * count


DAMAGED = {
    "empty-piece": (_model(_piece(b"")), "piece 1 is empty"),
    "nan": (_model(_piece(b"a", float("nan"))), "the score of piece 1, 'a', is nan"),
    "infinite": (_model(_piece(b"a", float("-inf"))), "is -inf"),
    "kind": (_model(_piece(b"a", kind=77)), "the kind of piece 1, 'a', is 77"),
    "no-byte": (_model(_piece(b"a", kind=6)), "piece 1, 'a', is said to be a byte"),
    "twice": (_model(_piece(b"a"), _piece(b"a")), "a piece occurs twice"),
    "no-text": (_model(_piece(b"\xff")), "is not a whole SentencePiece model"),
    "length": (_model(_piece(b"a")) + _varint(1 << 3 | 2) + _varint(2**40), "bytes should follow byte"),
    "number": (_model() + b"\x08" + b"\xff" * 12, "does not end"),
    "bpe": (_model(trainer=_field(3, 2)), "is of type 'bpe'"),
    "map-size": (_model(normalizer=_field(2, b"\0\0\1\0" + bytes(50))), "character map is broken"),
    "map-short": (_model(normalizer=_field(2, b"x")), "character map is broken"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_sentencepiece_models(case: str, tmp_path: Path) -> None:
    content, message = DAMAGED[case]
    (tmp_path / "spm.model").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        DebertaV2Tokenizer.from_pretrained(tmp_path)
    assert str(tmp_path / "spm.model") in str(caught.value)


def _charsmap(units: list[int], texts: bytes = b"x\0") -> bytes:
    padded = units + [0] * (-len(units) % 256)
    return (4 * len(padded)).to_bytes(4, "little") + struct.pack(f"<{len(padded)}I", *padded) + texts


def _loop() -> list[int]:
    """Make a trie of 256 units that lead to each other: every node has a child for every byte, without end."""
    return [label | label << 10 for label in range(256)]


@pytest.mark.parametrize(
    "charsmap",
    [
        _charsmap([0x100 | 300 << 10]),  # a value beyond the table
        _charsmap([0x100 | 1 << 10, 1 << 31 | 5]),  # one that begins behind the replacements
        _charsmap([0x100 | 1 << 10, 1 << 31 | 1], b"xy\0"),  # one that begins within a replacement
        _charsmap([0x100 | 1 << 10, 7]),  # a key that ends at no value
        _charsmap([0x100 | 1 << 10, 1 << 31], b"\xff\0"),  # a replacement that is no text
        _charsmap([0x100 | 1 << 10, 1 << 31], b"xyz"),  # one without an end
        _charsmap(_loop()),
    ],
)
def test_damaged_character_maps(charsmap: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="character map is broken"):
        CharacterMap(charsmap).first_characters()
    (tmp_path / "spm.model").write_bytes(_model(_piece(b"a"), normalizer=_field(2, charsmap)))
    with pytest.raises(ValueError, match=r"spm\.model': .*character map is broken"):
        DebertaV2Tokenizer.from_pretrained(tmp_path)


def test_every_bit_of_a_real_character_map(tmp_path: Path, deberta_folder: Path) -> None:
    charsmap = read_sentencepiece_model(deberta_folder / "spm.model").charsmap
    refused = 0
    for place in range(4, len(charsmap), 1 + len(charsmap) // 150):
        changed = bytearray(charsmap)
        changed[place] ^= 1 << place % 8
        try:
            found = CharacterMap(bytes(changed))
            found.first_characters()
            for text in ("ﬁ é ½", "a\u0301", "\u3000"):
                found.longest_match(text, 0)
        except ValueError:
            refused += 1
    assert 0 < refused < 150


def test_a_character_map_in_tokenizer_json(tmp_path: Path, deberta_folder: Path) -> None:
    DebertaV2Tokenizer.from_pretrained(deberta_folder).save_pretrained(tmp_path, legacy_format=False)
    for written in ("????", base64.b64encode(b"x" * 40).decode(), 5, None):

        def spoil(content: Any, written: Any = written) -> None:
            step = next(s for s in content["normalizer"]["normalizers"] if s["type"] == "Precompiled")
            step["precompiled_charsmap"] = written

        rewrite(tmp_path / "tokenizer.json", spoil)
        with pytest.raises(ValueError, match=r"tokenizer\.json' is not a tokenizer\.json"):
            AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("steps", [5, "Lowercase", [5], {"type": "Lowercase"}, [["Lowercase"]]])
def test_steps_of_a_pipeline_that_are_none(tmp_path: Path, deberta_folder: Path, steps: Any) -> None:
    DebertaV2Tokenizer.from_pretrained(deberta_folder).save_pretrained(tmp_path, legacy_format=False)
    rewrite(tmp_path / "tokenizer.json", lambda content: content["normalizer"].update(normalizers=steps))
    with pytest.raises(ValueError, match=r"tokenizer\.json' is not a tokenizer\.json: normalizers"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_an_empty_piece_in_tokenizer_json(tmp_path: Path, deberta_folder: Path) -> None:
    DebertaV2Tokenizer.from_pretrained(deberta_folder).save_pretrained(tmp_path, legacy_format=False)
    rewrite(tmp_path / "tokenizer.json", lambda content: content["model"]["vocab"][7].__setitem__(0, ""))
    with pytest.raises(ValueError, match=r"vocab\[7\] is .*a piece and its score were expected"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_merge_that_lacks_the_mark_of_going_on(folder: Path) -> None:
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder, legacy_format=False)
    rewrite(folder / "tokenizer.json", lambda content: content["model"].update(continuing_subword_prefix="#" * 5_000))
    with pytest.raises(ValueError, match="merge 1 goes on with"):
        AutoTokenizer.from_pretrained(folder)
