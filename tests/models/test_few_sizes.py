"""Numbers of tokens that come again, where a CPU plans the products of new ones: what is computed stays the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_models import HEADS, labels_for, loss_of, make_head
from tiny import LORA, shake
from torch import Tensor

from transformers import PreTrainedModel
from transformers.layers import batch, half_products, packing
from transformers.layers.inputs import EncoderInputs


def ragged(task: str) -> dict[str, Tensor]:
    """Make rows of many lengths, with holes and padding on the left. Shape: (B, L)."""
    torch.manual_seed(0)
    lengths = torch.tensor([18, 3, 11, 5, 9, 18, 2, 7])
    mask = (torch.arange(18) < lengths[:, None]).long()
    mask[2] = mask[2].flip(0)
    mask[4, 4] = 0
    ids = torch.where(mask == 1, torch.randint(5, 61, mask.shape), 1)
    if task == "multiple-choice":
        return {"input_ids": ids.unflatten(0, (2, 4)), "attention_mask": mask.unflatten(0, (2, 4))}
    return {"input_ids": ids, "attention_mask": mask}


def step(model: PreTrainedModel, task: str) -> dict[str, Tensor]:
    """Compute a loss and its gradients."""
    model.zero_grad()
    inputs = ragged(task)
    loss = loss_of(model(**inputs, **labels_for(task, inputs)))
    loss.backward()
    return {"loss": loss.detach(), **{n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}}


@pytest.mark.parametrize("sizes", [7, 32])
@pytest.mark.parametrize(("family", "task"), [each for each in HEADS if each[1] != "causal-lm"])
def test_a_step_is_the_same_with_a_row_that_takes_padding(
    family: str, task: str, sizes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_head(family, task, **LORA).train()  # without dropout
    shake(model)
    expected, seen = step(model, task), []
    plan = packing.PackedLayout.from_mask

    def filled(mask: Tensor, device: Any = None, **options: Any) -> Any:
        layout = plan(mask, device, few_sizes=True)
        seen.append(layout.tokens)
        return layout

    monkeypatch.setattr(packing, "SIZES", sizes)
    monkeypatch.setattr(batch.PackedLayout, "from_mask", filled)
    found = step(model, task)
    assert seen == [{7: 77, 32: 96}[sizes]]  # 73 without padding
    assert found.keys() == expected.keys()
    assert len(found) > 4
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=2e-5, rtol=1e-4, msg=lambda text, name=name: f"{name} {text}"
        )


@pytest.mark.parametrize(
    ("dtype", "slow", "autocast", "filled"),
    [
        (torch.float32, False, False, False),
        (torch.bfloat16, False, False, True),
        (torch.bfloat16, True, False, False),
        (torch.float32, False, True, True),
    ],
)
def test_it_is_done_where_products_are_planned_by_shape(
    dtype: torch.dtype, slow: bool, autocast: bool, filled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda each: slow)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        _, layout = batch.lay_out(EncoderInputs(**ragged("")), dtype)
    assert (layout.tokens % packing.SIZES == 0) is filled


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_a_model_in_bf16_has_such_numbers(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_products, "multiplies_slowly", lambda each: False)
    model = make_head(family, "token-classification", **LORA)
    rows: list[int] = []
    model.base_model.encoder.layer[0].register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    model(**ragged(""))
    model.cast_frozen_parameters(torch.bfloat16)
    model(**ragged(""))
    assert rows[0] % packing.SIZES
    assert rows[1] % packing.SIZES == 0


@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("hidden", [0, 5, 32])
def test_so_many_words_are_scored_that_their_number_comes_again(
    family: str, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_head(family, "masked-lm", **LORA)
    model.sparse_prediction = True
    inputs = ragged("")
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[inputs["attention_mask"].nonzero(as_tuple=True)] = 7
    labels.view(-1)[(labels.view(-1) == 7).nonzero()[hidden:, 0]] = -100
    rows: list[int] = []
    score = type(model)._score_words
    monkeypatch.setattr(type(model), "_score_words", lambda self, x: rows.append(len(x)) or score(self, x))
    expected = model(**inputs, labels=labels)
    model.cast_frozen_parameters(torch.bfloat16)
    found = []
    for slow in (True, False):
        monkeypatch.setattr(half_products, "multiplies_slowly", lambda dtype, slow=slow: slow)
        model.zero_grad()
        found.append(model(**inputs, labels=labels))
        found[-1].loss.backward()
    assert rows == [hidden, hidden, -(-hidden // packing.SIZES) * packing.SIZES]
    assert [each.logits.shape for each in found] == [expected.logits.shape] * 2
    for each in found:
        torch.testing.assert_close(each.loss, expected.loss, atol=0.05, rtol=0.02)
        torch.testing.assert_close(each.logits.float(), expected.logits, atol=0.3, rtol=0.1)
