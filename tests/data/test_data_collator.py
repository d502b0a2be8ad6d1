"""Collators: what becomes of labels, rows and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from vocabularies import SENTENCES, make_bert_vocabulary

from transformers import (
    BertTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    default_data_collator,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    return BertTokenizer.from_pretrained(make_bert_vocabulary(tmp_path_factory.mktemp("bert")))


def encoded(tokenizer: BertTokenizer, **extra: Any) -> list[dict[str, Any]]:
    examples = [dict(tokenizer(text, return_special_tokens_mask=True)) for text in SENTENCES]
    return [
        {**example, **{key: value(index) for key, value in extra.items()}} for index, example in enumerate(examples)
    ]


@dataclass
class Example:
    input_ids: list[int]
    label: int | None


def test_default_stacks_and_renames_labels() -> None:
    batch = default_data_collator([{"input_ids": [1, 2], "label": 0, "idx": 7, "text": "a", "none": None}] * 2)
    assert {name: value.tolist() for name, value in batch.items()} == {
        "input_ids": [[1, 2], [1, 2]],
        "labels": [0, 0],
        "idx": [7, 7],
    }
    assert default_data_collator([{"label": 0.5}, {"label": 1}])["labels"].dtype is torch.float32
    assert default_data_collator([{"label_ids": [1, 0]}])["labels"].dtype is torch.int64
    assert default_data_collator([{"label": torch.tensor(2)}] * 2)["labels"].tolist() == [2, 2]
    assert set(default_data_collator([Example([1], 3), Example([2], 4)])) == {"input_ids", "labels"}
    assert set(default_data_collator([Example([1], None)])) == {"input_ids"}
    assert isinstance(default_data_collator([{"a": 1}], return_tensors="np")["a"], np.ndarray)


def test_labels_written_as_text_are_read_or_refused(tokenizer: BertTokenizer) -> None:
    padding = DataCollatorWithPadding(tokenizer)
    for collate in (default_data_collator, padding):
        whole = collate([{"input_ids": [1], "label": text} for text in ("1", "0", "-1")])
        assert whole["labels"].tolist() == [1, 0, -1]
        assert whole["labels"].dtype is torch.int64
        assert collate([{"input_ids": [1], "label_ids": ["0.5", "1"]}])["labels"].tolist() == [[0.5, 1.0]]
        for text in ("positive", "nan"):
            with pytest.raises(ValueError, match=f"column 'label' holds the text '{text}'.*class numbers"):
                collate([{"input_ids": [1], "label": "0"}, {"input_ids": [1], "label": text}])
    both = default_data_collator([{"input_ids": [1], "label": "positive", "labels": 1}])
    assert both["labels"].tolist() == [1]


def test_default_names_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"'input_ids' cannot become one tensor.*DataCollatorWithPadding"):
        default_data_collator([{"input_ids": [1]}, {"input_ids": [1, 2]}])
    with pytest.raises(ValueError, match=r"1 of the 2 examples .* have no 'label' \(the first is number 1 of it\)"):
        default_data_collator([{"label": 1}, {}])
    with pytest.raises(ValueError, match="no examples"):
        default_data_collator([])
    with pytest.raises(TypeError, match="An example is a int"):
        default_data_collator([3])


@pytest.mark.parametrize("name", ["label", "label_ids", "labels"])
def test_padding_collator(tokenizer: BertTokenizer, name: str) -> None:
    examples = encoded(tokenizer, **{name: lambda index: index % 3})
    batch = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)(examples)
    expected = tokenizer(SENTENCES, padding=True, pad_to_multiple_of=8, return_special_tokens_mask=True)
    assert batch["labels"].tolist() == [index % 3 for index in range(len(SENTENCES))]
    assert {key: value.tolist() for key, value in batch.items() if key != "labels"} == dict(expected)
    assert batch["input_ids"].shape[1] % 8 == 0
    fixed = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=100)(examples)
    assert fixed["input_ids"].shape == (len(SENTENCES), 100)


@pytest.mark.parametrize("side", ["right", "left"])
def test_token_labels_go_where_the_tokens_go(tokenizer: BertTokenizer, side: str) -> None:
    examples = encoded(tokenizer)
    for example in examples:
        example["labels"] = [10 + token for token in example["input_ids"]]
    tokenizer.padding_side = side
    batch = DataCollatorForTokenClassification(tokenizer)(examples)
    tokenizer.padding_side = "right"
    real = batch["attention_mask"].bool()
    assert torch.equal(batch["labels"][real], batch["input_ids"][real] + 10)
    assert (batch["labels"][~real] == -100).all()
    assert "labels" not in DataCollatorForTokenClassification(tokenizer)(encoded(tokenizer))
    examples[0]["labels"] = [0] * 500
    with pytest.raises(ValueError, match="Example 0 has 500 labels"):
        DataCollatorForTokenClassification(tokenizer)(examples)


def test_masking_hides_only_words_and_remembers_them(tokenizer: BertTokenizer) -> None:
    examples = encoded(tokenizer) * 40
    original = DataCollatorWithPadding(tokenizer)(examples)
    special = original["special_tokens_mask"].bool()
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)(examples)
    chosen = batch["labels"] != -100
    assert not (chosen & special).any()
    assert torch.equal(batch["labels"][chosen], original["input_ids"][chosen])
    assert torch.equal(batch["input_ids"][~chosen], original["input_ids"][~chosen])
    share = chosen.sum() / (~special).sum()
    masked = (batch["input_ids"][chosen] == tokenizer.mask_token_id).float().mean()
    kept = (batch["input_ids"][chosen] == original["input_ids"][chosen]).float().mean()
    assert share == pytest.approx(0.3, abs=0.02)
    assert masked == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1, abs=0.03)


def test_masking_knows_special_tokens_by_itself(tokenizer: BertTokenizer) -> None:
    rows = [tokenizer.encode(text) for text in SENTENCES]
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=1.0)(rows)
    special = torch.isin(batch["labels"], torch.tensor([-100]))
    full = tokenizer(SENTENCES, padding=True, return_special_tokens_mask=True, return_tensors="pt")
    unknown = full["input_ids"] == tokenizer.unk_token_id
    assert torch.equal(special, full["special_tokens_mask"].bool() | unknown)


def test_causal_labels_are_the_ids(tokenizer: BertTokenizer) -> None:
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)(encoded(tokenizer))
    real = batch["attention_mask"].bool()
    assert torch.equal(batch["labels"][real], batch["input_ids"][real])
    assert (batch["labels"][~real] == -100).all()


def test_masking_needs_a_mask_token(tokenizer: BertTokenizer) -> None:
    plain = BertTokenizer(vocab=tokenizer.get_vocab(), mask_token=None)
    with pytest.raises(ValueError, match="no mask token"):
        DataCollatorForLanguageModeling(plain)
    with pytest.raises(ValueError, match="mlm_probability is 2"):
        DataCollatorForLanguageModeling(tokenizer, mlm_probability=2)
