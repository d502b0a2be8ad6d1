"""Loaders, samplers and columns as Trainer classes for Transformers 4.4.2 override them."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, WeightedRandomSampler
from training_case import TinyClassifier, arguments, examples, outcome, pad, trainer_of

from transformers import Trainer


class Balanced(Trainer):
    def _get_train_sampler(self):  # type: ignore[no-untyped-def]
        weights = [float(example["labels"] == 0) for example in self.train_dataset]
        return WeightedRandomSampler(weights, 50)


def test_an_override_of_the_train_sampler_draws_the_examples(tmp_path: Path) -> None:
    trainer = Balanced(TinyClassifier(), arguments(tmp_path, per_device_train_batch_size=8), pad, examples(30))
    loader = trainer.get_train_dataloader()
    state = torch.get_rng_state()
    first, second = ([batch["labels"].tolist() for batch in loader] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)  # it draws beside the run's own random numbers
    assert [len(labels) for labels in first] == [8] * 6 + [2]
    assert {label for labels in first + second for label in labels} == {0}
    ids = [[batch["input_ids"].tolist() for batch in trainer.get_train_dataloader()] for _ in range(2)]
    assert ids[0] == ids[1]  # the same in every process and every run
    assert trainer.train().global_step == 21


def test_a_loader_that_takes_the_own_sampler_trains_alike(tmp_path: Path) -> None:
    class Own(Trainer):
        def get_train_dataloader(self):  # type: ignore[no-untyped-def]
            return DataLoader(
                self.train_dataset,
                batch_size=self.args.train_batch_size,
                sampler=self._get_train_sampler(),
                collate_fn=self.data_collator,
                drop_last=self.args.dataloader_drop_last,
            )

    own, plain = (trainer_of(kind, tmp_path, dropout=0.0, save_strategy="no") for kind in (Own, Trainer))
    own.train()
    plain.train()
    assert torch.equal(outcome(own)["history"], outcome(plain)["history"])
    weights = plain.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in own.model.state_dict().items())


def test_loaders_say_how_large_a_batch_is_and_shuffle_anew(tmp_path: Path) -> None:
    for workers in (0, 2):
        args = arguments(tmp_path, per_device_eval_batch_size=5, dataloader_num_workers=workers)
        trainer = Trainer(TinyClassifier(), args, pad, examples(40), examples(12))
        train, evaluation = trainer.get_train_dataloader(), trainer.get_eval_dataloader()
        assert (train.batch_size, len(train), evaluation.batch_size, len(evaluation)) == (8, 5, 5, 3)
        first, second = ([batch["labels"].tolist() for batch in train] for _ in range(2))
        next(iter(train))  # a look at it, which counts as an epoch
        assert first != second
        assert Counter(chain(*first)) == Counter(chain(*second))
        train.batch_sampler.set_epoch(1)
        assert [batch["labels"].tolist() for batch in train] == second


def test_any_iterable_with_a_length_is_a_loader(tmp_path: Path) -> None:
    class TwoTasks:
        def __init__(self) -> None:
            self.dataset, self.batch_size = examples(12), 4

        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Any:
            return (pad(self.dataset[start : start + 4]) for start in range(0, 12, 4))

    class Own(Trainer):
        def get_train_dataloader(self):  # type: ignore[no-untyped-def]
            return TwoTasks()

        def get_eval_dataloader(self, eval_dataset=None):  # type: ignore[no-untyped-def]
            return TwoTasks()

    trainer = Own(TinyClassifier(), arguments(tmp_path, num_train_epochs=2), pad, examples(12), examples(12))
    assert trainer.train().global_step == 6
    plain = Trainer(trainer.model, arguments(tmp_path), pad)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain.evaluate(examples(12))["eval_loss"], rel=1e-6)


def test_a_distributed_sampler_of_the_script_s_hears_of_the_epochs(tmp_path: Path) -> None:
    heard: list[int] = []

    class Shares(DistributedSampler):  # type: ignore[type-arg]
        def set_epoch(self, epoch: int) -> None:
            heard.append(epoch)
            super().set_epoch(epoch)

    class Own(Trainer):
        def get_train_dataloader(self):  # type: ignore[no-untyped-def]
            shares = Shares(self.train_dataset, num_replicas=1, rank=0)
            return DataLoader(self.train_dataset, 4, sampler=shares, collate_fn=pad)

    Own(TinyClassifier(), arguments(tmp_path, num_train_epochs=3), pad, examples(8)).train()
    assert heard == [0, 1, 2]


def test_own_loaders_see_the_columns_that_the_model_takes(tmp_path: Path) -> None:
    class Own(Trainer):
        def get_train_dataloader(self):  # type: ignore[no-untyped-def]
            return DataLoader(self.train_dataset, 4, collate_fn=self.data_collator)

        def get_eval_dataloader(self, eval_dataset=None):  # type: ignore[no-untyped-def]
            return DataLoader(eval_dataset or self.eval_dataset, 4, collate_fn=self.data_collator)

        def get_test_dataloader(self, test_dataset):  # type: ignore[no-untyped-def]
            self._remove_unused_columns(test_dataset, description="test")  # in place, as in 4.4.2
            return DataLoader(test_dataset, 4, collate_fn=self.data_collator)

    def strict(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        assert set(features[0]) == {"input_ids", "labels"}
        return pad(features)

    given = datasets.Dataset.from_list([{**row, "sentence": "some words"} for row in examples(12)])
    trainer = Own(TinyClassifier(), arguments(tmp_path, max_steps=2), strict, given, given)
    trainer.train()
    trainer.evaluate()
    assert set(given[0]) == {"input_ids", "labels", "number", "sentence"}  # the caller's stays as it is
    trainer.predict(given)


def test_an_override_keeps_the_columns(tmp_path: Path) -> None:
    class Own(Trainer):
        def _remove_unused_columns(self, dataset, description=None):  # type: ignore[no-untyped-def]
            pass

    def wants_all(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        assert "number" in features[0]
        return pad(features)

    for data in (examples(12), datasets.Dataset.from_list(examples(12))):
        trainer = Own(TinyClassifier(), arguments(tmp_path, max_steps=2), wants_all, data, data)
        trainer.train()
        trainer.evaluate()


def test_labels_that_datasets_kept_as_text_are_trained_on(tmp_path: Path) -> None:
    """A column of class names that a script maps to numbers: ``datasets`` turns them back into text."""
    words = {"no": 0, "yes": 1}
    raw = datasets.Dataset.from_list(
        [{"label": "yes" if row["labels"] else "no", "ids": [3] * 4} for row in examples(9)]
    )
    mapped = raw.map(
        lambda rows: {"label": [words[name] for name in rows["label"]], "input_ids": rows["ids"]}, batched=True
    )

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.weight.expand(len(input_ids), 2)
            return {"logits": logits} if labels is None else {"loss": logits.gather(1, labels[:, None]).mean()}

    assert Trainer(Model(), arguments(tmp_path, max_steps=2), train_dataset=mapped).train().global_step == 2
    with pytest.raises(ValueError, match=r"column 'label' holds the text '(yes|no)'"):
        Trainer(Model(), arguments(tmp_path, max_steps=2), train_dataset=raw.rename_column("ids", "input_ids")).train()
