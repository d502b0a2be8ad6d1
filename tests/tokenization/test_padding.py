"""Padding of lists, arrays and tensors, against the plain definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformers import BertTokenizer

ROWS = st.lists(st.lists(st.integers(0, 30_000), max_size=9), min_size=1, max_size=6)
QUIET = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def padded(row: list[int], length: int, value: int, side: str) -> list[int]:
    fill = [value] * (length - len(row))
    return row + fill if side == "right" else fill + row


@QUIET
@given(
    rows=ROWS,
    side=st.sampled_from(["right", "left"]),
    multiple=st.sampled_from([None, 1, 4, 8]),
    form=st.sampled_from(["list", "array", "tensor"]),
)
def test_every_form_of_rows_is_padded_alike(
    bert: BertTokenizer, rows: list[list[int]], side: str, multiple: int | None, form: str
) -> None:
    make: Any = {"list": list, "array": lambda row: np.array(row, np.int64), "tensor": torch.LongTensor}[form]
    examples = [
        {"input_ids": make(row), "token_type_ids": make([1] * len(row)), "special_tokens_mask": make([0] * len(row))}
        for row in rows
    ]
    longest = max(map(len, rows))
    length = -(-longest // multiple) * multiple if multiple else longest
    batch = bert.pad(examples, pad_to_multiple_of=multiple, padding_side=side, return_tensors="pt")
    expected = {
        "input_ids": [padded(row, length, bert.pad_token_id, side) for row in rows],
        "attention_mask": [padded([1] * len(row), length, 0, side) for row in rows],
        "token_type_ids": [padded([1] * len(row), length, 0, side) for row in rows],
        "special_tokens_mask": [padded([0] * len(row), length, 1, side) for row in rows],
    }
    assert {name: value.tolist() for name, value in batch.items()} == expected
    assert all(value.dtype is torch.int64 for value in batch.values())
    if form == "list":
        assert dict(bert.pad(examples, pad_to_multiple_of=multiple, padding_side=side)) == expected


def test_to_max_length_longer_rows_stay(bert: BertTokenizer) -> None:
    batch = bert.pad({"input_ids": [[1, 2, 3], [4]]}, padding="max_length", max_length=2)
    assert batch["input_ids"] == [[1, 2, 3], [4, bert.pad_token_id]]
    with pytest.raises(ValueError, match="cannot become one tensor"):
        bert.pad({"input_ids": [[1, 2, 3], [4]]}, padding="max_length", max_length=2, return_tensors="pt")


def test_a_single_text_stays_single(bert: BertTokenizer) -> None:
    assert dict(bert.pad({"input_ids": [1, 2]}, padding="max_length", max_length=3)) == {
        "input_ids": [1, 2, bert.pad_token_id],
        "attention_mask": [1, 1, 0],
    }
    assert bert.pad({"input_ids": [1, 2]}, return_tensors="pt")["input_ids"].shape == (1, 2)


def test_tensors_come_back_as_tensors(bert: BertTokenizer) -> None:
    assert torch.is_tensor(
        bert.pad([{"input_ids": torch.tensor([1, 2])}, {"input_ids": torch.tensor([1])}])["input_ids"]
    )
    assert bert.pad({"input_ids": torch.ones(2, 3, dtype=torch.long)})["input_ids"].shape == (2, 3)


def test_no_padding_asked_none_done(bert: BertTokenizer) -> None:
    assert bert.pad({"input_ids": [[1], [1, 2]]}, padding=False)["input_ids"] == [[1], [1, 2]]
    assert "attention_mask" not in bert.pad({"input_ids": [[1]]}, return_attention_mask=False)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "nothing to pad"),
        ([{"labels": 1}], "'input_ids' is missing"),
        ([{"input_ids": [1], "labels": 0}, {"input_ids": [1]}], "Example 1 of the batch has no 'labels'"),
        ([{"input_ids": [1, 2], "attention_mask": [1]}], "Row 0 of 'attention_mask' has 1 values"),
    ],
)
def test_bad_batches_are_named(bert: BertTokenizer, examples: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bert.pad(examples)
