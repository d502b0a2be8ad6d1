"""What an evaluation returns is whole, or an error; figures that were asked for are computed, or an error."""

from __future__ import annotations

import json
import mmap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from training_case import LABELS, TinyClassifier, arguments, build, examples, pad

from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    default_data_collator,
)


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def trainer_with(
    folder: Path, *, kind: type[Trainer] = Trainer, model: Any = None, metrics: Any = None, **changes: Any
) -> Trainer:
    args = arguments(folder, per_device_eval_batch_size=7, **changes)
    return kind(
        TinyClassifier() if model is None else model,
        args,
        pad,
        examples(20),
        examples(35, seed=2),
        compute_metrics=metrics,
    )


# -- whole outputs -------------------------------------------------------------------------------------------------


class RowsOfTokens(TinyClassifier):
    """Gives one row for every token, and a layer's output whose first axis is no example."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        found = super().forward(input_ids, attention_mask, labels)
        of_tokens = input_ids[input_ids != 0].unsqueeze(1)
        return {**found, "tokens": of_tokens, "pairs": found["logits"].repeat(2, 1)}


def test_outputs_with_more_rows_than_the_batch_are_whole(tmp_path: Path) -> None:
    data = examples(35, seed=2)
    logits, tokens, pairs = trainer_with(tmp_path, model=RowsOfTokens()).predict(data).predictions
    assert logits.shape == (35, LABELS)
    assert tokens[:, 0].tolist() == [word for example in data for word in example["input_ids"]]
    assert pairs.shape == (70, LABELS)
    np.testing.assert_array_equal(pairs[:7], logits[:7])
    np.testing.assert_array_equal(pairs[7:14], logits[:7])


# -- labels --------------------------------------------------------------------------------------------------------


def test_a_misspelt_label_is_an_error(tmp_path: Path) -> None:
    for metrics in (accuracy, None):
        trainer = trainer_with(tmp_path, metrics=metrics, label_names=["lable"])
        with pytest.raises(ValueError, match=r"have no labels.*should be called lable.*spelt right"):
            trainer.evaluate()


def test_an_unlabelled_set_cannot_give_the_metrics_that_are_asked_for(tmp_path: Path) -> None:
    def unlabelled(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {name: value for name, value in pad(features).items() if name != "labels"}

    trainer = trainer_with(tmp_path, metrics=accuracy)
    trainer.data_collator = unlabelled
    with pytest.raises(ValueError, match="compute_metrics asks for them: they should be called labels"):
        trainer.evaluate()
    assert trainer.predict(examples(9)).label_ids is None  # a test set need not have any
    without = trainer_with(tmp_path)
    without.data_collator = unlabelled
    assert "eval_loss" not in without.evaluate()  # nothing was asked for


def test_some_batches_without_labels_are_an_error(tmp_path: Path) -> None:
    def some(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = pad(features)
        return batch if features[0]["number"] < 14 else {k: v for k, v in batch.items() if k != "labels"}

    for call in ("evaluate", "predict"):
        trainer = trainer_with(tmp_path, metrics=accuracy, remove_unused_columns=False)
        trainer.data_collator = some
        with pytest.raises(ValueError, match="3 of 5 batches of the evaluation have no labels"):
            getattr(trainer, call)(*([examples(35)] if call == "predict" else []))


class TwoLabels(TinyClassifier):
    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        other_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        return super().forward(input_ids, attention_mask, labels)


def test_one_of_two_labels_is_an_error(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, model=TwoLabels(), metrics=accuracy)
    with pytest.raises(ValueError, match="has the labels 'labels' and lacks 'other_labels'"):
        trainer.evaluate()
    assert (
        "eval_accuracy"
        in trainer_with(tmp_path, model=TwoLabels(), metrics=accuracy, label_names=["labels"]).evaluate()
    )


@pytest.mark.parametrize("missing", [0, 2])
@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize("absent", [True, False])
def test_the_collator_refuses_a_batch_that_is_labelled_in_part(missing: int, name: str, absent: bool) -> None:
    rows: list[dict[str, Any]] = [{"input_ids": [1, 2], name: 1} for _ in range(3)]
    rows[missing][name] = None
    if absent:
        del rows[missing][name]
    with pytest.raises(ValueError, match=rf"1 of the 3 examples of a batch have no '{name}'"):
        default_data_collator(rows)


# -- metrics as people write them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, 0.5])
def test_metrics_that_are_no_dict_are_an_error(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"compute_metrics gave {given}; a dict .* Is its return missing"):
        trainer_with(tmp_path, metrics=lambda prediction: given).evaluate()


def test_metrics_that_are_arrays_are_written(tmp_path: Path) -> None:
    def confusion(prediction: EvalPrediction) -> dict[str, Any]:
        return {"confusion": np.eye(2), "each": torch.ones(2), "size": np.int64(3)}

    trainer = trainer_with(tmp_path, metrics=confusion)
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    for name in ("eval_results.json", "all_results.json"):
        written = json.loads((tmp_path / name).read_text())
        assert written["eval_confusion"] == [[1, 0], [0, 1]]
        assert (written["eval_each"], written["eval_size"]) == ([1, 1], 3)


def test_metrics_may_see_inputs_and_losses(tmp_path: Path) -> None:
    seen: list[EvalPrediction] = []

    def look(prediction: EvalPrediction) -> dict[str, float]:
        seen.append(prediction)
        return {}

    trainer_with(tmp_path, metrics=look, include_for_metrics=["inputs", "loss"]).evaluate()
    trainer_with(tmp_path, metrics=look, include_for_metrics=["loss"]).evaluate()
    trainer_with(tmp_path, metrics=look).evaluate()
    data = examples(35, seed=2)
    predictions, labels, inputs, losses = seen[0]
    assert labels.tolist() == [example["labels"] for example in data]
    assert [row[row > 0].tolist() for row in inputs] == [example["input_ids"] for example in data]
    logs = torch.tensor(predictions).log_softmax(-1)
    truth = -logs.gather(1, torch.tensor(labels).unsqueeze(1))[:, 0]
    means = torch.cat([part.mean().repeat(len(part)) for part in truth.split(7)])
    torch.testing.assert_close(torch.from_numpy(losses).float(), means)
    assert (len(seen[1]), seen[1].inputs, seen[1].losses.shape) == (3, None, (35,))
    assert (len(seen[2]), seen[2].inputs, seen[2].losses) == (2, None, None)
    with pytest.raises(ValueError, match="include_for_metrics names 'labels'; it may hold inputs and loss"):
        arguments(tmp_path, include_for_metrics=["labels"])


def test_early_stopping_looks_at_its_own_of_several_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = build(str(tmp_path), learning_rate=0.0, eval_steps=2, save_strategy="no", metric_for_best_model="b_loss")
    trainer.eval_dataset = {"a": examples(5), "b": examples(6), "c": examples(7)}
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
    assert trainer.train().global_step == 6
    assert "Early stopping" not in capsys.readouterr().err


def test_a_sampler_override_may_want_the_data_set(tmp_path: Path) -> None:
    given: list[Any] = []

    class Own(Trainer):
        def _get_train_sampler(self, train_dataset):  # type: ignore[no-untyped-def]
            given.append(train_dataset)
            return SequentialSampler(train_dataset)

    trainer = trainer_with(tmp_path, kind=Own, max_steps=1)
    trainer.train()
    assert given == [trainer.train_dataset]


# -- memory and operations -----------------------------------------------------------------------------------------


def test_memory_is_told_of_every_stage_and_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_with(tmp_path, max_steps=1)
    trained = trainer.train().metrics
    kinds = ("mem_cpu_alloc_delta", "mem_cpu_peaked_delta")
    assert {f"{stage}_{kind}" for stage in ("init", "train") for kind in kinds} <= trained.keys()
    evaluated, predicted = trainer.evaluate(), trainer.predict(examples(9)).metrics
    assert {f"eval_{kind}" for kind in kinds} <= evaluated.keys()
    assert {f"test_{kind}" for kind in kinds} <= predicted.keys()
    assert not any(name.startswith("init_") for name in [*evaluated, *predicted]), "told once"
    trainer.log_metrics("train", trained)
    assert "train_loss" in (said := capsys.readouterr().out)
    assert "mem_" not in said


def test_an_error_ends_the_stages_that_it_leaves(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, max_steps=1, metrics=lambda prediction: None, eval_strategy="steps", eval_steps=1)
    before = threading.active_count()
    for call in (trainer.train, trainer.evaluate):
        with pytest.raises(ValueError, match="compute_metrics gave None"):
            call()
    assert threading.active_count() == before


def test_a_peak_in_between_is_seen(tmp_path: Path) -> None:
    class Hungry(TinyClassifier):
        def forward(self, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
            with mmap.mmap(-1, 2**26) as block:  # memory of the process's own may be there from a test before
                for start in range(0, len(block), 4096):
                    block[start] = 1
                found = super().forward(**kwargs)
                torch.randn(300, 300).matrix_power(50)  # let the clock go on while it is held
                return found

    metrics = trainer_with(tmp_path, model=Hungry()).evaluate()
    assert metrics["eval_mem_cpu_peaked_delta"] > 2**24


def test_operations_are_counted_as_the_model_estimates_them(tmp_path: Path) -> None:
    class Estimating(TinyClassifier):
        def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:
            return 6 * inputs["input_ids"].numel() * 1000

    collated: list[int] = []

    def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = pad(features)
        collated.append(batch["input_ids"].numel())
        return batch

    args = arguments(tmp_path, max_steps=3, gradient_accumulation_steps=2, save_strategy="steps", save_steps=2)
    trainer = Trainer(Estimating(), args, collate, examples(61))
    metrics = trainer.train().metrics
    assert trainer.state.total_flos == metrics["total_flos"] == 6000 * sum(collated)
    again = Trainer(Estimating(), args, collate, examples(61))
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert again.state.total_flos == trainer.state.total_flos
    plain = Trainer(TinyClassifier(), args, collate, examples(61))
    assert "total_flos" not in plain.train().metrics
