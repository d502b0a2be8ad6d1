"""The number of items in a step: what losses of the caller's are given, and how their passes are weighted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import SequentialSampler
from training_case import arguments

from transformers import Trainer
from transformers.training.item_count import ItemCount

# Two examples a pass, two passes a step; labels that count: 3 + 3, and 3 + 2 (of the three examples that are left).
DATA = [
    {
        "input_ids": torch.tensor([number, number * 3 % 10]),
        "labels": torch.tensor([number % 3, -100 if number % 2 else 1]),
    }
    for number in range(7)
]


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(10, 3)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.table(input_ids)
        loss = {} if labels is None else {"loss": functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}
        return {**loss, "logits": logits}


class InOrder(Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(DATA)


def run(folder: Path, kind: type[Trainer] = InOrder, loss: Any = None, model: Any = None) -> Trainer:
    args = arguments(
        folder,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        num_train_epochs=1,
        learning_rate=0.1,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0,
        logging_steps=1,
    )
    trainer = kind(
        Tagger() if model is None else model, args, train_dataset=DATA, eval_dataset=DATA, compute_loss_func=loss
    )
    trainer.train()
    return trainer


def expected() -> Tensor:
    """SGD on the mean loss over the labels of each step."""
    model = Tagger()
    for rows in (DATA[:4], DATA[4:]):
        batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        (gradient,) = torch.autograd.grad(model(**batch)["loss"], [model.table.weight])
        model.table.weight.data -= 0.1 * gradient
    return model.table.weight.detach()


def summed(outputs: Any, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten(), reduction="sum")


def test_a_loss_function_gets_the_number_of_the_whole_step(tmp_path: Path) -> None:
    numbers: list[int] = []

    def documented(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
        assert isinstance(num_items_in_batch, Tensor)  # as upstream gives it
        numbers.append(int(num_items_in_batch))
        return summed(outputs, labels) / num_items_in_batch

    trainer = run(tmp_path, loss=documented)
    assert numbers == [6, 6, 5, 5]
    torch.testing.assert_close(trainer.model.table.weight.detach(), expected())
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    # What upstream's own Trainer (5.23) logs for this very run.
    assert losses == pytest.approx([1.2642724514007568, 1.3078385591506958], abs=1e-6)
    numbers.clear()
    batch = {name: torch.stack([row[name] for row in DATA]) for name in DATA[0]}
    with torch.no_grad():
        assert trainer.evaluate()["eval_loss"] == pytest.approx(float(trainer.model(**batch)["loss"]), rel=1e-6)
    assert numbers == [11], "in an evaluation, the batch's own"


@pytest.mark.parametrize("knows", [True, False])
def test_a_loss_function_that_gives_means_is_weighted(knows: bool, tmp_path: Path) -> None:
    def mean(outputs: Any, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten())

    def indifferent(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        assert f"{num_items_in_batch}" in ("6", "5")
        return mean(outputs, labels)

    trainer = run(tmp_path, loss=indifferent if knows else mean)
    torch.testing.assert_close(trainer.model.table.weight.detach(), expected())


def test_overrides_may_require_the_number(tmp_path: Path) -> None:
    numbers: list[int] = []

    class Loss(InOrder):
        def compute_loss(  # type: ignore[no-untyped-def,override]
            self, model, inputs, return_outputs=False, *, num_items_in_batch
        ):
            numbers.append(int(num_items_in_batch))
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = summed(outputs, labels) / num_items_in_batch
            return (loss, outputs) if return_outputs else loss

    class Step(InOrder):
        def training_step(self, model, inputs, num_items_in_batch):  # type: ignore[no-untyped-def]
            numbers.append(int(num_items_in_batch))
            return super().training_step(model, inputs, num_items_in_batch)

    class Plain(InOrder):
        def compute_loss(self, model, inputs, return_outputs=False):  # type: ignore[no-untyped-def]
            return super().compute_loss(model, inputs, return_outputs)

    for kind in (Loss, Plain):
        torch.testing.assert_close(run(tmp_path, kind).model.table.weight.detach(), expected())
    assert numbers == [6, 6, 5, 5]
    numbers.clear()

    def divided(outputs: Any, labels: Tensor, num_items_in_batch: Any) -> Tensor:
        return summed(outputs, labels) / num_items_in_batch

    torch.testing.assert_close(run(tmp_path, Step, divided).model.table.weight.detach(), expected())
    assert numbers == [6, 6, 5, 5]


def test_a_model_that_takes_the_number_gets_it(tmp_path: Path) -> None:
    class Counting(Tagger):
        def forward(  # type: ignore[override]
            self, input_ids: Tensor, labels: Tensor | None = None, num_items_in_batch: Any = None
        ) -> dict[str, Tensor]:
            logits = self.table(input_ids)
            loss = summed({"logits": logits}, labels) / num_items_in_batch if labels is not None else None
            return {"loss": loss, "logits": logits}

    torch.testing.assert_close(run(tmp_path, model=Counting()).model.table.weight.detach(), expected())


USES = {
    "divided": lambda count: torch.ones(2) / count,
    "copied and divided": lambda count: torch.ones(2) / count.to(torch.float64),
    "as a number": lambda count: 1 / count.item(),
    "as an int": lambda count: 1 / int(count),
    "clamped": lambda count: count.clamp(min=1),
    "by keyword": lambda count: torch.div(torch.ones(2), other=count),
    "in a list": lambda count: torch.stack([count, count]),
}
LOOKS = {
    "shown": lambda count: f"{count} {count!r}",
    "moved": lambda count: count.to("cpu"),
    "where": lambda count: (count.device, count.dtype, count.dim()),
    "compared": lambda count: bool(count > 0) and count is not None,
    "kind": lambda count: torch.is_tensor(count),
}


@pytest.mark.parametrize("name", [*USES, *LOOKS])
def test_a_count_knows_whether_it_was_computed_with(name: str) -> None:
    count = ItemCount(6, torch.device("cpu"))
    assert not count.used
    result = {**USES, **LOOKS}[name](count)
    assert count.used is (name in USES)
    if name == "divided":
        assert type(result) is Tensor
        assert result.tolist() == [pytest.approx(1 / 6)] * 2
