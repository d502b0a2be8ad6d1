"""Trainer classes and calls as they were written for Transformers 4.4.2: they take effect, or say that they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler
from training_case import TinyClassifier, arguments, build, examples, outcome, pad, trainer_of

from transformers import EvalPrediction, Trainer, TrainerCallback
from transformers.trainer_pt_utils import (
    DistributedTensorGatherer,
    LengthGroupedSampler,
    distributed_concat,
    nested_concat,
    nested_truncate,
)
from transformers.trainer_utils import PredictionOutput, get_last_checkpoint, speed_metrics
from transformers.training.checkpoint import verify_checkpoint


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


# -- evaluation ----------------------------------------------------------------------------------------------------


def test_an_override_of_prediction_loop_is_what_evaluates_and_predicts(tmp_path: Path) -> None:
    class Own(Trainer):
        def prediction_loop(  # type: ignore[no-untyped-def]
            self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
        ):
            return PredictionOutput(None, None, {f"{metric_key_prefix}_own": len(dataloader.dataset)})

    class Around(Trainer):
        def prediction_loop(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            output = super().prediction_loop(*args, **kwargs)
            output.metrics["eval_around"] = 1.0
            return output

    own = trainer_of(Own, tmp_path)
    assert own.evaluate()["eval_own"] == 17
    assert own.predict(examples(3), metric_key_prefix="test").metrics["test_own"] == 3
    around, plain = trainer_of(Around, tmp_path), build(str(tmp_path))
    metrics = around.evaluate()
    assert metrics["eval_around"] == 1.0
    assert metrics["eval_loss"] == plain.evaluate()["eval_loss"]
    predictions, labels, _ = plain.prediction_loop(plain.get_eval_dataloader(), description="Evaluation")
    assert (len(predictions), len(labels)) == (17, 17)


def test_a_prediction_loop_and_an_evaluate_in_4_4_2_s_manner_give_the_same_figures(tmp_path: Path) -> None:
    class Own(Trainer):
        def prediction_loop(  # type: ignore[no-untyped-def]
            self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
        ):
            size, count = dataloader.batch_size, self.num_examples(dataloader)
            gatherers = [DistributedTensorGatherer(self.args.world_size, count) for _ in range(3)]
            found: list[Any] = [None, None, None]
            self.model.eval()
            for inputs in dataloader:
                loss, logits, labels = self.prediction_step(self.model, inputs, False, ignore_keys=ignore_keys)
                for place, new in enumerate((loss.repeat(size), logits, labels)):
                    found[place] = new if found[place] is None else nested_concat(found[place], new)
            for gatherer, tensors in zip(gatherers, found, strict=True):
                gatherer.add_arrays(self._gather_and_numpify(tensors, "found"))
            losses, predictions, labels = (gatherer.finalize() for gatherer in gatherers)
            metrics = self.compute_metrics(EvalPrediction(predictions=predictions, label_ids=labels))
            return PredictionOutput(predictions, labels, {"eval_loss": losses.mean().item(), **metrics})

        def evaluate(self, eval_dataset=None):  # type: ignore[no-untyped-def]
            self._memory_tracker.start()
            loader = self.get_eval_dataloader(eval_dataset)
            output = self.prediction_loop(loader, description="Evaluation", metric_key_prefix="eval")
            output.metrics.update(speed_metrics("eval", 0.0, len(loader.dataset)))
            self.log(output.metrics)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, output.metrics)
            self._memory_tracker.stop_and_update_metrics(output.metrics)
            return output.metrics

    def accuracy(prediction: EvalPrediction) -> dict[str, float]:
        return {"eval_accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    args = arguments(tmp_path, eval_strategy="steps", eval_steps=2, max_steps=2, per_device_eval_batch_size=4)
    torch.manual_seed(5)
    own = Own(TinyClassifier(), args, pad, examples(20), examples(15), compute_metrics=accuracy)
    torch.manual_seed(5)
    plain = Trainer(TinyClassifier(), args, pad, examples(20), examples(15), compute_metrics=accuracy)
    own.train()
    plain.train()
    mine, theirs = own.evaluate(), plain.evaluate()
    assert mine.keys() >= {"eval_loss", "eval_accuracy", "eval_mem_cpu_alloc_delta"}
    assert mine["eval_loss"] == pytest.approx(theirs["eval_loss"], rel=1e-6)
    assert mine["eval_accuracy"] == theirs["eval_accuracy"]


def test_the_inner_functions_of_such_loops() -> None:
    joined = nested_concat((torch.ones(2, 3),), (torch.zeros(1, 4),), padding_index=-7)
    assert joined[0].tolist() == [[1, 1, 1, -7], [1, 1, 1, -7], [0, 0, 0, 0]]
    assert nested_concat({"a": np.ones(2)}, {"a": np.zeros(1)})["a"].tolist() == [1, 1, 0]
    assert nested_truncate([{"a": torch.arange(5)}], 2)[0]["a"].tolist() == [0, 1]
    assert distributed_concat((torch.arange(5),), 3)[0].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"one process, and there are 2.*evaluation_loop"):
        DistributedTensorGatherer(2, 10)
    rows = [{"input_ids": [0] * length} for length in (3, 9, 1, 4, 7, 2)]
    sampler = LengthGroupedSampler(rows, 2)
    order = list(sampler)
    assert (sorted(order), len(sampler), order[0]) == ([0, 1, 2, 3, 4, 5], 6, 1)
    prediction = EvalPrediction(predictions=1, label_ids=2)
    assert isinstance(prediction, tuple)
    assert (tuple(prediction), prediction._asdict()) == ((1, 2), {"predictions": 1, "label_ids": 2})


def test_an_evaluation_in_another_order(tmp_path: Path) -> None:
    class Backwards(Trainer):
        def _get_eval_sampler(self, eval_dataset):  # type: ignore[no-untyped-def]
            return list(reversed(range(len(eval_dataset))))

    class Shared(Trainer):
        def get_eval_dataloader(self, eval_dataset=None):  # type: ignore[no-untyped-def]
            shares = DistributedSampler(self.eval_dataset, num_replicas=2, rank=0)
            return DataLoader(self.eval_dataset, 4, sampler=shares, collate_fn=pad)

    plain, backwards = build(str(tmp_path)), trainer_of(Backwards, tmp_path)
    expected = plain.predict(examples(9)).predictions
    np.testing.assert_allclose(backwards.predict(examples(9)).predictions[::-1], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"DistributedSampler.*would not be joined"):
        trainer_of(Shared, tmp_path).evaluate()


# -- saving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["save_model", "_save"])
def test_an_override_of_saving_writes_the_checkpoints_too(method: str, tmp_path: Path) -> None:
    folders: list[str] = []

    def save(self: Trainer, output_dir: str | None = None) -> None:
        folders.append(str(output_dir))
        getattr(Trainer, method)(self, output_dir)
        Path(str(output_dir), "mine.txt").write_text("mine")

    own = trainer_of(type("Own", (Trainer,), {method: save}), tmp_path / "own", save_steps=10)
    plain = build(str(tmp_path / "plain"), save_steps=10)
    own.train()
    plain.train()
    checkpoint = tmp_path / "own" / "checkpoint-10"
    verify_checkpoint(checkpoint)
    assert "mine.txt" in json.loads((checkpoint / "manifest.json").read_text())["files"]
    assert len(folders) == 2
    assert "checkpoint-10" in folders[0]
    assert not any(path.name.startswith(".") for path in (tmp_path / "own").iterdir())
    same = load_file(tmp_path / "plain" / "checkpoint-10" / "model.safetensors")
    assert all(torch.equal(value, same[name]) for name, value in load_file(checkpoint / "model.safetensors").items())
    own.save_model(str(tmp_path / "model"))
    assert (tmp_path / "model" / "mine.txt").is_file()


def test_a_save_that_fails_leaves_no_checkpoint(tmp_path: Path) -> None:
    class Own(Trainer):
        def save_model(self, output_dir=None):  # type: ignore[no-untyped-def]
            super().save_model(output_dir)
            if self.state.global_step == 20:
                raise RuntimeError("no more")

    trainer = trainer_of(Own, tmp_path)
    with pytest.raises(RuntimeError, match="no more"):
        trainer.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def test_weights_that_a_script_saves_as_a_pickle_are_resumed(tmp_path: Path) -> None:
    class Own(Trainer):
        def _save(self, output_dir=None):  # type: ignore[no-untyped-def]
            torch.save(self.model.state_dict(), Path(output_dir, "pytorch_model.bin"))

    straight, first, second = (trainer_of(Own, tmp_path / name) for name in ("straight", "cut", "cut"))
    straight.train()
    first.args.max_steps = 10
    first.train()
    second.train(resume_from_checkpoint=True)
    assert second.state.global_step == 20
    assert torch.equal(first.model.hidden.weight, load_weight(tmp_path / "cut" / "checkpoint-10"))


def load_weight(folder: Path) -> Tensor:
    weight: Tensor = torch.load(folder / "pytorch_model.bin", weights_only=True)["hidden.weight"]
    return weight


def test_an_override_of_save_checkpoint_has_4_4_2_s_arguments(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Own(Trainer):
        def _save_checkpoint(self, model, trial, metrics=None):  # type: ignore[no-untyped-def]
            seen.append((model is self.model, trial, metrics and "eval_loss" in metrics))
            super()._save_checkpoint(model, trial, metrics)

    trainer_of(Own, tmp_path, eval_steps=10).train()
    assert seen == [(True, None, True)] * 2
    verify_checkpoint(tmp_path / "checkpoint-20")


def test_a_checkpoint_of_4_4_2_gives_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    theirs = build(str(tmp_path / "theirs"))
    theirs.train()
    torch.save(theirs.model.state_dict(), folder / "pytorch_model.bin")
    torch.save(theirs.optimizer.state_dict(), folder / "optimizer.pt")
    torch.save({"last_epoch": 7}, folder / "scheduler.pt")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7, "epoch": 0.5, "max_steps": 20}))
    capsys.readouterr()
    trainer = build(str(tmp_path / "mine"), max_steps=1, learning_rate=0.0)
    assert trainer.train(resume_from_checkpoint=str(folder)).global_step == 1
    assert_same_weights(theirs.model, trainer.model)
    taken = "weights are taken; optimizer, schedule and steps start anew"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if taken in line]
    assert str(folder) in line
    assert get_last_checkpoint(str(tmp_path)) is None  # to start with its weights is for the user to ask for
    assert "was written by Transformers itself" in capsys.readouterr().err


# -- steps ---------------------------------------------------------------------------------------------------------


class CopiedStep(Trainer):
    """A training step as in 2021: it knows of accumulation, apex and amp, and not of bf16 or weights of passes."""

    def training_step(self, model, inputs):  # type: ignore[no-untyped-def]
        model.train()
        inputs = self._prepare_inputs(inputs)
        assert self.is_in_train
        loss = self.compute_loss(model, inputs)
        if self.args.n_gpu > 1:
            loss = loss.mean()
        if self.args.gradient_accumulation_steps > 1:
            loss = loss / self.args.gradient_accumulation_steps
        if self.use_amp:
            self.scaler.scale(loss).backward()
        elif self.use_apex or self.deepspeed or self.sharded_ddp or self.is_model_parallel:
            raise AssertionError
        else:
            loss.backward()
        return loss.detach()


def test_a_copied_training_step_trains_alike(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save_strategy": "no", "dataloader_drop_last": True}
    own, plain = (trainer_of(kind, tmp_path, **settings) for kind in (CopiedStep, Trainer))
    own.train()
    plain.train()
    torch.testing.assert_close(outcome(own), outcome(plain), atol=1e-6, rtol=1e-5)
    assert not own.is_in_train
    assert own.place_model_on_device
    assert (own.hp_name, own.hp_search_backend, own.current_flos) == (None, None, 0)


def test_a_copied_training_step_computes_in_bf16(tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()

    class Own(CopiedStep):
        def compute_loss(self, model, inputs, return_outputs=False):  # type: ignore[no-untyped-def]
            outputs = model(**inputs)
            seen.add(outputs["logits"].dtype)
            return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    trainer_of(Own, tmp_path, bf16=True, max_steps=2, evaluation_strategy="no").train()
    assert seen == {torch.bfloat16}


def test_a_copied_loss_smooths_labels_alike(tmp_path: Path) -> None:
    class Own(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False):  # type: ignore[no-untyped-def]
            labels = inputs.pop("labels") if self.label_smoother is not None and "labels" in inputs else None
            outputs = model(**inputs)
            loss = outputs["loss"] if labels is None else self.label_smoother(outputs, labels)
            return (loss, outputs) if return_outputs else loss

    for smoothing in (0.0, 0.2):
        own, plain = (
            trainer_of(kind, tmp_path, save_strategy="no", label_smoothing_factor=smoothing) for kind in (Own, Trainer)
        )
        own.train()
        plain.train()
        assert_same_weights(own.model, plain.model)


def test_a_loss_from_outside_does_not_drop_the_second_pass_silently(tmp_path: Path) -> None:
    class Config:
        consistency = "rdrop"

    class Consistent(TinyClassifier):
        config = Config()

    smoothed = arguments(tmp_path, label_smoothing_factor=0.1, max_steps=1)
    with pytest.raises(ValueError, match=r"consistency training \('rdrop'\).*label_smoothing_factor"):
        Trainer(Consistent(), smoothed, pad, examples(9)).train()
    outside = Trainer(Consistent(), arguments(tmp_path), pad, examples(9), compute_loss_func=lambda *_, **__: 0)
    with pytest.raises(ValueError, match="compute_loss_func"):
        outside.train()
    Trainer(Consistent(), arguments(tmp_path, max_steps=1), pad, examples(9)).train()


class Remembers(TrainerCallback):
    def __init__(self) -> None:
        self.epochs: list[Any] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epochs.append(state.epoch)


def test_the_first_epoch_begins_at_0(tmp_path: Path) -> None:
    remembers = Remembers()
    args = arguments(tmp_path, num_train_epochs=2)
    Trainer(TinyClassifier(), args, pad, examples(8), callbacks=[remembers]).train()
    assert remembers.epochs == [0, 1]


def test_a_training_that_fails_lets_its_wrapping_go(tmp_path: Path) -> None:
    class Own(Trainer):
        def training_step(self, model, inputs):  # type: ignore[no-untyped-def]
            raise RuntimeError("enough")

    trainer = trainer_of(Own, tmp_path)
    with pytest.raises(RuntimeError, match="enough"):
        trainer.train()
    assert trainer.parallel.wrapped is None
    assert trainer.model_wrapped is trainer.model
    assert not trainer.is_in_train


# -- calls ---------------------------------------------------------------------------------------------------------


def test_model_init_may_want_the_trial_and_stand_beside_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials: list[Any] = []

    def make(trial: Any) -> nn.Module:
        trials.append(trial)
        return TinyClassifier()

    args = arguments(tmp_path, max_steps=1)
    Trainer(model_init=make, args=args, data_collator=pad, train_dataset=examples(9)).train(trial="third")
    assert trials == [None, "third"]
    given = TinyClassifier()
    trainer = Trainer(given, args, pad, examples(9), model_init=TinyClassifier)
    assert "a model and model_init" in capsys.readouterr().err
    assert trainer.model is given
    trainer.train(model_path=None)
    assert trainer.model is not given


def test_methods_that_nobody_calls_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Own(Trainer):
        def _maybe_log_save_evaluate(self, tr_loss, model, trial, epoch):  # type: ignore[no-untyped-def]
            pass

        def store_flos(self):  # type: ignore[no-untyped-def]
            pass

    trainer_of(Own, tmp_path)
    assert "Own defines _maybe_log_save_evaluate, store_flos, which" in capsys.readouterr().err
    build(str(tmp_path))
    assert capsys.readouterr().err == ""


def test_metrics_that_are_arrays_do_not_stop_a_checkpoint(tmp_path: Path) -> None:
    args = arguments(tmp_path, eval_strategy="epoch", save_strategy="epoch", num_train_epochs=1)
    trainer = Trainer(
        TinyClassifier(), args, pad, examples(8), examples(8), compute_metrics=lambda p: {"matrix": np.eye(2)}
    )
    trainer.train()
    history = json.loads((tmp_path / "checkpoint-1" / "trainer_state.json").read_text())["log_history"]
    assert history[0]["eval_matrix"] == [[1, 0], [0, 1]]
