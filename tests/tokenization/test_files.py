"""Tokenizers as folders: classes, settings, added tokens, broken files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from random_texts import random_texts
from tokenizers import AddedToken, Tokenizer
from vocabularies import SENTENCES, make_bert_vocabulary

from transformers import AutoTokenizer, BertTokenizer, DebertaV2Tokenizer, PreTrainedTokenizerFast, RobertaTokenizer

TEXTS = random_texts(100, seed=8) + SENTENCES + ["a <mask> b</s>", "[MASK] [SEP]x"]


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, roberta_folder: Path) -> Path:
    """A copy of RoBERTa's vocabulary to change."""
    return Path(shutil.copytree(roberta_folder, tmp_path / "folder"))


@pytest.mark.parametrize("cls", [RobertaTokenizer, BertTokenizer])
def test_saved_and_loaded_it_is_the_same_from_every_set_of_files(
    cls: Any, roberta_folder: Path, bert_folder: Path, tmp_path: Path
) -> None:
    options = {"model_max_length": 77, "padding_side": "left", "truncation_side": "left"}
    first = cls.from_pretrained(roberta_folder if cls is RobertaTokenizer else bert_folder, **options)
    paths = first.save_pretrained(tmp_path / "all")
    assert all(Path(path).is_file() for path in paths)
    names = {Path(path).name for path in paths}
    assert names >= {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    for missing in ["tokenizer.json", "special_tokens_map.json", "nothing", "vocabulary"]:
        place = Path(shutil.copytree(tmp_path / "all", tmp_path / missing))
        for name in cls.vocab_files_names.values() if missing == "vocabulary" else [missing]:
            if name != "tokenizer.json" or missing == "tokenizer.json":
                (place / name).unlink(missing_ok=True)
        second = AutoTokenizer.from_pretrained(place)
        assert type(second) is cls
        assert dict(second(TEXTS, return_token_type_ids=True)) == dict(first(TEXTS, return_token_type_ids=True))
        for name in options:
            assert getattr(second, name) == options[name]
        assert second.special_tokens_map == first.special_tokens_map
        assert second.model_input_names == first.model_input_names


def test_saving_without_vocabulary_files(roberta: RobertaTokenizer, tmp_path: Path) -> None:
    roberta.save_pretrained(tmp_path, legacy_format=False)
    assert not (tmp_path / "vocab.json").exists()
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXTS).data == roberta(TEXTS).data


def test_added_tokens_and_roles_are_saved(roberta: RobertaTokenizer, tmp_path: Path) -> None:
    assert roberta.add_tokens(["tokenizer", AddedToken("Zurich", lstrip=True)]) == 2
    assert roberta.add_tokens("tokenizer") == 0
    assert roberta.add_special_tokens({"pad_token": "<fill>", "additional_special_tokens": ["<e>", "</e>"]}) == 3
    assert len(roberta) == roberta.vocab_size + 5
    roberta.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "a tokenizer in Zurich <e>x</e> <fill>"
    assert loaded.encode(text) == roberta.encode(text)
    assert loaded.pad_token_id == roberta.pad_token_id == roberta.get_added_vocab()["<fill>"]
    assert loaded.additional_special_tokens == ["<e>", "</e>"]
    assert loaded.all_special_ids == roberta.all_special_ids
    assert loaded.get_added_vocab() == roberta.get_added_vocab()
    assert loaded.decode(loaded.encode(text), skip_special_tokens=True) == "a tokenizer inZurich x "


