"""Small vocabularies of each kind, trained in a moment on a few sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from random_texts import random_texts
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer

SENTENCES = [
    "The tokenizer splits a text into pieces, and each piece has a number.",
    "It was one of those films that you watch twice and forget before the week is over.",
    "Low-rank adaptation trains few values, and leaves the rest of the model as it was.",
    "A naïve reader ordered café crème and a résumé in Zürich; the Straße was empty.",
    "The cat sat on the mat, the dogs ran home, and nobody asked why they had gone.",
    "Prices rose by 3.5% in 2021 (from $1,200 to $1,242), the paper said.",
    "Москва и Санкт-Петербург — большие города. 東京は大きい。 한국어 문장입니다.",
    "What is the capital of France? Is it raining? Don't you think it's late!",
    "She said that the acting was fine but the plot made no sense at all.",
    "Numbers such as 10, 100 and 1000 are split differently from words.",
]


def make_roberta_vocabulary(folder: Path, size: int = 700) -> Path:
    """Write ``vocab.json``, ``merges.txt`` and a ``config.json`` that names RoBERTa."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer.train_from_iterator(SENTENCES * 2, size, min_frequency=2, special_tokens=special, show_progress=False)
    trainer.save_model(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    return folder


def make_bert_vocabulary(folder: Path, size: int = 500, model_type: str = "bert", lowercase: bool = True) -> Path:
    """Write ``vocab.txt`` and a ``config.json`` that names ``model_type``."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = BertWordPieceTokenizer(lowercase=lowercase)
    trainer.train_from_iterator(SENTENCES * 2, size, min_frequency=1, show_progress=False)
    trainer.save_model(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


# Ways to train a SentencePiece model that differ in what they do to a text.
SENTENCEPIECE_MODELS: dict[str, dict[str, Any]] = {
    "deberta": {},
    "bytes": {"byte_fallback": True},
    "case-folding": {"normalization_rule_name": "nfkc_cf"},
    "bytes-case-folding": {"normalization_rule_name": "nmt_nfkc_cf", "byte_fallback": True},
    "identity": {"normalization_rule_name": "identity"},
    "pieces-over-spaces": {"remove_extra_whitespaces": False, "split_by_whitespace": False},
    "user-defined": {"user_defined_symbols": ["<ud>", "foo bar", "☃☃"], "control_symbols": ["<ctl>"]},
    "no-dummy-prefix": {"add_dummy_prefix": False},
    "other-special-tokens": {"pad_id": -1, "bos_id": 1, "eos_id": 2, "unk_id": 0, "unk_piece": "<unk>"},
}


def make_sentencepiece_model(folder: Path, kind: str = "deberta", size: int = 900, **options: Any) -> Path:
    """Write ``spm.model`` and a ``config.json`` that names DeBERTa; the test skips without sentencepiece."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs sentencepiece to train a model")
    folder.mkdir(parents=True, exist_ok=True)
    noise = [text.replace("\n", " ").replace("\0", "") for text in random_texts(200, seed=99)]
    special = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    numbers = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    quiet = {"minloglevel": 2, "hard_vocab_limit": False, "character_coverage": 0.98, "vocab_size": size}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*SENTENCES * 3, *noise]),
        model_prefix=str(folder / "spm"),
        **{"model_type": "unigram", **special, **numbers, **quiet, **SENTENCEPIECE_MODELS[kind], **options},
    )
    (folder / "spm.vocab").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "deberta-v2"}))
    return folder
