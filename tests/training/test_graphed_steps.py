"""Steps that may be captured compute what other steps do: padded to few lengths, padding included, without a wait.

Capturing and replaying need a GPU: `tests/gpu/test_graphs.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, labels_for, make_head, padded_batch
from lora_case import lora_trainer
from method_models import CHOICES, make_model
from pretended_device import DEVICE, pretended_device
from tiny import LORA, shake
from torch import Tensor
from training_case import arguments

from transformers import PreTrainedModel, Trainer
from transformers.layers.transfer import send
from transformers.training.graphed_steps import MULTIPLE, GraphedSteps, check_graphs

TRAINED = [(family, task) for family, task in HEADS if task != "base"]


def _usual(model: PreTrainedModel, inputs: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    model.zero_grad()
    loss = model(**inputs).loss
    (loss * factor).backward()
    return _found(model, loss.detach())


def _found(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    gradients = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    return {"loss": loss, **gradients}


def _steps(model: PreTrainedModel) -> GraphedSteps:
    return GraphedSteps(model, lambda batch: model(**batch).loss, capture=False)


def _assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    largest = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5 * largest, msg=name)


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize(("family", "task"), TRAINED)
def test_every_head_learns_the_same(family: str, task: str, side: str) -> None:
    model = make_head(family, task, **LORA, lora_target_modules="all-linear").train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch(side, task)
    inputs = {**inputs, **labels_for(task, inputs)}
    wanted = _usual(model, inputs, 0.25)
    model.zero_grad()
    _assert_same(_found(model, _steps(model).run(inputs, torch.tensor(0.25))), wanted)
    assert model.base_model.static_shapes is False
    _assert_same(_usual(model, inputs, 0.25), wanted)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_every_method_learns_the_same(family: str, choice: str) -> None:
    model = make_model(family, **CHOICES[choice]).train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch("holes")
    inputs = {**inputs, **labels_for("sequence-classification", inputs)}
    wanted = _usual(model, inputs, 1.0)
    model.zero_grad()
    _assert_same(_found(model, _steps(model).run(inputs, torch.ones(()))), wanted)


def test_gradients_of_passes_add_up() -> None:
    model = make_head("roberta", "sequence-classification", **LORA).train()
    shake(model, 3, scale=0.3)
    parts = []
    for side in ("right", "holes"):
        inputs = padded_batch(side)
        parts.append({**inputs, **labels_for("sequence-classification", inputs)})
    first, second = (_usual(model, part, 0.5) for part in parts)
    model.zero_grad()
    steps = _steps(model)
    losses = [steps.run(part, torch.tensor(0.5)) for part in parts]
    wanted = {name: value + second[name] for name, value in first.items()}
    _assert_same(_found(model, losses[0] + losses[1]), wanted)


@pytest.mark.parametrize(("length", "wanted"), [(1, 32), (32, 32), (33, 62), (60, 62), (62, 62)])
def test_padding_goes_to_few_lengths(length: int, wanted: int) -> None:
    model = make_head("roberta", "token-classification", **LORA, max_position_embeddings=64)
    assert model.longest_text == 62
    shapes: list[dict[str, Any]] = []

    def compute(batch: dict[str, Tensor]) -> Tensor:
        shapes.append({name: (values.shape, int(values[0, -1])) for name, values in batch.items()})
        loss: Tensor = model(**batch).loss
        return loss

    ids = torch.full((2, length), 7)
    GraphedSteps(model, compute, capture=False).run({"input_ids": ids, "labels": ids % 3}, torch.ones(()))
    added = wanted > length
    assert wanted % MULTIPLE == 0 or wanted == 62
    assert shapes == [
        {
            "attention_mask": ((2, wanted), 0 if added else 1),
            "input_ids": ((2, wanted), 1 if added else 7),
            "labels": ((2, wanted), -100 if added else 1),
        }
    ]


@pytest.mark.parametrize("task", ["sequence-classification", "token-classification", "question-answering"])
def test_columns_that_no_row_uses_are_cut(task: str) -> None:
    """Scripts may pad all texts to 512 tokens."""
    model = make_head("roberta", task, **LORA, max_position_embeddings=64).train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch("holes", task)
    inputs = {**inputs, **labels_for(task, inputs)}
    fillings = {"input_ids": 1, "attention_mask": 0, "labels": -100}
    padded = {
        name: torch.nn.functional.pad(values, (0, 93), value=fillings[name]) if values.shape[1:] == (9,) else values
        for name, values in inputs.items()
    }
    assert padded["input_ids"].shape[1] == 102
    found = []
    for batch in (inputs, padded):
        widths: list[int] = []

        def compute(given: dict[str, Tensor], widths: list[int] = widths) -> Tensor:
            widths.append(given["input_ids"].shape[1])
            loss: Tensor = model(**given).loss
            return loss

        model.zero_grad()
        loss = GraphedSteps(model, compute, capture=False).run(batch, torch.ones(()))
        assert widths == [32]
        found.append(_found(model, loss))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_labels_of_rows_are_not_padded() -> None:
    """Also where there are as many of them as tokens."""
    model = make_head("roberta", "sequence-classification", **LORA, num_labels=5).train()
    inputs = {"input_ids": torch.full((2, 5), 7), "labels": torch.rand(2, 5)}
    wanted = _usual(model, inputs, 1.0)
    model.zero_grad()
    _assert_same(_found(model, _steps(model).run(inputs, torch.ones(()))), wanted)


def test_masked_words_are_scored_everywhere() -> None:
    """A shape that is captured may not depend on where labels count."""
    model = make_head("roberta", "masked-lm", **LORA).train()
    model.sparse_prediction = True
    inputs = padded_batch("right")
    inputs = {**inputs, **labels_for("masked-lm", inputs)}
    wanted = _usual(model, inputs, 1.0)
    model.zero_grad()
    shapes = []

    def compute(batch: dict[str, Tensor]) -> Tensor:
        output = model(**batch)
        shapes.append(output.logits.shape)
        loss: Tensor = output.loss
        return loss

    found = _found(model, GraphedSteps(model, compute, capture=False).run(inputs, torch.ones(())))
    _assert_same(found, wanted)
    assert shapes == [(6, model.longest_text, model.config.vocab_size)]


@pytest.mark.parametrize(("family", "task"), TRAINED)
def test_nothing_waits_for_the_device(family: str, task: str) -> None:
    """What would wait could not be captured."""
    inputs = padded_batch("holes", task)
    inputs = {**inputs, **labels_for(task, inputs)}
    dropout = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "lora_dropout": 0.1}
    model = make_head(family, task, **LORA, **dropout).train()
    with pretended_device() as device:
        model.to(DEVICE)
        moved = {name: send(values, DEVICE) for name, values in inputs.items()}  # as the Trainer does
        factor = torch.ones((), device=DEVICE)
        steps = _steps(model)
        steps.run(moved, factor)  # DeBERTa's table of positions goes there once
        device.waits.clear()
        steps.run(moved, factor)
        assert device.waits == []


def test_a_model_that_computes_padding_anyway_goes_on_doing_so() -> None:
    model = make_head("deberta", "sequence-classification", **LORA).train()
    model.use_static_shapes()
    inputs = padded_batch("right")
    _steps(model).run({**inputs, **labels_for("sequence-classification", inputs)}, torch.ones(()))
    assert model.base_model.static_shapes is True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"consistency": "rdrop", "reg_loss_wgt": 1.0}, "consistency training"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing"),
    ],
)
def test_what_is_not_the_same_every_time_is_refused(change: dict[str, Any], reason: str) -> None:
    model = make_head("roberta", "sequence-classification", **LORA)
    for name, value in change.items():
        setattr(model.config, name, value)
    with pytest.raises(ValueError, match=f"cuda_graphs is set, but {reason}"):
        check_graphs(model)


def test_inputs_that_cannot_be_padded_are_refused() -> None:
    model = make_head("roberta", "sequence-classification", **LORA)
    inputs = {**padded_batch("right"), "position_ids": torch.zeros(6, 7, dtype=torch.long)}
    with pytest.raises(ValueError, match=r"the batch has .*position_ids.*Train without it"):
        _steps(model).run(inputs, torch.ones(()))
    with pytest.raises(ValueError, match=r"70 tokens wide.*positions for \d+; truncate"):
        _steps(model).run({"input_ids": torch.full((1, 70), 7)}, torch.ones(()))


class _OwnLoss(Trainer):
    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs)


class _OwnStep(Trainer):
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        return super().training_step(*args, **kwargs)


@pytest.mark.parametrize(("kind", "name"), [(_OwnLoss, "compute_loss"), (_OwnStep, "training_step")])
def test_methods_that_captures_alone_would_call_are_refused(kind: type[Trainer], name: str, tmp_path: Path) -> None:
    plain = lora_trainer("roberta", arguments(tmp_path))
    trainer = kind(plain.model, plain.args, plain.data_collator, plain.train_dataset)
    trainer.args.cuda_graphs = True
    with pytest.raises(ValueError, match=f"{name} is the script's own"):
        trainer.train()


def test_a_whole_training_is_the_same(tmp_path: Path) -> None:
    """As far as a machine without a GPU can show it: without captures."""
    settings = {"max_steps": 7, "gradient_accumulation_steps": 2, "learning_rate": 1e-2, "logging_steps": 1}
    usual, padded = (lora_trainer("deberta", arguments(tmp_path, **settings)) for _ in range(2))
    usual.train()
    padded.args.cuda_graphs = True
    padded.train()
    logs = [[entry["loss"] for entry in each.state.log_history if "loss" in entry] for each in (usual, padded)]
    assert len(logs[0]) == 7
    assert logs[1] == pytest.approx(logs[0], abs=1e-4)