def test_old_files_of_added_tokens_are_read(folder: Path) -> None:
    size = len(json.loads((folder / "vocab.json").read_text()))
    write_json(folder / "added_tokens.json", {"Zürich": size + 1, "tokenizer": size})
    assert AutoTokenizer.from_pretrained(folder).get_added_vocab()["Zürich"] == size + 1
    write_json(folder / "added_tokens.json", {"Zürich": size + 1})
    with pytest.raises(ValueError, match=r"'Zürich' has id .* do not belong together"):
        AutoTokenizer.from_pretrained(folder)
    (folder / "added_tokens.json").unlink()
    flags = {"content": "<e>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    decoder = {str(size): {**flags, "special": True}}
    write_json(
        folder / "tokenizer_config.json", {"added_tokens_decoder": decoder, "unk_token": {**flags, "content": "<unk>"}}
    )
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.encode("a <e>")[1:-1] == [loaded.vocab["a"], size]
    assert loaded.unk_token_id == 3


def test_mask_takes_the_space_along_and_other_flags_stay(
    roberta: RobertaTokenizer, folder: Path, tmp_path: Path
) -> None:
    assert roberta.encode("a <mask>")[1:-1] == [roberta.vocab["a"], roberta.mask_token_id]
    roberta.save_pretrained(tmp_path / "saved")
    content = json.loads((tmp_path / "saved" / "tokenizer.json").read_text())
    next(token for token in content["added_tokens"] if token["content"] == "<mask>")["lstrip"] = False
    write_json(tmp_path / "saved" / "tokenizer.json", content)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").tokenize("a <mask>") == ["a", "Ġ", "<mask>"]


def test_lengths_in_tokenizer_json_do_not_count(roberta: RobertaTokenizer, tmp_path: Path) -> None:
    roberta.save_pretrained(tmp_path)
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.enable_truncation(5)
    backend.enable_padding(length=5)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXTS).data == roberta(TEXTS).data


def test_switches_count_over_tokenizer_json_only_where_stated(bert: BertTokenizer, tmp_path: Path) -> None:
    backend = Tokenizer.from_str(bert.backend_tokenizer.to_str())
    backend.normalizer.lowercase = False
    backend.save(str(tmp_path / "tokenizer.json"))
    assert BertTokenizer.from_pretrained(tmp_path).do_lower_case is False
    assert BertTokenizer.from_pretrained(tmp_path, do_lower_case=True).tokenize("The") == ["the"]
    write_json(tmp_path / "tokenizer_config.json", {"do_lower_case": True, "strip_accents": False})
    loaded = BertTokenizer.from_pretrained(tmp_path)
    assert loaded.do_lower_case is True
    loaded.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert (config["do_lower_case"], config["strip_accents"]) == (True, False)


def test_prefix_space(roberta_folder: Path, roberta: RobertaTokenizer, tmp_path: Path) -> None:
    spaced = RobertaTokenizer.from_pretrained(roberta_folder, add_prefix_space=True)
    assert spaced.encode("the cat") == roberta.encode(" the cat") != roberta.encode("the cat")
    words = ["the", "cat"]
    assert spaced(words, is_split_into_words=True)["input_ids"] == spaced.encode("the cat")
    spaced.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).encode("the cat") == spaced.encode("the cat")
    assert AutoTokenizer.from_pretrained(tmp_path, add_prefix_space=False).encode("the cat") == roberta.encode(
        "the cat"
    )


def test_from_what_5_x_takes(roberta: RobertaTokenizer, bert: BertTokenizer, roberta_folder: Path) -> None:
    vocab = json.loads((roberta_folder / "vocab.json").read_text())
    lines = (roberta_folder / "merges.txt").read_text().splitlines()
    merges = [tuple(line.split(" ")) for line in lines if not line.startswith("#version")]
    assert RobertaTokenizer(vocab=vocab, merges=merges)(TEXTS).data == roberta(TEXTS).data
    assert (
        RobertaTokenizer(roberta_folder / "vocab.json", roberta_folder / "merges.txt")(TEXTS).data
        == roberta(TEXTS).data
    )
    assert BertTokenizer(vocab=bert.get_vocab())(TEXTS).data == bert(TEXTS).data
    generic = PreTrainedTokenizerFast(tokenizer_object=bert.backend_tokenizer, pad_token="[PAD]")
    assert generic(TEXTS, padding=True)["input_ids"] == bert(TEXTS, padding=True)["input_ids"]
    generic.add_tokens(["one more"])
    assert "one more" not in bert.get_vocab()


