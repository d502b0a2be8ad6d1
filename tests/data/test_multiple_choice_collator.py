"""Examples of several texts each become one batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from vocabularies import make_bert_vocabulary

from transformers import BertTokenizer, DataCollatorForMultipleChoice


def test_every_choice_is_padded_to_the_longest_of_all(tmp_path: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_bert_vocabulary(tmp_path / "bert"))
    texts = [(["The cat"] * 2, ["sat.", "sat on the mat."]), (["It was a naïve reader"] * 2, ["Yes.", "No."])]
    examples = [{**tokenizer(*pair), "label": label} for pair, label in zip(texts, (1, 0), strict=True)]
    batch = DataCollatorForMultipleChoice(tokenizer)(examples)
    longest = max(len(row) for example in examples for row in example["input_ids"])
    assert batch["labels"].tolist() == [1, 0]
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert batch[name].shape == (2, 2, longest)
    for number, example in enumerate(examples):
        for choice, row in enumerate(example["input_ids"]):
            valid = batch["attention_mask"][number, choice].bool()
            assert batch["input_ids"][number, choice][valid].tolist() == row
    without = [{name: value for name, value in example.items() if name != "label"} for example in examples]
    again = DataCollatorForMultipleChoice(tokenizer, padding="max_length", max_length=64)(without)
    assert "labels" not in again
    assert again["input_ids"].shape == (2, 2, 64)
    assert torch.equal(again["input_ids"][..., :longest], batch["input_ids"])
    more = {name: [*value, value[0]] for name, value in without[1].items()}
    with pytest.raises(ValueError, match="Example 1 of the batch has 3 choices, and example 0 has 2"):
        DataCollatorForMultipleChoice(tokenizer)([without[0], more])
