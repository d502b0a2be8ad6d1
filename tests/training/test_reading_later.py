"""On an accelerator a run goes on before its losses are known, and is the same run: figures, weights, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_case import lora_trainer
from pretended_device import ArgumentsOfDevice, PretendedDevice, pretended_device
from torch import Tensor
from training_case import BrokenRow, TinyClassifier, arguments, build, examples, outcome, pad, with_a_broken_row

from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.training import unread_steps

ON_DEVICE: dict[str, Any] = {
    **{"report_to": "none", "disable_tqdm": True, "no_cuda": True, "save_strategy": "no"},
    "dataloader_pin_memory": False,
}


class Waits(TrainerCallback):
    """Notes how often the device was waited for by the end of each step."""

    def __init__(self, device: PretendedDevice) -> None:
        self.device, self.after, self.read = device, [], []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.device.waits.clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.after += self.device.waits  # the bar's too, which was told before
        self.read.append(not isinstance(kwargs["loss"], Tensor))


SETTINGS: dict[str, Any] = {
    "max_steps": 6,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-2,
    "logging_steps": 4,
    "weight_decay": 0.1,
}


@pytest.mark.parametrize(("family", "bf16"), [("roberta", False), ("deberta", False), ("deberta", True)])
def test_neither_training_nor_evaluation_waits_in_a_step(
    family: str, bf16: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**ON_DEVICE, **SETTINGS, "bf16": bf16, "disable_tqdm": False}
    on_cpu = lora_trainer(family, TrainingArguments(str(tmp_path), **settings, optim="adamw_torch_fused"))
    on_cpu.train()
    wanted, metrics = outcome(on_cpu), on_cpu.evaluate()
    with pretended_device() as device:
        trainer = lora_trainer(family, ArgumentsOfDevice(str(tmp_path), **settings))
        waits = Waits(device)
        trainer.add_callback(waits)
        trainer.train()
        assert waits.after == []
        assert waits.read == [False] * 6
        assert "loss=" in capsys.readouterr().err  # of the last log: the bar reads none itself
        found = {name: value.cpu() for name, value in outcome(trainer).items()}
        device.waits.clear()
        batch = next(iter(trainer.get_eval_dataloader()))
        trainer.model.eval()
        trainer.prediction_step(trainer.model, batch, False)
        assert device.waits == []
        assert trainer.evaluate()["eval_loss"] == pytest.approx(metrics["eval_loss"], abs=2e-2 if bf16 else 1e-5)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items() if not bf16 else ():  # Adam divides what is rounded by its own size
        torch.testing.assert_close(found[name], value, atol=2e-5, rtol=1e-4)
    assert trainer.state.loss_sum == pytest.approx(on_cpu.state.loss_sum, abs=5e-2 if bf16 else 1e-5)


@pytest.mark.parametrize("most", [2, 100])
def test_figures_are_those_of_a_run_that_reads_at_once(most: int, tmp_path: Path, monkeypatch: Any) -> None:
    """The same computations, read together: logs, sums, the optimizer's state and the weights are equal bit by bit."""
    monkeypatch.setattr("transformers.trainer.MOST_UNREAD", most)
    settings = {"max_steps": 9, "logging_steps": 4, "evaluation_strategy": "no", "save_strategy": "no"}
    plain = build(str(tmp_path / "cpu"), dropout=0.0, optim="adamw_torch_fused", **settings)
    plain.train()
    wanted = outcome(plain)
    with pretended_device():
        args = ArgumentsOfDevice(str(tmp_path / "device"), **{**vars_of(plain.args), "optim": "adamw_torch"})
        torch.manual_seed(5)
        trainer = Trainer(TinyClassifier(0.0), args, pad, examples(61))
        trainer.train()
        found = {name: value.cpu() for name, value in outcome(trainer).items()}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert trainer.state.loss_sum == plain.state.loss_sum


def vars_of(args: TrainingArguments) -> dict[str, Any]:
    names = "per_device_train_batch_size gradient_accumulation_steps learning_rate warmup_steps weight_decay"
    names += " logging_steps max_steps evaluation_strategy save_strategy report_to disable_tqdm no_cuda"
    return {**{name: getattr(args, name) for name in names.split()}, "dataloader_pin_memory": False}


@pytest.mark.parametrize(
    ("choice", "optim"), [("stop", "adamw_torch_fused"), ("stop", "sgd"), ("skip", "sgd"), ("warn", "sgd")]
)
def test_a_step_that_is_not_finite(choice: str, optim: str, tmp_path: Path) -> None:
    """It is found later, and all is as if it had been found at once: the step, its rows, and the weights before it."""
    settings = {"on_nonfinite": choice, "max_steps": 24, "learning_rate": 0.1, "logging_steps": 10}

    def run(folder: Path, kind: type[TrainingArguments]) -> Trainer:
        args = kind(str(folder), **ON_DEVICE, **settings, optim=optim)
        torch.manual_seed(0)
        trainer = Trainer(BrokenRow(), args, pad, with_a_broken_row(17))
        if choice == "stop":
            with pytest.raises(FloatingPointError, match="were not updated"):
                trainer.train()
        else:
            trainer.train()
        return trainer

    plain = run(tmp_path / "cpu", TrainingArguments)
    with pretended_device():
        trainer = run(tmp_path / "device", ArgumentsOfDevice)
        weights = {name: value.cpu() for name, value in trainer.model.state_dict().items()}
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0, equal_nan=True)
    files = [tmp_path / folder / "nonfinite_steps.jsonl" for folder in ("cpu", "device")]
    wanted, found = ([json.loads(line) for line in file.read_text().splitlines()] for file in files)
    assert found == wanted
    for field in ("global_step", "epoch", "current_epoch", "epoch_steps_done", "loss_sum"):
        assert getattr(trainer.state, field) == getattr(plain.state, field), field


def test_only_what_can_hold_back_a_step_is_read_later(tmp_path: Path) -> None:
    with pretended_device():
        for changes, later in [
            ({}, True),
            ({"optim": "sgd"}, True),
            ({"optim": "adafactor"}, False),
            ({"optim": "adafactor", "on_nonfinite": "warn"}, True),
            ({"on_nonfinite": "skip"}, False),
        ]:
            args = ArgumentsOfDevice(str(tmp_path), **ON_DEVICE, **changes)
            trainer = Trainer(TinyClassifier(), args, pad, examples(9))
            trainer.create_optimizer()
            assert trainer._may_read_later() is later, changes
    trainer = Trainer(TinyClassifier(), arguments(tmp_path), pad, examples(9))
    trainer.create_optimizer()
    assert not trainer._may_read_later()


@pytest.mark.parametrize("saved", [True, None])
def test_a_checkpoint_does_not_choose_the_kernel(saved: bool | None, tmp_path: Path) -> None:
    """One that a GPU's fused kernel wrote goes on with this machine's choice, and the other way round."""
    settings = {"evaluation_strategy": "no", "save_steps": 5, "max_steps": 10, "dropout": 0.0}
    names = {True: "adamw_torch_fused", None: "adamw_torch"}
    first = build(str(tmp_path), **settings, optim=names[saved])
    first.train()
    state = first.optimizer.state_dict()
    other = build(str(tmp_path / "other"), **settings, optim=names[None if saved else True])
    other.create_optimizer()
    other.parallel.load_optimizer_state(other.optimizer, state)
    assert {group["fused"] for group in other.optimizer.param_groups} == {None if saved else True}
    assert unread_steps.leaves_out_updates(other.optimizer) is (not saved)
    for one, same in zip(state["state"].values(), other.optimizer.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(same[name])) for name, value in one.items())
