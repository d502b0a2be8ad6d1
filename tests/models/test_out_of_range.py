"""Ids, segments, positions and labels outside of their tables: one line that names tensor, value and limit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_models import make_head
from tiny import random_ids

POSITIONS = {"position_biased_input": True, "type_vocab_size": 2}  # DeBERTa has no such tables by default


@pytest.mark.parametrize("value", [61, 10**6, -1])
@pytest.mark.parametrize(
    ("name", "largest"), [("input_ids", 60), ("token_type_ids", 1), ("position_ids", 23)], ids=lambda each: str(each)
)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("task", ["base", "masked-lm", "sequence-classification"])
def test_an_index_outside_of_its_table(task: str, family: str, name: str, largest: int, value: int) -> None:
    changes = POSITIONS if family == "deberta" else {"type_vocab_size": 2}
    model = make_head(family, task, **changes)
    inputs: dict[str, Any] = {"input_ids": random_ids(2, 5)}
    if name != "input_ids":
        inputs[name] = torch.zeros(2, 5, dtype=torch.long)
    inputs[name][1, 2] = value
    expected = rf"^{name} holds {value}, but this model knows 0 … {largest} there"
    with pytest.raises(ValueError, match=expected) as caught:
        model(**inputs)
    assert "\n" not in str(caught.value)


def test_padding_is_not_looked_up() -> None:
    ids, mask = random_ids(2, 5), torch.ones(2, 5, dtype=torch.long)
    ids[1, 3:], mask[1, 3:] = -100, 0
    assert make_head("roberta", "base")(ids, attention_mask=mask).last_hidden_state.isfinite().all()


@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("label", [3, 61, -1])
def test_a_label_outside_of_the_classes(family: str, label: int) -> None:
    labels = torch.tensor([0, label, -100, 1])
    with pytest.raises(ValueError, match=rf"A label is {label}, which is outside 0 … 2, the model's; -100 marks"):
        make_head(family, "sequence-classification")(random_ids(), labels=labels)


@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("label", [61, -1])
def test_a_label_that_is_no_word(family: str, label: int) -> None:
    ids = random_ids()
    labels = torch.full_like(ids, -100)
    labels[2, 3] = label
    with pytest.raises(ValueError, match=rf"A label is {label}, which is outside 0 … 60"):
        make_head(family, "masked-lm")(ids, labels=labels)
