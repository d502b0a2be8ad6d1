"""A word's tag stands on its first token, for every kind of tokenizer; what is lost is told apart and counts as O."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vocabularies import make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from ner_model import make_tokenizer
from ner_predictions import tags_of
from ner_scores import score
from ner_tokens import CUT, VANISHED, encode_sentences

MAKERS = {"wordpiece": make_bert_vocabulary, "bpe": make_roberta_vocabulary, "sentencepiece": make_sentencepiece_model}
WORDS = [["Anna", "unbelievably", "sings", "(", "it's", "naïve", "東京", ")"], ["Oslo"]]
TAGS = [["B-A", "I-A", "O", "O", "O", "B-B", "I-B", "O"], ["B-B"]]
IDS = {"O": 0, "B-A": 1, "I-A": 2, "B-B": 3, "I-B": 4}
BATCH = {"tokens": WORDS, "ner_tags": TAGS, "place": ["line 1", "line 10"]}


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_tokenizer(str(MAKERS[request.param](tmp_path_factory.mktemp("words") / request.param)))


def labels_of_each_word(tokenizer: Any, row: int, encoded: dict[str, Any]) -> list[list[int]]:
    """Give the labels of each word's tokens, by tokenizing word by word."""
    labels = encoded["labels"][row]
    assert labels[0] == labels[-1] == -100, "special tokens"
    found, place = [], 1
    for word in WORDS[row]:
        size = len(tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"])
        found.append(labels[place : place + size])
        place += size
    assert place == len(labels) - 1
    return found


def test_the_first_token_of_each_word_has_its_tag(tokenizer: Any) -> None:
    encoded = encode_sentences(BATCH, tokenizer, IDS, 64, cut=False)
    for row, tags in enumerate(TAGS):
        found = labels_of_each_word(tokenizer, row, encoded)
        assert [labels[0] for labels in found] == [IDS[tag] for tag in tags]
        assert all(label == -100 for labels in found for label in labels[1:])
        assert [encoded["labels"][row][place] for place in encoded["first_tokens"][row]] == [IDS[tag] for tag in tags]
    assert any(len(labels) > 1 for labels in labels_of_each_word(tokenizer, 0, encoded))


def test_every_token_may_have_it(tokenizer: Any) -> None:
    encoded = encode_sentences(BATCH, tokenizer, IDS, 64, cut=False, all_tokens=True)
    for row, tags in enumerate(TAGS):
        for tag, labels in zip(tags, labels_of_each_word(tokenizer, row, encoded), strict=True):
            assert labels == [IDS[tag], *[IDS[tag.replace("B-", "I-")]] * (len(labels) - 1)]
    alone = {name: number for name, number in IDS.items() if name != "I-B"} | {"I-B": 9}
    without = encode_sentences(
        {"tokens": [["Oslounbelievably"]], "ner_tags": [["B-B"]], "place": ["line 1"]},
        tokenizer,
        {name: number for name, number in alone.items() if name != "I-B"},
        64,
        cut=False,
        all_tokens=True,
    )
    assert set(without["labels"][0]) == {-100, IDS["B-B"]}, "where there is no I-, the word's own"


def test_a_sentence_that_is_too_long(tokenizer: Any) -> None:
    whole = encode_sentences(BATCH, tokenizer, IDS, 64, cut=False)
    length = whole["first_tokens"][0][4] + 1  # the last place is the closing token's
    with pytest.raises(
        ValueError, match=rf"sentence in line 1 has {len(whole['input_ids'][0])} tokens, and the model"
    ):
        encode_sentences(BATCH, tokenizer, IDS, length, cut=False)
    found = encode_sentences(BATCH, tokenizer, IDS, length, cut=True)
    assert found["first_tokens"][0] == [*whole["first_tokens"][0][:4], *[CUT] * 4]
    assert len(found["input_ids"][0]) == len(found["labels"][0]) == length
    assert found["first_tokens"][1] == whole["first_tokens"][1]
    names = {number: name for name, number in IDS.items()}
    best = [[max(label, 0) for label in labels] + [0] * (length - len(labels)) for labels in found["labels"]]
    predicted = tags_of(best, found, names)  # a model that is always right about what it sees
    assert predicted == [["B-A", "I-A", "O", "O", "O", "O", "O", "O"], ["B-B"]]
    assert score(TAGS, predicted, strict=True)["recall"] == pytest.approx(2 / 3), "the entity that was cut is missed"


def test_words_of_which_nothing_is_left(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(str(make_bert_vocabulary(tmp_path / "words")))
    batch = {"tokens": [["Anna", "\u00ad", "sings", "\u200b\ufffd"], ["\x07"]], "place": ["line 1", "line 6"]}
    batch["ner_tags"] = [["B-A", "I-A", "O", "O"], ["B-B"]]
    found = encode_sentences(batch, tokenizer, IDS, 64, cut=False)
    places = found["first_tokens"]
    assert [place == VANISHED for place in places[0]] == [False, True, False, True]
    assert places[1] == [VANISHED]
    assert set(found["labels"][1]) == {-100}
    kept = [label for label in found["labels"][0] if label != -100]
    assert kept == [IDS["B-A"], IDS["O"]], "tags stay with their words"


def test_a_byte_level_tokenizer_reads_words_as_in_running_text(tmp_path: Path) -> None:
    folder = make_roberta_vocabulary(tmp_path / "words")
    tokenizer = make_tokenizer(str(folder))
    words = ["She", "said", "that", "the", "acting", "was", "fine"]
    running = tokenizer(" " + " ".join(words))["input_ids"]
    assert tokenizer(words, is_split_into_words=True)["input_ids"] == running
    tokenizer.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["add_prefix_space"] is True