def auto(folder: Path, **content: Any) -> type:
    for name, value in content.items():
        write_json(folder / f"{name}.json", value)
    return type(AutoTokenizer.from_pretrained(folder))


def test_auto_decides_by_tokenizer_class_then_model_type_then_files(tmp_path: Path, roberta: RobertaTokenizer) -> None:
    # A RoBERTa-layout checkpoint with a WordPiece vocabulary: the model type fits no file that is there.
    wordpiece = make_bert_vocabulary(tmp_path / "wordpiece", model_type="roberta")
    assert auto(wordpiece) is BertTokenizer
    (wordpiece / "config.json").unlink()
    assert auto(wordpiece) is BertTokenizer
    roberta.save_pretrained(tmp_path / "roberta")
    (tmp_path / "roberta" / "tokenizer_config.json").unlink()
    assert auto(tmp_path / "roberta") is RobertaTokenizer
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "roberta" / name).unlink()
    assert auto(tmp_path / "roberta") is PreTrainedTokenizerFast
    assert auto(tmp_path / "roberta", config={"model_type": "roberta"}) is RobertaTokenizer
    assert auto(tmp_path / "roberta", config={"tokenizer_class": "PreTrainedTokenizerFast"}) is PreTrainedTokenizerFast
    assert auto(tmp_path / "roberta", tokenizer_config={"tokenizer_class": "RobertaTokenizerFast"}) is RobertaTokenizer
    assert (
        auto(tmp_path / "roberta", tokenizer_config={"tokenizer_class": "TokenizersBackend"})
        is PreTrainedTokenizerFast
    )
    assert auto(tmp_path / "roberta", tokenizer_config={"tokenizer_class": "SomeTokenizer"}) is PreTrainedTokenizerFast
    with pytest.raises(ValueError, match="has a SomeTokenizer, which is not here"):
        auto(wordpiece, tokenizer_config={"tokenizer_class": "SomeTokenizer"})
    assert type(AutoTokenizer.from_pretrained(tmp_path / "roberta", tokenizer_type="bert")) is BertTokenizer


def test_an_adapter_folder_with_the_tokenizer_beside_it(roberta: RobertaTokenizer, tmp_path: Path) -> None:
    write_json(tmp_path / "adapter_config.json", {"base_model_name_or_path": "roberta-base"})
    with pytest.raises(OSError, match="It is an adapter; load the tokenizer of its base model, 'roberta-base'"):
        AutoTokenizer.from_pretrained(tmp_path)
    roberta.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, use_fast=False, use_auth_token=None, revision="main")
    assert loaded.encode("a cat") == roberta.encode("a cat")


def test_arguments_that_are_no_settings_are_not_saved(roberta_folder: Path, tmp_path: Path) -> None:
    given = {"use_fast": True, "config": object(), "proxies": None, "trust_remote_code": False}
    RobertaTokenizer.from_pretrained(roberta_folder, **given, note="kept").save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert not saved.keys() & given.keys()
    assert saved["note"] == "kept"


def test_subfolder(roberta: RobertaTokenizer, tmp_path: Path) -> None:
    roberta.save_pretrained(tmp_path / "inside")
    assert AutoTokenizer.from_pretrained(tmp_path, subfolder="inside").encode("a") == roberta.encode("a")


