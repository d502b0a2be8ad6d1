"""What the collators of masked language modelling hide, against upstream's: the same shares, by counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upstream_masking import count
from vocabularies import SENTENCES, make_bert_vocabulary

from transformers import BertTokenizer, DataCollatorForLanguageModeling, DataCollatorForWholeWordMask

pytestmark = pytest.mark.reference

PLAIN: list[dict[str, Any]] = [
    {"mlm_probability": 0.15},
    {"mlm_probability": 0.5, "mask_replace_prob": 0.5, "random_replace_prob": 0.3},
]
WHOLE: dict[str, Any] = {"mlm_probability": 0.3, "mask_replace_prob": 1.0, "random_replace_prob": 0.0}
TIMES = 60


def test_the_same_shares_are_hidden_masked_and_kept(upstream: Callable[..., None], tmp_path: Path) -> None:
    folder = make_bert_vocabulary(tmp_path / "bert")
    settings, result = tmp_path / "settings.json", tmp_path / "counts.json"
    options = [*PLAIN, {**WHOLE, "whole_word_mask": True}]
    settings.write_text(json.dumps({"texts": SENTENCES, "options": options, "times": TIMES}))
    upstream("upstream_masking.py", folder, settings, result)
    tokenizer = BertTokenizer.from_pretrained(folder)
    encoded = tokenizer(SENTENCES, return_special_tokens_mask=True)
    rows = [{name: encoded[name][row] for name in encoded} for row in range(len(SENTENCES))]
    with_words = [{**row, "word_ids": encoded.word_ids(number)} for number, row in enumerate(rows)]
    ours = [count(DataCollatorForLanguageModeling(tokenizer, **each), rows, tokenizer, TIMES) for each in PLAIN]
    ours.append(count(DataCollatorForWholeWordMask(tokenizer, **WHOLE), with_words, tokenizer, TIMES))
    for own, theirs in zip(ours, json.loads(result.read_text()), strict=True):
        assert own["special"] == theirs["special"] == 0
        for name in ("hidden", "masked", "kept"):  # some 25,000 tokens: a standard deviation is below .01
            assert own[name] == pytest.approx(theirs[name], abs=0.03), name
