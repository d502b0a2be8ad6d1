"""The classifier's loss, against the formulas, and its choice of one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from transformers import PretrainedConfig
from transformers.layers.losses import mean_cross_entropy, sequence_classification_loss
from transformers.trainer_pt_utils import LabelSmoother


def _loss(logits: Tensor, labels: Tensor, **fields: Any) -> Tensor:
    return sequence_classification_loss(logits, labels, PretrainedConfig(num_labels=logits.shape[-1], **fields))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_classes_mean_cross_entropy(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    logits = torch.randn(4, 3)
    labels = torch.tensor([2, 0, 1, 1])
    wanted = -torch.stack([logits[row].log_softmax(-1)[label] for row, label in enumerate(labels)]).mean()
    torch.testing.assert_close(_loss(logits, labels.to(dtype).view(shape)), wanted)


@pytest.mark.parametrize("labels", [torch.tensor([1.5, -2.0]), torch.tensor([[1.5], [-2.0]]), torch.tensor([1, -2])])
def test_one_label_means_squared_error(labels: Tensor) -> None:
    logits = torch.tensor([[0.5], [1.0]])
    wanted = ((logits[:, 0] - labels.view(-1)) ** 2).mean()
    torch.testing.assert_close(_loss(logits, labels), wanted)


def test_several_values_mean_squared_error() -> None:
    logits, labels = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(_loss(logits, labels, problem_type="regression"), ((logits - labels) ** 2).mean())


@pytest.mark.parametrize(
    ("dtype", "fields"), [(torch.float32, {}), (torch.int64, {"problem_type": "multi_label_classification"})]
)
def test_several_classes_at_once_mean_binary_cross_entropy(dtype: torch.dtype, fields: dict[str, str]) -> None:
    logits, labels = torch.randn(4, 3), torch.randint(0, 2, (4, 3))
    p = torch.sigmoid(logits)
    wanted = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(_loss(logits, labels.to(dtype), **fields), wanted)


def test_computed_in_fp32() -> None:
    logits = torch.full((2, 2), 300.0, dtype=torch.bfloat16)
    loss = _loss(logits, torch.tensor([0, 1]))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(math.log(2))


def test_ignored_rows_do_not_count() -> None:
    logits = torch.randn(3, 2)
    torch.testing.assert_close(_loss(logits, torch.tensor([1, -100, 0])), _loss(logits[[0, 2]], torch.tensor([1, 0])))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_where_labels_count_the_mean_is_pytorch_s(smoothing: float) -> None:
    logits, labels = torch.randn(7, 5), torch.tensor([1, -100, 2, 3, -100, 0, 0])
    wanted = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    assert torch.equal(mean_cross_entropy(logits, labels, label_smoothing=smoothing), wanted)
    found = mean_cross_entropy(logits, labels.where(labels != -100, 9), ignore_index=9, label_smoothing=smoothing)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_where_no_label_counts_loss_and_gradient_are_zero(smoothing: float) -> None:
    logits, labels = torch.randn(3, 2, requires_grad=True), torch.full((3,), -100)
    for loss in (_loss(logits, labels), mean_cross_entropy(logits, labels, label_smoothing=smoothing)):
        assert float(loss.detach()) == 0
        logits.grad = None
        loss.backward()
        assert logits.grad is not None, "processes that train together wait for every gradient"
        assert not logits.grad.any()
    assert float(LabelSmoother(0.1)((logits.detach(),), labels)) == 0


@pytest.mark.parametrize(
    ("labels", "fields", "message"),
    [
        (torch.tensor([0, 2]), {}, "outside 0 … 1"),
        (torch.tensor([0, -1]), {}, "outside 0 … 1"),
        (torch.tensor([0]), {}, "labels have the shape"),
        (torch.tensor([0.0, 1.0]), {"problem_type": "regression"}, "does not fit regression"),
        (torch.tensor([0.0, 1.0]), {}, "does not fit multi label"),
        (torch.tensor([0, 1]), {"problem_type": "ranking"}, "'ranking'"),
    ],
)
def test_what_does_not_fit(labels: Tensor, fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _loss(torch.randn(2, 2), labels, **fields)
