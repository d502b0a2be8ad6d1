"""Small vocabularies of each kind, trained in a moment on a few sentences."""

from __future__ import annotations

import json
from pathlib import Path

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
