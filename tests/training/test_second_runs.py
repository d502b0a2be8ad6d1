"""What a run needs is made by the run: a second training, streams, and what a resumed run does with its arguments."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from training_case import TinyClassifier, arguments, build, examples, outcome, pad

from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.training import resumed_arguments as table

# -- a second training ---------------------------------------------------------------------------------------------


def rates(trainer: Trainer) -> list[float]:
    return [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]


def test_a_second_training_has_a_schedule_and_an_optimizer_of_its_own(tmp_path: Path) -> None:
    trainer = build(str(tmp_path), max_steps=4, warmup_steps=0, logging_steps=1, save_strategy="no")
    trainer.train()
    first = rates(trainer)
    assert first == pytest.approx([1e-2, 7.5e-3, 5e-3, 2.5e-3])
    optimizer = trainer.optimizer
    trainer.train()
    assert rates(trainer) == first
    assert trainer.optimizer is not optimizer
    assert {float(state["step"]) for state in trainer.optimizer.state.values()} == {4.0}
    trainer.args.max_steps, trainer.args.learning_rate = 8, 2e-2
    trainer.train()
    assert rates(trainer) == pytest.approx([2e-2 * (8 - step) / 8 for step in range(8)])


def test_the_same_object_resumes_like_a_new_one(tmp_path: Path) -> None:
    trainer = build(str(tmp_path), max_steps=20)
    trainer.train()
    whole = outcome(trainer)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    torch.testing.assert_close(outcome(trainer), whole, rtol=0, atol=0)


def test_what_the_caller_gave_is_kept_and_its_state_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TinyClassifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    args = arguments(tmp_path, max_steps=2, logging_steps=1)
    trainer = Trainer(model, args, pad, examples(20), optimizers=(optimizer, schedule))
    trainer.train()
    assert "given to the Trainer" not in capsys.readouterr().err
    trainer.train()
    assert "goes on where the last training left it, at a learning rate of 1.50e-01" in capsys.readouterr().err
    assert trainer.optimizer is optimizer
    assert trainer.lr_scheduler is schedule


def test_a_model_made_anew_and_an_optimizer_of_an_old_one_are_refused(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(TinyClassifier().parameters(), lr=0.3)
    with pytest.raises(ValueError, match="model_init and optimizers"):
        Trainer(args=arguments(tmp_path), model_init=TinyClassifier, optimizers=(optimizer, None))


def test_the_patience_of_early_stopping_starts_anew(tmp_path: Path) -> None:
    trainer = build(str(tmp_path), learning_rate=0.0, eval_steps=1, save_strategy="no", metric_for_best_model="loss")
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
    for _ in range(2):
        assert trainer.train().global_step == 3


# -- streams -------------------------------------------------------------------------------------------------------


class Stream(IterableDataset[Any]):
    """Examples in an order that depends on the epoch, as those of ``datasets`` do."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Any:
        order = torch.randperm(12, generator=torch.Generator().manual_seed(self.epochs[-1])).tolist()
        return iter([examples(12)[number] for number in order])


