"""Schedules as the formulas say, parameter groups, and the optimizers that the arguments name."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from transformers.optimization import (
    TYPE_TO_SCHEDULER_FUNCTION,
    Adafactor,
    AdamW,
    create_optimizer,
    get_constant_schedule,
    get_linear_schedule_with_warmup,
    get_parameter_groups,
    get_polynomial_decay_schedule_with_warmup,
    get_scheduler,
)
from transformers.trainer_utils import SchedulerType
from transformers.training_args import TrainingArguments


def rates(name: str, warmup: int, total: int, lr: float = 0.5, **extra: object) -> list[float]:
    """Give the learning rates of steps 0 to total + 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = get_scheduler(name, optimizer, warmup, total, extra or None)
    seen = []
    for _ in range(total + 2):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


BY_STEPS = [kind for kind in SchedulerType if kind is not SchedulerType.REDUCE_ON_PLATEAU]


@given(st.sampled_from(BY_STEPS), st.integers(0, 30), st.integers(1, 40), st.floats(1e-5, 1.0))
@settings(max_examples=60, deadline=None)
def test_every_schedule_rises_then_stays_within_its_bounds(
    kind: SchedulerType, warmup: int, rest: int, lr: float
) -> None:
    total = warmup + rest
    seen = rates(kind.value, warmup, total, lr)
    if kind is not SchedulerType.CONSTANT:
        for step in range(warmup):
            assert seen[step] == pytest.approx(lr * step / warmup)
    assert seen[warmup] == pytest.approx(lr)
    assert all(0 <= rate <= lr * (1 + 1e-9) for rate in seen)
    end = {SchedulerType.POLYNOMIAL: 1e-7, SchedulerType.CONSTANT: lr, SchedulerType.CONSTANT_WITH_WARMUP: lr}
    assert seen[total] == pytest.approx(end.get(kind, 0.0), abs=1e-12)


def test_the_shapes() -> None:
    assert rates("linear", 2, 6) == pytest.approx([0, 0.25, 0.5, 0.375, 0.25, 0.125, 0, 0])
    halfway = 0.5 * (1 + math.cos(math.pi / 2))
    assert rates("cosine", 0, 4)[2] == pytest.approx(0.5 * halfway)
    assert rates("cosine_with_restarts", 0, 8, num_cycles=2)[4] == pytest.approx(0.5)  # back at the top
    assert rates("polynomial", 0, 4, power=2.0)[2] == pytest.approx((0.5 - 1e-7) * 0.25 + 1e-7)
    assert rates("constant_with_warmup", 2, 4) == pytest.approx([0, 0.25, 0.5, 0.5, 0.5, 0.5])


def test_a_schedule_goes_on_from_its_saved_state() -> None:
    def build() -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, get_linear_schedule_with_warmup(optimizer, 3, 10)

    optimizer, schedule = build()
    for _ in range(5):
        optimizer.step()
        schedule.step()
    again_optimizer, again = build()
    again_optimizer.load_state_dict(optimizer.state_dict())
    again.load_state_dict(schedule.state_dict())
    optimizer.step()
    schedule.step()
    again_optimizer.step()
    again.step()
    assert again.get_last_lr() == schedule.get_last_lr()
    assert again_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_what_a_schedule_needs_is_asked_for() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-8)
    assert get_scheduler("constant", optimizer).get_last_lr() == get_constant_schedule(optimizer).get_last_lr()
    with pytest.raises(ValueError, match="num_warmup_steps"):
        get_scheduler("linear", optimizer)
    with pytest.raises(ValueError, match="num_training_steps"):
        get_scheduler("linear", optimizer, 1)
    with pytest.raises(ValueError, match="'triangle' is not a valid SchedulerType"):
        get_scheduler("triangle", optimizer, 1, 2)
    with pytest.raises(ValueError, match=r"lr_end \(1e-07\) must be below"):
        get_polynomial_decay_schedule_with_warmup(optimizer, 1, 2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)
        self.LayerNorm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(4))


def test_biases_and_normalisation_do_not_decay() -> None:
    decaying, rest = get_parameter_groups(nn.Sequential(Block(), nn.LayerNorm(4)), 0.1)
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert decaying["param_names"] == ["0.scale", "0.dense.weight"]
    assert rest["param_names"] == ["0.dense.bias", "0.LayerNorm.weight", "0.LayerNorm.bias", "1.weight", "1.bias"]
    for group in (decaying, rest):
        assert len(group["params"]) == len(group["param_names"])


@pytest.mark.parametrize(
    ("optim", "kind"),
    [
        ("adamw_torch", torch.optim.AdamW),
        ("adamw_torch_fused", torch.optim.AdamW),
        ("adafactor", Adafactor),
        ("sgd", torch.optim.SGD),
    ],
)
def test_the_named_optimizer_is_built_and_lowers_a_loss(optim: str, kind: type) -> None:
    model = Block()
    args = TrainingArguments("out", optim=optim, learning_rate=0.01, weight_decay=0.1)
    optimizer = create_optimizer(args, model)
    assert isinstance(optimizer, kind)
    inputs = torch.randn(8, 4)
    losses = []
    for _ in range(10):
        loss = (model.dense(inputs) * model.scale).square().mean()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        create_optimizer(TrainingArguments("out"), Block().requires_grad_(False))


