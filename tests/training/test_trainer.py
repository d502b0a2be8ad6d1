"""What the Trainer does with a step, an evaluation, a data set and a model, on small real trainings."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import IterableDataset
from training_case import (
    LABELS,
    ROOT,
    BrokenRow,
    TinyClassifier,
    build,
    examples,
    outcome,
    pad,
    with_a_broken_row,
)

from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainerCallback, TrainingArguments
from transformers.data.samplers import epoch_order
from transformers.trainer_pt_utils import (
    concatenate_padded,
    log_metrics,
    nested_detach,
    nested_numpify,
    nested_truncate,
)
from transformers.trainer_utils import denumpify_detensorize
from transformers.training import devices
from transformers.training.batches import to_device, train_loader
from transformers.training.nested import map_nested


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    settings = {"report_to": "none", "disable_tqdm": True, "no_cuda": True, "save_strategy": "no", **changes}
    return TrainingArguments(str(folder), **settings)


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": (prediction.predictions.argmax(-1) == prediction.label_ids).mean()}


# -- steps ---------------------------------------------------------------------------------------------------------


def test_a_step_is_adamw_on_the_mean_loss_of_its_examples(tmp_path: Path) -> None:
    """The whole loop against a plain one: order, accumulation with a short last batch, clipping, decay, schedule."""
    trainer = build(str(tmp_path), dropout=0.0, evaluation_strategy="no", max_steps=-1, num_train_epochs=2)
    torch.manual_seed(5)
    model = TinyClassifier(0.0)
    decays = [p for name, p in model.named_parameters() if not name.endswith("bias") and "norm" not in name]
    rest = [p for name, p in model.named_parameters() if name.endswith("bias") or "norm" in name]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: step / 3 if step < 3 else (22 - step) / (22 - 3)
    )
    data, losses = examples(61), []
    for epoch in range(2):
        order = epoch_order(61, 42, epoch)
        for start in range(0, 61, 6):
            loss = model(**pad([data[index] for index in order[start : start + 6]]))["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    output = trainer.train()
    assert output.global_step == len(losses) == 22
    assert output.training_loss == pytest.approx(sum(losses) / 22, abs=1e-6)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == pytest.approx([sum(losses[n : n + 3]) / 3 for n in range(0, 21, 3)], abs=1e-6)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, atol=1e-5, rtol=1e-4, msg=name)


class TokenTagger(nn.Module):
    """Its loss is a mean over labelled words, of which each row has another number."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, LABELS)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        logits = self.embedding(input_ids)
        if labels is None:
            return (logits,)
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), logits


