"""The `datasets` library with our tokenizers: several processes, and a cache that is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vocabularies import SENTENCES

from transformers import BertTokenizer


@pytest.mark.slow
def test_map_in_two_processes_and_from_the_cache(
    bert: BertTokenizer, bert_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    data = datasets.Dataset.from_dict({"text": SENTENCES})

    def encode(tokenizer: BertTokenizer) -> Any:
        return lambda rows: tokenizer(rows["text"], truncation=True, max_length=9, padding="max_length")

    encoded = data.map(encode(bert), batched=True, num_proc=2, batch_size=3)
    assert encoded["input_ids"][:] == bert(SENTENCES, truncation=True, max_length=9, padding="max_length")["input_ids"]
    hasher = datasets.fingerprint.Hasher
    fresh = BertTokenizer.from_pretrained(bert_folder)
    assert hasher.hash(encode(fresh)) == hasher.hash(encode(bert))
