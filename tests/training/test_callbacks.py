"""Callbacks: their order and wishes, TensorBoard's files, the printed lines, and what a state remembers."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from training_case import build, trainer_of

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.integrations import (
    TensorBoardCallback,
    WandbCallback,
    get_available_reporting_integrations,
    get_reporting_integration_callbacks,
    resolve_report_to,
    rewrite_logs,
)


class Recorder(TrainerCallback):
    """Writes down every event with its step."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.keywords: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def record(args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
            self.events.append((name, state.global_step))
            self.keywords |= set(kwargs)

        return record


def test_events_come_in_order(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build(str(tmp_path), max_steps=2, logging_steps=1, eval_steps=2, save_steps=2)
    trainer.add_callback(recorder)
    trainer.train()
    trainer.predict(trainer.eval_dataset)
    evaluation = [("on_prediction_step", 2)] * 3
    assert recorder.events == [
        ("on_train_begin", 0),
        ("on_epoch_begin", 0),
        ("on_step_begin", 0),
        ("on_substep_end", 0),
        ("on_pre_optimizer_step", 0),
        ("on_optimizer_step", 0),
        ("on_step_end", 1),
        ("on_log", 1),
        ("on_step_begin", 1),
        ("on_substep_end", 1),
        ("on_pre_optimizer_step", 1),
        ("on_optimizer_step", 1),
        ("on_step_end", 2),
        ("on_log", 2),
        *evaluation,
        ("on_log", 2),
        ("on_evaluate", 2),
        ("on_save", 2),
        ("on_epoch_end", 2),
        ("on_log", 2),
        ("on_train_end", 2),
        *evaluation,
        ("on_predict", 2),
    ]
    assert {
        "model",
        "tokenizer",
        "processing_class",
        "optimizer",
        "lr_scheduler",
        "train_dataloader",
    } <= recorder.keywords
    assert {"eval_dataloader", "metrics", "logs", "loss"} <= recorder.keywords


def test_a_callback_s_wishes_are_fulfilled(tmp_path: Path) -> None:
    class Wishes(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            control.should_log = state.global_step == 2
            control.should_save = state.global_step == 3
            control.should_epoch_stop = state.global_step == 4
            control.should_training_stop = state.global_step == 6
            return control

    trainer = build(str(tmp_path), evaluation_strategy="no", logging_strategy="no")
    trainer.add_callback(Wishes)
    assert trainer.train().global_step == 6
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == [2]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert trainer.state.epoch == pytest.approx(1 + 2 / 11)  # the first epoch ended after four steps


def test_callbacks_can_be_added_and_taken_out(tmp_path: Path) -> None:
    trainer = build(str(tmp_path))
    assert PrinterCallback.__name__ in trainer.callback_handler.callback_list
    printer = trainer.pop_callback(PrinterCallback)
    assert isinstance(printer, PrinterCallback)
    assert trainer.pop_callback(PrinterCallback) is None
    trainer.add_callback(printer)
    trainer.remove_callback(printer)
    assert PrinterCallback.__name__ not in trainer.callback_handler.callback_list
    shown = Trainer(trainer.model, TrainingArguments(str(tmp_path), report_to="none", no_cuda=True))
    assert ProgressCallback.__name__ in shown.callback_handler.callback_list


def test_the_progress_bar_shows_loss_and_learning_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(str(tmp_path), disable_tqdm=False, max_steps=4, logging_steps=2).train()
    captured = capsys.readouterr()
    assert "4/4" in captured.err
    assert "loss=" in captured.err
    assert "lr=" in captured.err
    assert "eval" not in captured.err.split("train")[0]
    assert "loss 1." in captured.out


def read_events(folder: Path) -> list[Event]:
    """Read TensorBoard's records: length, checksum, message, checksum."""
    events = []
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            length = int.from_bytes(data[position : position + 8], "little")
            events.append(Event.FromString(data[position + 12 : position + 12 + length]))
            position += 16 + length
    return events


def test_tensorboard_s_files_hold_scalars_arguments_and_hyper_parameters(tmp_path: Path) -> None:
    trainer = build(str(tmp_path), report_to=["tensorboard"], max_steps=10, logging_dir=str(tmp_path / "logs"))
    trainer.train()
    trainer.evaluate()  # goes to a file of its own, even within the same second
    values = [(event.step, value) for event in read_events(tmp_path / "logs") for value in event.summary.value]
    assert (tmp_path / "logs" / "hparams").is_dir()
    scalars: dict[str, dict[int, float]] = {}
    for step, value in values:
        if value.WhichOneof("value") == "simple_value":
            scalars.setdefault(value.tag, {})[step] = value.simple_value
    history = trainer.state.log_history
    expected = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    assert scalars["train/loss"] == pytest.approx(expected)
    evaluated = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    assert {step: scalars["eval/loss"][step] for step in evaluated} == pytest.approx(evaluated)
    assert set(scalars["train/learning_rate"]) == set(expected)
    texts = [value.tensor.string_val[0].decode() for _, value in values if value.tag.startswith("args")]
    assert len(texts) == 1
    assert json.loads(texts[0])["learning_rate"] == 1e-2
    assert any("hparams" in value.tag for _, value in values)
    parameters = b"".join(path.read_bytes() for path in (tmp_path / "logs" / "hparams").iterdir())
    assert b"learning_rate" in parameters
    assert b"global_step" in parameters or b"eval/loss" in parameters


def test_without_reports_nothing_is_written(tmp_path: Path) -> None:
    build(str(tmp_path), max_steps=1, logging_dir=str(tmp_path / "logs")).train()
    assert not (tmp_path / "logs").exists()


def test_reports_are_chosen_by_name() -> None:
    assert get_reporting_integration_callbacks([]) == []
    assert get_reporting_integration_callbacks(["tensorboard"]) == [TensorBoardCallback]
    with pytest.raises(ValueError, match="'tensorbored' is unknown"):
        get_reporting_integration_callbacks(["tensorbored"])
    named = [{"tensorboard": TensorBoardCallback, "wandb": WandbCallback}[name] for name in resolve_report_to("all")]
    assert get_reporting_integration_callbacks(["all"]) == named
    assert TensorBoardCallback in named
    if "wandb" not in get_available_reporting_integrations():
        with pytest.raises(ValueError, match="pip install wandb"):
            get_reporting_integration_callbacks(["wandb"])


def test_sections_of_tensorboard() -> None:
    renamed = rewrite_logs({"loss": 1, "eval_loss": 2, "eval_mnli-mm_accuracy": 3, "test_f1": 4, "epoch": 5})
    assert renamed == {
        "train/loss": 1,
        "eval/loss": 2,
        "eval/mnli-mm_accuracy": 3,
        "test/f1": 4,
        "train/epoch": 5,
    }


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    state = TrainerState(epoch=1 / 3, global_step=7, loss_sum=0.1 + 0.2, log_history=[{"loss": 2 / 3, "step": 1}])
    state.save_to_json(tmp_path / "trainer_state.json")
    assert TrainerState.load_from_json(tmp_path / "trainer_state.json") == state
    (tmp_path / "other.json").write_text('{"global_step": 1, "max_steps": 2, "something": 2}')
    with pytest.raises(ValueError, match="holds 'something'"):
        TrainerState.load_from_json(tmp_path / "other.json")


# -- every reporter sees every figure ------------------------------------------------------------------------------


class WandbRun:
    """A run as ``wandb.init`` gives it. The real one talks to a service; what it would be sent is written down."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.figures, self.finished = settings, [], False  # type: ignore[var-annotated]

    def log(self, figures: dict[str, Any]) -> None:
        assert not self.finished
        self.figures.append(figures)

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb_runs(monkeypatch: pytest.MonkeyPatch) -> list[WandbRun]:
    runs: list[WandbRun] = []

    def init(**settings: Any) -> WandbRun:
        runs.append(WandbRun(**settings))
        return runs[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=ModuleSpec("wandb", None)))
    return runs


def names(run: WandbRun) -> set[str]:
    return {name for figures in run.figures for name in figures}


def test_wandb_gets_what_comes_after_a_training(tmp_path: Path, wandb_runs: list[WandbRun]) -> None:
    trainer = build(str(tmp_path), max_steps=3, logging_steps=1, save_strategy="no")
    trainer.add_callback(WandbCallback)
    trainer.train()
    trainer.evaluate(metric_key_prefix="eval_final")
    trainer.predict(trainer.eval_dataset, metric_key_prefix="test")
    (run,) = wandb_runs
    assert not run.finished
    assert {"train/loss", "train/train_loss", "eval/final_loss", "test/loss"} <= names(run)
    trainer.train()
    first, second = wandb_runs
    assert first.finished, "a second training is a run of its own"
    assert "train/loss" in names(second)


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_reporters_get_figures_without_a_training(call: str, tmp_path: Path, wandb_runs: list[WandbRun]) -> None:
    trainer = build(str(tmp_path))
    trainer.add_callback(WandbCallback)
    trainer.add_callback(TensorBoardCallback)
    getattr(trainer, call)(trainer.eval_dataset)
    (run,) = wandb_runs
    assert "eval/loss" in names(run)
    written = read_events(Path(trainer.args.logging_dir))
    assert "eval/loss" in {value.tag for event in written for value in event.summary.value}


# -- the flow --------------------------------------------------------------------------------------------------------


def test_substeps_and_optimizer_steps_are_told_where_they_happen(tmp_path: Path) -> None:
    class Looks(TrainerCallback):
        def __init__(self) -> None:
            self.substeps, self.seen = 0, []  # type: ignore[var-annotated]

        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.substeps += 1
            assert kwargs["model"].classifier.bias.grad is not None

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.before = kwargs["model"].classifier.bias.detach().clone()

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bias = kwargs["model"].classifier.bias
            self.seen.append(bool(bias.grad.abs().sum() > 0 and not torch.equal(bias, self.before)))

    looks = Looks()
    trainer = build(str(tmp_path), max_steps=3, gradient_accumulation_steps=3, warmup_steps=0, save_strategy="no")
    trainer.add_callback(looks)
    trainer.train()
    assert (looks.substeps, looks.seen) == (6, [True, True, True])
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_only_the_best_is_saved(tmp_path: Path) -> None:
    class Given(Trainer):
        metrics = iter([0.5, 0.7, 0.6, 0.9])

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            return {"eval_quality": next(self.metrics)}

    settings = {"save_strategy": "best", "metric_for_best_model": "quality", "eval_steps": 5, "max_steps": 20}
    trainer = trainer_of(Given, tmp_path, **settings)
    trainer.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-10",
        "checkpoint-20",
        "checkpoint-5",
    ]
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-20")
    for wrong in ({"metric_for_best_model": None}, {"evaluation_strategy": "no"}):
        with pytest.raises(ValueError, match="save_strategy 'best' needs evaluations"):
            build(str(tmp_path), **{**settings, **wrong})


def test_shares_of_all_steps(tmp_path: Path) -> None:
    settings = {"logging_steps": 0.1, "eval_steps": 0.25, "save_steps": 0.5, "max_steps": 20, "warmup_steps": 0}
    trainer = build(str(tmp_path), **settings)
    trainer.train()
    history = trainer.state.log_history
    assert [entry["step"] for entry in history if "loss" in entry] == list(range(2, 21, 2))
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [5, 10, 15, 20]
    assert sorted(int(path.name[11:]) for path in tmp_path.glob("checkpoint-*")) == [10, 20]
    # The rate that the step was made with, not the next one's.
    assert [e["learning_rate"] for e in history if "loss" in e] == pytest.approx(
        [1e-2 * (20 - step) / 20 for step in range(1, 20, 2)]
    )


@pytest.mark.parametrize("name", ["logging_steps", "eval_steps", "save_steps"])
@pytest.mark.parametrize("value", [2.5, 0, 0.0, -1, float("inf"), float("nan")])
def test_fractions_of_steps_are_refused(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*a whole number of steps, or a share"):
        TrainingArguments(str(tmp_path), **{name: value})
    assert getattr(TrainingArguments(str(tmp_path), **{name: 5.0}), name) == 5
    assert isinstance(getattr(TrainingArguments(str(tmp_path), **{name: 5.0}), name), int)