def tag(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    ids = pad(features)["input_ids"]
    return {"input_ids": ids, "labels": torch.where(ids == 0, -100, ids % LABELS)}


def test_accumulated_passes_count_by_their_labels(tmp_path: Path) -> None:
    models = []
    for batch_size, accumulation in ((8, 1), (2, 4), (1, 8)):
        torch.manual_seed(0)
        args = arguments(
            tmp_path,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            learning_rate=0.1,
            optim="sgd",
            max_grad_norm=0,
        )
        trainer = Trainer(TokenTagger(), args, tag, examples(20))
        trainer.train()
        models.append(trainer.model.state_dict()["embedding.weight"])
    torch.testing.assert_close(models[0], models[1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(models[0], models[2], atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    norms: list[float] = []

    class Norms(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            gradients = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    trainer = build(str(tmp_path), max_grad_norm=0.05, max_steps=5)
    trainer.add_callback(Norms)
    trainer.train()
    assert norms == pytest.approx([0.05] * 5, rel=1e-4)
    assert trainer.state.log_history[0]["grad_norm"] > 0.05  # what is logged is the norm before


class Broken(TinyClassifier):
    """Gives a loss that is no number from its third training pass on."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.passes = what, 0

    def forward(self, **batch: Any) -> dict[str, Tensor]:  # type: ignore[override]
        output = super().forward(**batch)
        self.passes += self.training
        if self.passes >= 3:
            bad = {"loss": math.nan, "gradient": 0.0}[self.what]
            output["loss"] = output["loss"] * bad if bad else output["loss"] + (output["loss"] * 0).sqrt()
        return output


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_named_and_ruins_nothing(what: str, tmp_path: Path) -> None:
    args = arguments(tmp_path, save_strategy="steps", save_steps=1, max_steps=9, learning_rate=0.1)
    trainer = Trainer(Broken(what), args, pad, examples(61))
    with pytest.raises(FloatingPointError, match=rf"The {what}.* of step 3 .* were not updated"):
        trainer.train()
    saved = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, saved[name])
    assert torch.isfinite(torch.cat([value.flatten() for value in saved.values()])).all()


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("choice", ["stop", "skip", "warn"])
def test_the_rows_of_a_step_that_is_not_finite(choice: str, accumulation: int, tmp_path: Path) -> None:
    rows = with_a_broken_row(17)
    args = arguments(
        tmp_path,
        on_nonfinite=choice,
        max_steps=24,
        gradient_accumulation_steps=accumulation,
        learning_rate=0.1,
    )
    trainer = Trainer(BrokenRow(), args, pad, rows)
    if choice == "stop":
        with pytest.raises(FloatingPointError, match=r"were not updated\. Its rows are in .*nonfinite_steps\.jsonl"):
            trainer.train()
    else:
        trainer.train()
        assert trainer.state.global_step == 24
    weights = torch.cat([value.flatten() for value in trainer.model.state_dict().values()])
    assert bool(torch.isfinite(weights).all()) == (choice != "warn")
    steps = [json.loads(line) for line in (tmp_path / "nonfinite_steps.jsonl").read_text().splitlines()]
    size = args.per_device_train_batch_size * accumulation
    assert all(17 in step["rows"] for step in steps[:1])
    assert len(steps[0]["rows"]) in (size, 61 % size)
    per_epoch = -(-61 // size)
    if choice == "skip":  # once an epoch, and the order of rows is the seed's
        assert all(17 in step["rows"] for step in steps)
        assert [step["epoch"] for step in steps] == sorted({(step["step"] - 1) // per_epoch for step in steps})
        assert len(steps) >= 24 // per_epoch


def test_label_smoothing_equals_its_formula(tmp_path: Path) -> None:
    trainer = build(str(tmp_path), label_smoothing_factor=0.3, dropout=0.0)
    batch = pad(examples(8))
    loss, outputs = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)
    logs = outputs["logits"].log_softmax(-1)
    truth = -logs.gather(1, batch["labels"].unsqueeze(1)).mean()
    torch.testing.assert_close(loss, 0.7 * truth - 0.3 * logs.mean())
    assert trainer.predict(examples(8)).predictions.shape == (8, LABELS)
    trainer.train()


def test_losses_of_the_caller_s(tmp_path: Path) -> None:
    class Mine(Trainer):  # the signature of 4.4.2
        def compute_loss(self, model, inputs, return_outputs=False):  # type: ignore[no-untyped-def]
            outputs = model(**inputs)
            loss = outputs["loss"] * 0 + model.classifier.bias.sum()
            return (loss, outputs) if return_outputs else loss

    args = arguments(
        tmp_path, max_steps=2, learning_rate=0.1, optim="sgd", max_grad_norm=0, lr_scheduler_type="constant"
    )
    trainer = Mine(TinyClassifier(), args, pad, examples(9))
    before = trainer.model.classifier.bias.detach().clone()
    trainer.train()
    torch.testing.assert_close(trainer.model.classifier.bias.detach(), before - 0.2)

    def twice(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return 2 * functional.cross_entropy(outputs["logits"], labels)

    plain = Trainer(TinyClassifier(0.0), args, pad, eval_dataset=examples(9))
    doubled = Trainer(plain.model, args, pad, eval_dataset=examples(9), compute_loss_func=twice)
    assert doubled.evaluate()["eval_loss"] == pytest.approx(2 * plain.evaluate()["eval_loss"], rel=1e-6)


def test_a_model_without_a_loss_says_so(tmp_path: Path) -> None:
    unlabelled = [{"input_ids": row["input_ids"]} for row in examples(5)]

    def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = pad([{**row, "labels": 0} for row in features])
        return {name: value for name, value in batch.items() if name != "labels"}

    trainer = Trainer(TinyClassifier(), arguments(tmp_path), collate, unlabelled)
    with pytest.raises(ValueError, match=r"no loss for a batch of \['attention_mask', 'input_ids'\]"):
        trainer.train()


def test_gradient_checkpointing_needs_a_model_that_can(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TinyClassifier has no gradient_checkpointing_enable"):
        Trainer(TinyClassifier(), arguments(tmp_path, gradient_checkpointing=True), pad, examples(5)).train()


def test_only_what_requires_a_gradient_is_trained(tmp_path: Path) -> None:
    model = TinyClassifier()
    model.embedding.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Trainer(model, arguments(tmp_path, max_steps=3, learning_rate=0.1), pad, examples(20)).train()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith("embedding")}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_forward_pass_runs_in_the_chosen_precision(dtype: str, tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()
    model = TinyClassifier()
    model.classifier.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    args = arguments(tmp_path, bf16=dtype == "bf16", max_steps=2)
    trainer = Trainer(model, args, pad, examples(20), eval_dataset=examples(5))
    trainer.train()
    predictions = trainer.predict(examples(5)).predictions
    assert seen == {torch.bfloat16 if dtype == "bf16" else torch.float32}
    assert predictions.dtype == np.float32
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_an_evaluation_may_have_a_precision_of_its_own(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    model = TinyClassifier()
    model.classifier.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer = Trainer(model, arguments(tmp_path, bf16_full_eval=True, max_steps=1), pad, examples(5), examples(5))
    trainer.train()
    trainer.evaluate()
    assert seen == [torch.float32, torch.bfloat16]


def test_two_trainers_of_different_precision_live_side_by_side(tmp_path: Path) -> None:
    first = build(str(tmp_path / "a"), max_steps=4)
    second = build(str(tmp_path / "b"), max_steps=4, bf16=True)
    alone = build(str(tmp_path / "c"), max_steps=4)
    for trainer in (second, first, alone):
        trainer.train()
    assert all(torch.equal(value, outcome(alone)[name]) for name, value in outcome(first).items())


# -- evaluation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4, 17, 100])
@pytest.mark.parametrize("accumulation", [None, 2])
def test_an_evaluation_covers_every_example_once_in_order(
    batch_size: int, accumulation: int | None, tmp_path: Path
) -> None:
    args = arguments(tmp_path, per_device_eval_batch_size=batch_size, eval_accumulation_steps=accumulation)
    data = examples(17)
    trainer = Trainer(TinyClassifier(), args, pad, eval_dataset=data, compute_metrics=accuracy)
    trainer.model.eval()
    with torch.no_grad():
        expected = trainer.model(**pad(data))
    output = trainer.predict(data)
    np.testing.assert_allclose(output.predictions, expected["logits"].numpy(), atol=1e-6)
    assert output.label_ids.tolist() == [row["labels"] for row in data]
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(expected["loss"].item(), abs=1e-6)
    assert metrics["eval_accuracy"] == pytest.approx(
        float((expected["logits"].argmax(-1).numpy() == output.label_ids).mean())
    )
    assert isinstance(metrics["eval_accuracy"], float)
    assert {"eval_runtime", "eval_samples_per_second"} <= set(metrics)


def test_outputs_of_different_lengths_are_padded(tmp_path: Path) -> None:
    data = examples(7)
    trainer = Trainer(TokenTagger(), arguments(tmp_path, per_device_eval_batch_size=2), tag, eval_dataset=data)
    output = trainer.predict(data)
    longest = max(len(row["input_ids"]) for row in data)
    assert output.predictions.shape == (7, longest, LABELS)
    assert output.label_ids.shape == (7, longest)
    for row, logits, labels in zip(data, output.predictions, output.label_ids, strict=True):
        length = len(row["input_ids"])
        expected = trainer.model.embedding.weight[row["input_ids"]].detach().numpy()
        np.testing.assert_array_equal(logits[:length], expected)
        assert labels[:length].tolist() == [word % LABELS for word in row["input_ids"]]
        assert (labels[length:] == -100).all()


class ManyOutputs(TinyClassifier):
    def forward(self, **batch: Any) -> Any:  # type: ignore[override]
        output = super().forward(**batch)
        logits = output["logits"]
        return (*([output["loss"]] if "loss" in output else []), logits, logits.mean(), [logits * 2, logits * 3])


def test_nested_outputs_keep_their_form(tmp_path: Path) -> None:
    model, data = ManyOutputs(), examples(5)
    model.label_names = ["labels"]
    args = arguments(tmp_path, per_device_eval_batch_size=2, remove_unused_columns=False)
    trainer = Trainer(model, args, pad, eval_dataset=data)
    logits, means, (doubled, tripled) = trainer.predict(data).predictions
    assert logits.shape == (5, LABELS)
    np.testing.assert_allclose(doubled, logits * 2)
    np.testing.assert_allclose(tripled, logits * 3)
    assert means.shape == (5,)
    np.testing.assert_allclose(means[0], logits[:2].mean(), rtol=1e-5)


def test_without_labels_there_are_predictions_and_no_loss(tmp_path: Path) -> None:
    def unlabelled(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {name: value for name, value in pad(features).items() if name != "labels"}

    trainer = Trainer(TinyClassifier(), arguments(tmp_path), unlabelled, compute_metrics=accuracy)
    output = trainer.predict(examples(5))
    assert output.predictions.shape == (5, LABELS)
    assert output.label_ids is None
    assert "eval_loss" not in (output.metrics or {})


def test_several_evaluation_sets_and_prefixes(tmp_path: Path) -> None:
    sets = {"near": examples(5), "far": examples(6, seed=9)}
    trainer = Trainer(TinyClassifier(), arguments(tmp_path), pad, eval_dataset=sets)
    metrics = trainer.evaluate()
    assert {"eval_near_loss", "eval_far_loss"} <= set(metrics)
    assert "mine_loss" in trainer.evaluate(sets["near"], metric_key_prefix="mine")
    assert "test_loss" in (trainer.predict(sets["far"], metric_key_prefix="test").metrics or {})


def test_an_empty_evaluation_set_gives_no_figures(tmp_path: Path) -> None:
    metrics = Trainer(TinyClassifier(), arguments(tmp_path), pad, compute_metrics=accuracy).evaluate([])
    assert "eval_loss" not in metrics


def test_preprocess_logits_for_metrics(tmp_path: Path) -> None:
    trainer = Trainer(
        TinyClassifier(),
        arguments(tmp_path),
        pad,
        compute_metrics=lambda p: {"top": float(p.predictions.max())},
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
    )
    assert trainer.predict(examples(9)).predictions.shape == (9,)


def test_joining_arrays() -> None:
    parts = [np.ones((2, 3)), np.zeros((1, 5))]
    joined = concatenate_padded(parts, padding_index=-7)
    assert joined.tolist() == [[1, 1, 1, -7, -7], [1, 1, 1, -7, -7], [0, 0, 0, 0, 0]]
    assert concatenate_padded([{"a": (parts[0],)}, {"a": (parts[0],)}])["a"][0].shape == (4, 3)


class Pair(NamedTuple):
    first: Any
    second: Any


@pytest.mark.parametrize(
    "function",
    [
        nested_detach,
        nested_numpify,
        denumpify_detensorize,
        lambda nested: nested_truncate(nested, 1),
        lambda nested: to_device(nested, torch.device("cpu")),
        lambda nested: concatenate_padded([nested, nested]),
    ],
)
def test_nested_values_keep_their_form(function: Callable[[Any], Any]) -> None:
    given = {"a": Pair(torch.ones(1), [torch.ones(1)]), "b": (torch.zeros(1),)}
    found = function(given)
    assert type(found) is dict
    assert type(found["a"]) is Pair
    assert type(found["a"].second) is list
    assert type(found["b"]) is tuple
    flat = [found["a"].first, found["a"].second[0], found["b"][0]]
    assert [np.ravel(value)[0] for value in flat] == [1, 1, 0]


def test_values_that_are_nested_otherwise_do_not_go_together() -> None:
    assert map_nested(lambda *values: sum(values), Pair(1, [2]), Pair(10, [20])) == Pair(11, [22])
    with pytest.raises(ValueError, match="shorter"):
        map_nested(lambda *values: sum(values), [1, 2], [1])


class PairOfLogits(TinyClassifier):
    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        outputs = super().forward(*args, **kwargs)
        return {**outputs, "logits": Pair(outputs["logits"], outputs["logits"].mean())}


def test_outputs_may_be_named_tuples(tmp_path: Path) -> None:
    predictions = Trainer(PairOfLogits(), arguments(tmp_path), pad).predict(examples(5)).predictions
    assert type(predictions) is Pair
    assert (predictions.first.shape, predictions.second.shape) == ((5, LABELS), (5,))


# -- data ----------------------------------------------------------------------------------------------------------


def test_a_datasets_dataset_loses_the_columns_that_the_model_does_not_take(tmp_path: Path) -> None:
    rows = [{**row, "sentence": "some words"} for row in examples(20)]
    dataset = datasets.Dataset.from_list(rows)
    trainer = Trainer(TinyClassifier(), arguments(tmp_path, max_steps=2), pad, dataset, dataset)
    trainer.train()
    trainer.evaluate()
    assert dataset.column_names == ["input_ids", "labels", "number", "sentence"]
    assert trainer.get_eval_dataloader().dataset.column_names == ["input_ids", "labels"]
    with pytest.raises(ValueError, match=r"has the columns \['sentence'\]"):
        trainer.evaluate(dataset.select_columns(["sentence"]))


def test_plain_lists_lose_them_too_and_may_keep_them(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        seen.append(set(features[0]))
        return pad(features)

    for remove in (True, False):
        args = arguments(tmp_path, remove_unused_columns=remove)
        Trainer(TinyClassifier(), args, collate).evaluate(examples(2))
    assert seen == [{"input_ids", "labels"}, {"input_ids", "labels", "number"}]


@pytest.mark.parametrize("kind", ["list", "dataset", "length column"])
def test_length_grouping_finds_the_lengths(kind: str, tmp_path: Path) -> None:
    data: Any = examples(60)
    if kind != "list":
        data = datasets.Dataset.from_list(data)
    if kind == "length column":
        data = data.map(lambda row: {"length": 100 - len(row["input_ids"])})
    args = arguments(tmp_path, group_by_length=True, per_device_train_batch_size=6)
    batches = list(Trainer(TinyClassifier(), args, pad, data).get_train_dataloader())
    lengths = [batch["attention_mask"].sum(1).tolist() for batch in batches]
    assert all(max(rows) - min(rows) <= 3 for rows in lengths)
    flat = [length for rows in lengths for length in rows]
    assert (min if kind == "length column" else max)(flat) == flat[0]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield from examples(10)


def test_a_stream_needs_a_number_of_steps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_steps"):
        Trainer(TinyClassifier(), arguments(tmp_path), pad, Stream()).train()
    args = arguments(tmp_path, max_steps=5, per_device_train_batch_size=4, per_device_eval_batch_size=4)
    trainer = Trainer(TinyClassifier(), args, pad, Stream(), Stream())
    assert trainer.train().global_step == 5
    assert trainer.evaluate()["eval_loss"] > 0
    assert trainer.predict(Stream()).predictions.shape == (10, LABELS)


@pytest.mark.parametrize(("processes", "drop", "sizes"), [(1, False, [4, 4, 2]), (1, True, [4, 4]), (2, True, [4])])
def test_a_stream_s_last_batch_may_be_dropped(processes: int, drop: bool, sizes: list[int], tmp_path: Path) -> None:
    class OneOfSeveral(TrainingArguments):
        world_size, process_index = processes, 0

    settings = {"report_to": "none", "no_cuda": True, "per_device_train_batch_size": 4}
    args = OneOfSeveral(str(tmp_path), dataloader_drop_last=drop, **settings)
    assert [len(batch["labels"]) for batch in train_loader(Stream(), pad, args)] == sizes


def test_loaders_of_the_caller_s_are_used(tmp_path: Path) -> None:
    class Mine(Trainer):
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(examples(10), batch_size=3, collate_fn=pad)

    args = arguments(tmp_path, num_train_epochs=2, gradient_accumulation_steps=2, logging_steps=1)
    trainer = Mine(TinyClassifier(), args, pad, examples(10))
    assert trainer.train().global_step == 4  # 4 batches, two a step, two epochs


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    trainer = Trainer(TinyClassifier(), arguments(tmp_path), pad)
    with pytest.raises(ValueError, match="train_dataset"):
        trainer.train()
    with pytest.raises(ValueError, match="eval_dataset"):
        trainer.evaluate()
    with pytest.raises(ValueError, match="either a model or model_init"):
        Trainer(args=arguments(tmp_path))
    with pytest.raises(ValueError, match="make no step"):
        Trainer(TinyClassifier(), arguments(tmp_path), pad, []).train()


# -- log, save, best -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "logs", "evaluations", "saves"),
    [
        ({"logging_steps": 4, "eval_strategy": "steps", "eval_steps": 5, "save_steps": 3}, [4, 8], [5, 10], [3, 6, 9]),
        (
            {"logging_strategy": "epoch", "eval_strategy": "epoch", "save_strategy": "epoch"},
            [4, 8, 10],
            [4, 8, 10],
            [4, 8, 10],
        ),
        ({"logging_strategy": "no", "eval_strategy": "no", "save_strategy": "no"}, [], [], []),
        ({"logging_first_step": True, "logging_steps": 6, "save_strategy": "no"}, [1, 6], [], []),
        (
            {"eval_strategy": "epoch", "eval_delay": 2, "logging_strategy": "no", "save_strategy": "no"},
            [],
            [8, 10],
            [],
        ),
        (
            {"eval_strategy": "steps", "eval_steps": 4, "load_best_model_at_end": True, "save_steps": 3},
            [],
            [4, 8],
            [4, 8],
        ),
        ({"eval_on_start": True, "logging_strategy": "no", "save_strategy": "no"}, [], [0], []),
    ],
)
def test_when_something_happens(
    changes: dict[str, Any], logs: list[int], evaluations: list[int], saves: list[int], tmp_path: Path
) -> None:
    settings = {"max_steps": 10, "per_device_train_batch_size": 5, "save_strategy": "steps", **changes}
    trainer = Trainer(TinyClassifier(), arguments(tmp_path, **settings), pad, examples(20), examples(5))
    trainer.train()
    history = trainer.state.log_history
    assert [entry["step"] for entry in history if "loss" in entry] == logs
    assert [entry["step"] for entry in history if "eval_loss" in entry] == evaluations
    found = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
    assert found == saves


def test_the_best_model_is_loaded_kept_and_named(tmp_path: Path) -> None:
    args = {"load_best_model_at_end": True, "eval_steps": 2, "save_total_limit": 1, "learning_rate": 0.5}
    trainer = build(str(tmp_path), **args)
    weights: dict[int, dict[str, Tensor]] = {}

    class Remember(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            weights[state.global_step] = {n: v.clone() for n, v in kwargs["model"].state_dict().items()}

    trainer.add_callback(Remember())
    trainer.train()
    losses = {e["step"]: e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e}
    best = min(losses, key=lambda step: losses[step])
    assert best not in (max(losses),)  # else this test shows nothing
    assert trainer.state.best_metric == losses[best]
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{best}")
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {f"checkpoint-{best}", f"checkpoint-{max(losses)}"}
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, weights[best][name])


def test_early_stopping_counts_evaluations_without_improvement(tmp_path: Path) -> None:
    settings = {"max_steps": 100, "eval_steps": 2, "learning_rate": 0.0, "metric_for_best_model": "loss"}
    trainer = build(str(tmp_path), **settings)
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=3))
    assert trainer.train().global_step == 8  # the first is the best, then three
    without = build(str(tmp_path), max_steps=2)
    without.add_callback(EarlyStoppingCallback())
    with pytest.raises(ValueError, match="metric_for_best_model"):
        without.train()


def test_an_unknown_metric_for_the_best_model_lists_the_known_ones(tmp_path: Path) -> None:
    trainer = build(str(tmp_path), load_best_model_at_end=True, metric_for_best_model="f1")
    with pytest.raises(ValueError, match=r"'f1', but the evaluation gave .*eval_loss"):
        trainer.train()


def test_a_model_is_saved_with_its_arguments_and_comes_back(tmp_path: Path) -> None:
    trainer = build(str(tmp_path / "out"), max_steps=2)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.safetensors", "training_args.json"}
    assert json.loads((tmp_path / "model" / "training_args.json").read_text())["learning_rate"] == 1e-2
    for name, value in load_file(tmp_path / "model" / "model.safetensors").items():
        assert torch.equal(value, trainer.model.state_dict()[name])


def test_tied_weights_are_saved_once_and_resumed(tmp_path: Path) -> None:
    class Tied(TokenTagger):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Linear(LABELS, 40, bias=False)
            self.again.weight = self.embedding.weight

    args = arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=2, learning_rate=0.1)
    straight = Trainer(Tied(), args, tag, examples(20))
    straight.train()
    resumed = Trainer(Tied(), args, tag, examples(20))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert torch.equal(straight.model.embedding.weight, resumed.model.again.weight)


def test_metrics_and_state_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = build(str(tmp_path), max_steps=2)
    metrics = trainer.train().metrics
    trainer.save_metrics("train", metrics)
    trainer.save_metrics("eval", {"eval_accuracy": 0.5})
    trainer.save_state()
    assert json.loads((tmp_path / "train_results.json").read_text()) == metrics
    everything = json.loads((tmp_path / "all_results.json").read_text())
    assert everything == {**metrics, "eval_accuracy": 0.5}
    assert json.loads((tmp_path / "trainer_state.json").read_text())["global_step"] == 2
    log_metrics(trainer, "eval", {"eval_accuracy": 0.51239, "eval_runtime": 3661.2, "eval_samples": 7})
    printed = capsys.readouterr().out
    assert "eval_accuracy = 0.5124" in " ".join(printed.split())
    assert trainer.metrics_format({"x_runtime": 3661.2, "x_mem_gpu_alloc_delta": 2**21})["x_runtime"] == "1:01:01"
    assert {"train_runtime", "train_samples_per_second", "train_loss", "epoch"} <= set(metrics)


def test_memory_metrics_can_be_left_out(tmp_path: Path) -> None:
    for skip in (True, False):
        metrics = build(str(tmp_path), max_steps=1, skip_memory_metrics=skip).train().metrics
        assert ("train_mem_cpu_alloc_delta" in metrics) is not skip


def test_model_init_makes_the_same_model_at_every_training(tmp_path: Path) -> None:
    args = arguments(tmp_path, max_steps=3, learning_rate=0.1)
    trainer = Trainer(None, args, pad, examples(20), model_init=TinyClassifier)
    trainer.train()
    first = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert all(torch.equal(value, first[name]) for name, value in trainer.model.state_dict().items())


def test_an_optimizer_and_schedule_of_the_caller_s(tmp_path: Path) -> None:
    model = TinyClassifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    args = arguments(tmp_path, max_steps=4, logging_steps=1, save_strategy="steps", save_steps=2)
    trainer = Trainer(model, args, pad, examples(20), optimizers=(optimizer, schedule))
    trainer.train()
    assert [e["learning_rate"] for e in trainer.state.log_history if "loss" in e] == [0.3, 0.3, 0.15, 0.15]


def test_a_start_message_tells_what_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        build(str(tmp_path), max_steps=1).train()
    finally:
        logging.set_verbosity(level)
    message = capsys.readouterr().err
    assert "Training on 61 examples for 0.0909091 epochs, 1 steps." in message
    assert "A step sees 6 examples: 3 per device x 1 processes x 2 forward passes." in message
    total = sum(parameter.numel() for parameter in TinyClassifier().parameters())
    assert f"{total:,} of {total:,} values are trained" in message


def test_importing_the_trainer_loads_nothing_heavy() -> None:
    script = (
        "import sys; from transformers import Trainer, TrainingArguments, HfArgumentParser\n"
        "heavy = 'accelerate datasets sklearn scipy tensorboardX pandas huggingface_hub tqdm.auto'.split()\n"
        "TrainingArguments('out')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_trainer_keeps_its_device_when_another_one_chooses_anew(tmp_path: Path) -> None:
    """Accelerate has one state for the whole process; a Trainer for another device must not empty the first one's."""
    first = build(str(tmp_path / "first"), max_steps=2)
    devices._choose_anew()
    second = build(str(tmp_path / "second"), max_steps=2)
    for trainer in (first, second):
        devices._choose_anew()
        assert trainer.train().global_step == 2
        assert trainer.args.device == trainer.accelerator.device