class SeenNumbers:
    """A collator that writes down which examples come."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        self.seen += [example["number"] for example in features]
        return pad(features)


def test_a_stream_hears_of_every_epoch(tmp_path: Path) -> None:
    stream, collator = Stream(), SeenNumbers()
    args = arguments(tmp_path, max_steps=9, per_device_train_batch_size=4, remove_unused_columns=False)
    Trainer(TinyClassifier(), args, collator, stream).train()
    assert stream.epochs == [0, 1, 2]
    epochs = [collator.seen[start : start + 12] for start in (0, 12, 24)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_stream_of_datasets_is_shuffled_anew_and_resumed_alike(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")

    def run(folder: str, resume: str | None = None) -> list[int]:
        rows = [{**row, "input_ids": row["input_ids"]} for row in examples(12)]
        stream = datasets.Dataset.from_list(rows).to_iterable_dataset().shuffle(seed=3, buffer_size=12)
        collator = SeenNumbers()
        args = arguments(
            tmp_path / folder,
            max_steps=6,
            per_device_train_batch_size=4,
            remove_unused_columns=False,
            save_strategy="steps",
            save_steps=4,
        )
        Trainer(TinyClassifier(), args, collator, stream).train(resume_from_checkpoint=resume)
        return collator.seen

    seen = run("whole")
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]
    assert run("resumed", str(tmp_path / "whole" / "checkpoint-4"))[-8:] == seen[-8:]


def test_other_data_sets_and_loaders_hear_of_it_too(tmp_path: Path) -> None:
    class Listening(Dataset[Any]):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            return examples(8)[index]

    for workers in (0, 1):
        own = Listening()
        args = arguments(tmp_path, num_train_epochs=2, dataloader_num_workers=workers)
        Trainer(TinyClassifier(), args, pad, own).train()
        assert own.epochs == [0, 1]

    class Loader(DataLoader[Any]):
        epochs: list[int] = []  # noqa: RUF012

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

    class Own(Trainer):
        def get_train_dataloader(self) -> Any:
            return Loader(self.train_dataset, batch_size=4, collate_fn=pad)

    Own(TinyClassifier(), arguments(tmp_path, num_train_epochs=2), pad, examples(8)).train()
    assert Loader.epochs == [0, 1]


# -- arguments of a resumed run ------------------------------------------------------------------------------------


def test_the_table_knows_every_argument_once() -> None:
    parts = (table.KEPT, table.REFUSED, table.TAKEN, table.FREE)
    names = {item.name for item in dataclasses.fields(TrainingArguments)}
    assert frozenset().union(*parts) == names
    assert sum(map(len, parts)) == len(names)


class Groups(TrainerCallback):
    """Writes down the first step's settings of the optimizer."""

    def __init__(self) -> None:
        self.first: dict[str, Any] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.first = self.first or dict(kwargs["optimizer"].param_groups[0])


