"""Flags that change how a training computes: each does what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_lora_runs import base, build
from torch import Tensor, nn
from training_case import build as build_small
from training_case import examples, outcome, pad

from transformers import Trainer, TrainingArguments


@pytest.fixture
def _not_for_good() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_not_for_good")
@pytest.mark.parametrize("name", ["use_deterministic_algorithms", "full_determinism"])
def test_deterministic_runs_are_equal_bit_by_bit(name: str, tmp_path: Path) -> None:
    torch.use_deterministic_algorithms(False)
    base(tmp_path)
    runs = []
    for number in range(2):
        trainer = build(tmp_path, f"out{number}", **{name: True}, max_steps=4)
        assert torch.are_deterministic_algorithms_enabled()
        trainer.train()
        runs.append((trainer.model.state_dict(), [e["loss"] for e in trainer.state.log_history if "loss" in e]))
    assert runs[0][1] == runs[1][1]
    assert all(torch.equal(value, runs[1][0][key]) for key, value in runs[0][0].items())


class _Puts(nn.Module):
    """Uses an operation whose result depends on the order of the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        places = torch.zeros(4, dtype=torch.long)
        return {"loss": torch.zeros(3).put_(places, self.weight.sum() * torch.ones(4)).sum()}


@pytest.mark.usefixtures("_not_for_good")
@pytest.mark.parametrize("deterministic", [True, False])
def test_an_operation_that_is_not_repeatable_is_refused(deterministic: bool, tmp_path: Path) -> None:
    torch.use_deterministic_algorithms(False)
    settings: dict[str, Any] = {"no_cuda": True, "report_to": "none", "max_steps": 1, "save_strategy": "no"}
    args = TrainingArguments(str(tmp_path), use_deterministic_algorithms=deterministic, **settings)
    trainer = Trainer(_Puts(), args, pad, examples(8))
    if deterministic:
        with pytest.raises(RuntimeError, match=r"put_.*does not have a deterministic implementation"):
            trainer.train()
    else:
        trainer.train()


def test_gradient_checkpointing_recomputes_and_changes_nothing(tmp_path: Path) -> None:
    base(tmp_path)
    calls, losses = [], []
    for recompute in (False, True):
        trainer = build(tmp_path, f"out{recompute}", gradient_checkpointing=recompute, max_steps=2)
        count = [0]

        def counted(*_: object, count: list[int] = count) -> None:
            count[0] += 1

        trainer.model.roberta.encoder.layer[0].register_forward_pre_hook(counted)
        trainer.train()
        calls.append(count[0])
        losses.append([e["loss"] for e in trainer.state.log_history if "loss" in e])
    assert calls == [2, 4]
    assert losses[0] == losses[1]  # with dropout: the second pass draws the same numbers


def test_the_seed_decides_and_data_seed_only_the_order(tmp_path: Path) -> None:
    def final(name: str, **seeds: int) -> Tensor:
        trainer = build_small(str(tmp_path / name), max_steps=3, save_strategy="no", **seeds)
        trainer.train()
        return outcome(trainer)["model.classifier.weight"]

    same, again = final("a", seed=7), final("b", seed=7)
    assert torch.equal(same, again)
    assert not torch.equal(same, final("c", seed=8))
    assert not torch.equal(same, final("d", seed=7, data_seed=8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 needs a GPU")
def test_fp16_scales_the_loss_and_learns_like_fp32(tmp_path: Path) -> None:
    base(tmp_path)
    losses = []
    for name, half in (("fp32", {}), ("fp16", {"fp16": True})):
        trainer = build(tmp_path, name, no_cuda=False, **half)
        trainer.train()
        losses.append([e["loss"] for e in trainer.state.log_history if "loss" in e])
        assert trainer.precision.scaler.is_enabled() is bool(half)
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