def test_adamw_keeps_the_defaults_of_4_4_2() -> None:
    assert AdamW([nn.Parameter(torch.zeros(1))]).defaults == {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 0.0,
        "correct_bias": True,
    }


@pytest.mark.parametrize("correct_bias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_computes_what_4_4_2_did(correct_bias: bool, decay: float) -> None:
    """Gradients down to 1e-7 show where ``eps`` is added."""
    lr, (beta1, beta2), eps = 0.03, (0.9, 0.98), 1e-6
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    parameter = nn.Parameter(start.clone())
    optimizer = AdamW([parameter], lr, (beta1, beta2), eps, decay, correct_bias)
    expected, mean, square = start.tolist(), [0.0] * 9, [0.0] * 9
    for step in range(1, 8):
        gradient = [math.sin(3 * i + step) * 10.0 ** (-i) for i in range(9)]
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        rate = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step) if correct_bias else lr
        for i, g in enumerate(gradient):
            mean[i] = beta1 * mean[i] + (1 - beta1) * g
            square[i] = beta2 * square[i] + (1 - beta2) * g * g
            expected[i] -= rate * mean[i] / (math.sqrt(square[i]) + eps)
            expected[i] -= lr * decay * expected[i]
        torch.testing.assert_close(parameter.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


def test_adamw_corrects_group_by_group_and_goes_on_from_its_saved_state() -> None:
    def build(values: torch.Tensor) -> tuple[nn.Parameter, AdamW]:
        parameter = nn.Parameter(values.clone())
        return parameter, AdamW([{"params": [parameter], "correct_bias": False}], lr=0.1)

    parameter, optimizer = build(torch.ones(3))
    gradient = torch.tensor([1.0, -2.0, 0.5])
    loss = optimizer.step(lambda: (parameter * gradient).sum().backward() or 7.0)
    assert loss == 7.0
    # m / sqrt(v) of the first step is (1 - beta1) / sqrt(1 - beta2), whatever the gradient's size.
    torch.testing.assert_close(
        parameter.detach(), 1 - 0.1 * gradient.sign() * 0.1 / math.sqrt(0.001), rtol=1e-4, atol=0
    )
    again, resumed = build(parameter.detach())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    again.grad = parameter.grad
    optimizer.step()
    resumed.step()
    assert torch.equal(again, parameter)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"eps": -1e-8}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}])
def test_adamw_refuses_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} (is|are)"):
        AdamW([nn.Parameter(torch.zeros(1))], **wrong)


def test_the_table_of_schedules_is_the_one_that_get_scheduler_reads() -> None:
    assert set(TYPE_TO_SCHEDULER_FUNCTION) == set(SchedulerType)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = TYPE_TO_SCHEDULER_FUNCTION[SchedulerType("linear")](optimizer, num_warmup_steps=2, num_training_steps=6)
    assert schedule.get_last_lr() == [0.0]


def test_adafactor_moves_matrices_that_start_at_zero_as_far_as_others() -> None:
    """LoRA's B is one: steps relative to its size would hardly move it."""
    model = nn.Linear(4, 4, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = create_optimizer(TrainingArguments("out", optim="adafactor", learning_rate=0.01), model)
    model.weight.grad = torch.ones(4, 4)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), torch.full((4, 4), -0.01))


def test_adafactor_wants_one_of_two_learning_rates() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 2))]
    assert Adafactor(parameters).defaults["lr"] is None
    for wrong in ({"lr": 0.1}, {"relative_step": False}):
        with pytest.raises(ValueError, match="give a learning rate or relative_step=True"):
            Adafactor(parameters, **wrong)
    with pytest.raises(ValueError, match="warmup_init"):
        Adafactor(parameters, lr=0.1, relative_step=False, warmup_init=True)


@pytest.mark.parametrize("relative", [True, False])
def test_adafactor_never_waits_for_the_device(relative: bool) -> None:
    """A meta tensor has no values: whoever asks for one, which on a GPU means to wait, gets an error."""
    parameters = [nn.Parameter(torch.zeros(shape, device="meta")) for shape in ((3, 4), (5,))]
    optimizer = Adafactor(parameters, lr=None if relative else 0.1, relative_step=relative, beta1=0.9)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    for _ in range(2):
        optimizer.step()


def test_a_schedule_by_metrics_lowers_the_rate_where_they_stop_getting_better() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = get_scheduler(
        "reduce_lr_on_plateau", optimizer, scheduler_specific_kwargs={"patience": 0, "factor": 0.1}
    )
    for metric in (1.0, 0.5, 0.5):
        schedule.step(metric)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