def go_on(
    folder: Path, capsys: pytest.CaptureFixture[str], **changes: Any
) -> tuple[Trainer, dict[str, Any], list[str]]:
    """Train to step 10, then go on to 20 with other arguments: the trainer, the first step's settings, the lines."""
    settings: dict[str, Any] = {"logging_steps": 1, "warmup_steps": 0}
    build(str(folder), **settings).train()
    trainer, groups = build(str(folder), **{**settings, **changes}), Groups()
    trainer.add_callback(groups)
    capsys.readouterr()
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-10"))
    lines = [line for line in capsys.readouterr().err.splitlines() if "--" in line]
    return trainer, groups.first, lines


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"learning_rate": 1e-5}, {"lr": 1e-5 * 0.5, "initial_lr": 1e-5}),
        ({"weight_decay": 0.3}, {"weight_decay": 0.3, "lr": 5e-3}),
        ({"adam_beta1": 0.5}, {"betas": (0.5, 0.999)}),
        ({"adam_epsilon": 1e-3}, {"eps": 1e-3}),
        ({"lr_scheduler_type": "constant"}, {"lr": 1e-2}),
        ({"warmup_steps": 16}, {"lr": 1e-2 * 10 / 16}),
        ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2, "lr_end": 0}}, {"lr": 1e-2 * 0.25}),
    ],
    ids=lambda value: "-".join(value),
)
def test_what_is_reported_as_taken_is_what_trains(
    changes: dict[str, Any], settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, first, lines = go_on(tmp_path, capsys, **changes)
    for name in changes:
        (line,) = [line for line in lines if f"--{name} was" in line]
        assert "taken from here on" in line
    for name, value in settings.items():
        assert first[name] == pytest.approx(value), name
    assert trainer.state.global_step == 20


@pytest.mark.parametrize("changes", [{"seed": 7}, {"data_seed": 3}, {"dataloader_drop_last": True}])
def test_what_is_reported_as_ignored_changes_nothing(
    changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, _, lines = go_on(tmp_path, capsys, **changes)
    plain = build(str(tmp_path / "plain"), logging_steps=1, warmup_steps=0)
    plain.train()
    torch.testing.assert_close(outcome(trainer), outcome(plain), rtol=0, atol=0)
    ((name, _),) = changes.items()
    assert [line for line in lines if f"--{name} was" in line and "it is ignored" in line]
    assert getattr(trainer.args, name) == getattr(plain.args, name)


@pytest.mark.parametrize(
    "changes", [{"optim": "sgd"}, {"adafactor": True}, {"lr_scheduler_type": "reduce_lr_on_plateau"}]
)
def test_what_cannot_change_is_refused_before_anything_is_done(
    changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"--\w+ was \S+ in '.*checkpoint-10' and is"):
        go_on(tmp_path, capsys, **changes)


def test_nothing_is_said_where_nothing_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, lines = go_on(tmp_path, capsys)
    assert lines == []


def test_an_optimizer_of_the_script_s_goes_on_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(rate: float, resume: str | None = None) -> Trainer:
        model = TinyClassifier()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        args = arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=2, learning_rate=rate)
        trainer = Trainer(model, args, pad, examples(20), optimizers=(optimizer, None))
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    run(1e-3)
    trainer = run(1e-5, str(tmp_path / "checkpoint-2"))
    assert "--learning_rate was 0.001" in (said := capsys.readouterr().err)
    assert "it is ignored, the optimizer and the schedule of the script's own go on" in said
    assert trainer.optimizer.param_groups[0]["initial_lr"] == 0.3


def test_the_best_so_far_is_forgotten_where_best_means_something_else(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 10, "save_steps": 5, "load_best_model_at_end": True}
    build(str(tmp_path), **settings).train()
    other = build(str(tmp_path), **{**settings, "max_steps": 15, "metric_for_best_model": "runtime"})
    other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    assert other.state.best_model_checkpoint == str(tmp_path / "checkpoint-15")
    assert json.loads((tmp_path / "checkpoint-15" / "trainer_state.json").read_text())["best_metric"] > 0


# -- a schedule by metrics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_name", [True, False])
def test_reduce_on_plateau(by_name: bool, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 8, "logging_steps": 1, "eval_steps": 2, "save_strategy": "no"}
    # No epsilon of an improvement is enough, so the rate falls at every evaluation but the first.
    strict = {"patience": 0, "factor": 0.5, "threshold": 1e9, "threshold_mode": "abs"}
    if by_name:
        settings |= {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": strict}
        trainer = build(str(tmp_path), **settings)
    else:
        plain = build(str(tmp_path), **settings)
        optimizer = torch.optim.SGD(plain.model.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **strict)
        trainer = Trainer(
            plain.model, plain.args, pad, plain.train_dataset, plain.eval_dataset, optimizers=(optimizer, schedule)
        )
    trainer.train()
    assert rates(trainer) == pytest.approx([1e-2, 1e-2, 1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3, 2.5e-3])


def test_reduce_on_plateau_follows_the_metric_s_direction_and_resumes(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"patience": 1, "factor": 0.5},
        "eval_steps": 2,
        "save_steps": 4,
        "max_steps": 12,
        "logging_steps": 1,
        "learning_rate": 0.3,
    }
    whole = build(str(tmp_path), **settings)
    whole.train()
    assert len(set(rates(whole))) > 1, "the rate moved, or there is nothing to see"
    resumed = build(str(tmp_path), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    torch.testing.assert_close(outcome(resumed), outcome(whole), rtol=0, atol=0)
    up = build(str(tmp_path / "up"), **settings, metric_for_best_model="samples_per_second")
    assert up.create_scheduler(num_training_steps=4).mode == "max"


def test_reduce_on_plateau_wants_evaluations(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reduce_lr_on_plateau moves by evaluations"):
        arguments(tmp_path, lr_scheduler_type="reduce_lr_on_plateau")
    model: nn.Module = TinyClassifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="ReduceLROnPlateau moves by evaluations"):
        Trainer(model, arguments(tmp_path), pad, examples(8), optimizers=(optimizer, schedule)).train()
