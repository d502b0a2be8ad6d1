"""A replayed CUDA graph computes what the plain pass computes, bit for bit, dropout included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, labels_for, make_head, padded_batch
from lora_case import lora_trainer
from method_models import CHOICES, make_model
from tiny import LORA, shake
from torch import Tensor
from training_case import outcome

from transformers import PreTrainedModel, TrainingArguments
from transformers.methods.lora.layers import lora_layers
from transformers.training.graphed_steps import GraphedSteps

DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "lora_dropout": 0.1}
FIELDS: dict[str, Any] = {**DROPOUT, "max_position_embeddings": 100}
TRAINED = [(family, task) for family, task in HEADS if task != "base"]


def _steps(model: PreTrainedModel, capture: bool = True) -> GraphedSteps:
    return GraphedSteps(model, lambda batch: model(**batch).loss, capture=capture)


def _batches(task: str, gpu: torch.device) -> list[dict[str, Tensor]]:
    """Four batches of one shape and one of another, which comes between them."""
    found = []
    for side in ("right", "left", "long", "holes", "right", "long", "long"):
        inputs = padded_batch("right" if side == "long" else side, task)
        if side == "long":
            inputs = {name: values.repeat_interleave(8, -1) for name, values in inputs.items()}
        inputs = {**inputs, **labels_for(task, inputs)}
        found.append({name: values.to(gpu) for name, values in inputs.items()})
    return found


def _trained(model: PreTrainedModel, steps: GraphedSteps, batches: list[dict[str, Tensor]]) -> list[Tensor]:
    """Give losses and gradients of optimizer steps of two passes each."""
    found: list[Tensor] = []
    model.zero_grad()
    for number, batch in enumerate(batches):
        factor = torch.full((), 0.5 + number, device=batch["input_ids"].device)
        found.append(steps.run(batch, factor))
        if number % 2:
            found += [each.grad.clone() for each in model.parameters() if each.grad is not None]
            model.zero_grad()
    return found


def _assert_same(model: PreTrainedModel, task: str, gpu: torch.device) -> GraphedSteps:
    shake(model, 3, scale=0.3)
    model.to(gpu).train()
    batches = 3 * _batches(task, gpu)
    torch.manual_seed(4)
    wanted = _trained(model, _steps(model, capture=False), batches)
    torch.manual_seed(4)
    steps = _steps(model)
    found = _trained(model, steps, batches)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
    assert [graph is not None for graph in steps._graphs.values()] == [True, True]
    return steps


@pytest.mark.parametrize(("family", "task"), TRAINED)
def test_every_head(family: str, task: str, gpu: torch.device) -> None:
    _assert_same(make_head(family, task, **{**LORA, **FIELDS}, lora_target_modules="all-linear"), task, gpu)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_every_method(family: str, choice: str, gpu: torch.device) -> None:
    _assert_same(make_model(family, **{**CHOICES[choice], **FIELDS}), "sequence-classification", gpu)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, gpu: torch.device) -> None:
    model = make_head("roberta", "sequence-classification", **{**LORA, **FIELDS})
    model.cast_frozen_parameters(dtype)
    _assert_same(model, "sequence-classification", gpu)


def test_what_is_changed_between_steps_is_heeded(gpu: torch.device) -> None:
    """A graph knows nothing of Python: dropout, scaling, what is trained, and where parameters lie are looked at."""
    model = make_head("roberta", "sequence-classification", **LORA)
    shake(model, 3, scale=0.3)
    model.to(gpu).train()
    batch, factor = _batches("sequence-classification", gpu)[0], torch.ones((), device=gpu)
    steps = _steps(model)

    def both() -> tuple[Tensor, Tensor]:
        model.zero_grad()
        losses = [steps.run(batch, factor) for _ in range(3)]
        assert torch.equal(losses[0], losses[2])
        return losses[2], model.classifier.out_proj.weight.grad.clone()  # type: ignore[union-attr]

    before = both()
    for _, layer in lora_layers(model):
        layer.scaling *= 3
    scaled = both()
    assert not torch.equal(before[0], scaled[0])
    model.classifier.out_proj.weight.data = 2 * model.classifier.out_proj.weight.data  # another address
    moved = both()
    assert not torch.equal(scaled[0], moved[0])
    first = next(each for each in model.parameters() if each.requires_grad)
    first.requires_grad_(False)
    both()
    assert first.grad is None


@pytest.mark.parametrize("precision", [{}, {"bf16": True}, {"fp16": True}], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_a_training_learns_the_same_and_goes_on_from_a_checkpoint(
    family: str, precision: dict[str, bool], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        **{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 12, "save_steps": 7},
        **{"learning_rate": 1e-2, "logging_steps": 1, "report_to": "none", "disable_tqdm": True, **precision},
    }
    usual = lora_trainer(family, TrainingArguments(str(tmp_path / "usual"), **settings))
    usual.train()
    graphed = lora_trainer(family, TrainingArguments(str(tmp_path / "graphs"), **settings, cuda_graphs=True))
    graphed.train()
    losses = [[log["loss"] for log in each.state.log_history if "loss" in log] for each in (usual, graphed)]
    assert losses[1] == pytest.approx(losses[0], abs=0.03 if precision else 1e-4)
    names = ("straight", "resumed")
    found = []
    for name in names:
        arguments = TrainingArguments(str(tmp_path / "run"), **settings, cuda_graphs=True)
        trainer = lora_trainer(family, arguments, **DROPOUT)
        trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-7") if name == "resumed" else None)
        found.append(outcome(trainer))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name