def test_missing_and_broken_files_are_named(folder: Path, tmp_path: Path, roberta: RobertaTokenizer) -> None:
    with pytest.raises(OSError, match="does not exist"):
        AutoTokenizer.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match=r"holds no files of a .*tokenizer.json"):
        AutoTokenizer.from_pretrained(tmp_path / "empty")
    with pytest.raises(OSError, match="is a file"):
        roberta.save_pretrained(folder / "vocab.json")
    with pytest.raises(TypeError, match=r"AutoTokenizer.from_pretrained"):
        AutoTokenizer()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json' is not a tokenizer.json"):
        AutoTokenizer.from_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer_config.json' is not a JSON file"):
        AutoTokenizer.from_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "merges.txt").write_text("no such merge\n")
    with pytest.raises(ValueError, match="do not make a byte-level BPE"):
        AutoTokenizer.from_pretrained(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(ValueError, match="something is missing"):
        RobertaTokenizer.from_pretrained(folder)


def test_a_vocabulary_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"lacks the unknown token '\[UNK\]'"):
        BertTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="needs tokenizer_file= or tokenizer_object="):
        PreTrainedTokenizerFast()
    with pytest.raises(ValueError, match="choose 'right' or 'left'"):
        BertTokenizer(vocab={"[UNK]": 0}, padding_side="up")


def test_roles(bert: BertTokenizer) -> None:
    assert bert.bos_token is None
    assert bert.bos_token_id is None
    bert.bos_token = "[CLS]"
    assert bert.bos_token_id == bert.cls_token_id
    bert.eos_token_id = bert.sep_token_id
    assert bert.eos_token == "[SEP]"
    with pytest.raises(ValueError, match="'colour' is no special token's role"):
        bert.add_special_tokens({"colour": "blue"})
    with pytest.raises(ValueError, match="is no id of this vocabulary"):
        bert.pad_token_id = 10**6
    with pytest.raises(TypeError, match="A special token is a text"):
        bert.pad_token = 3
    assert bert.sanitize_special_tokens() == 0
    assert set(bert.special_tokens_map) == {role for role in bert.SPECIAL_TOKENS_ATTRIBUTES if getattr(bert, role)}


def test_arguments_in_4_4_2s_order(roberta_folder: Path, deberta_folder: Path, bert_folder: Path) -> None:
    roberta = RobertaTokenizer(roberta_folder / "vocab.json", roberta_folder / "merges.txt", "replace")
    assert roberta(TEXTS).data == RobertaTokenizer.from_pretrained(roberta_folder)(TEXTS).data
    with pytest.raises(ValueError, match=r"errors is 'tokenizer\.json'.*tokenizer_file="):
        RobertaTokenizer(roberta_folder / "vocab.json", roberta_folder / "merges.txt", "tokenizer.json")
    deberta = DebertaV2Tokenizer(deberta_folder / "spm.model", True, True)
    assert (deberta.do_lower_case, deberta.split_by_punct) == (True, True)
    assert BertTokenizer(bert_folder / "vocab.txt", False).do_lower_case is False


def test_the_only_file_of_a_vocabulary_may_be_named(
    bert_folder: Path, deberta_folder: Path, roberta_folder: Path
) -> None:
    with pytest.warns(FutureWarning, match=r"single file.*vocab_file=.*spm\.model"):
        deberta = DebertaV2Tokenizer.from_pretrained(str(deberta_folder / "spm.model"), do_lower_case=True)
    assert deberta.do_lower_case
    with pytest.warns(FutureWarning, match=r"vocab\.txt"):
        bert = BertTokenizer.from_pretrained(bert_folder / "vocab.txt")
    assert bert(TEXTS).data == BertTokenizer.from_pretrained(bert_folder)(TEXTS).data
    with pytest.raises(ValueError, match=r"made of vocab\.json, merges\.txt, tokenizer\.json: give the folder"):
        RobertaTokenizer.from_pretrained(roberta_folder / "vocab.json")


def test_the_longest_input_by_its_old_name(bert_folder: Path, tmp_path: Path) -> None:
    assert BertTokenizer.from_pretrained(bert_folder, max_len=33).model_max_length == 33
    shutil.copy(bert_folder / "vocab.txt", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"max_len": 44}')
    loaded = BertTokenizer.from_pretrained(tmp_path)
    assert loaded.model_max_length == 44
    loaded.save_pretrained(tmp_path / "again")
    assert BertTokenizer.from_pretrained(tmp_path / "again").model_max_length == 44
    assert BertTokenizer.from_pretrained(tmp_path, max_len=33).model_max_length == 33
