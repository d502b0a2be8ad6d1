"""Trains a small model with upstream's Trainer on examples in a given order; runs in the reference environment.

Called with folders that hold ``arguments.json`` (of ``TrainingArguments``), ``data.safetensors`` (``inputs`` and
``labels`` in the order in which they are to be seen) and ``start.safetensors`` (the first weights). Writes the losses
of the steps, the learning rates and the last weights to ``end.safetensors``.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from transformers import PretrainedConfig, Trainer, TrainerCallback, TrainingArguments


class Net(nn.Module):
    def __init__(self, start: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.dense = nn.Linear(start["dense.weight"].shape[1], start["dense.weight"].shape[0])
        self.LayerNorm = nn.LayerNorm(start["LayerNorm.weight"].shape[0])
        self.out = nn.Linear(start["out.weight"].shape[1], start["out.weight"].shape[0])
        self.load_state_dict(start)
        self.config = PretrainedConfig()  # label smoothing asks for one

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.out(torch.tanh(self.LayerNorm(self.dense(inputs))))
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


class InOrder(Trainer):
    losses: list[float]

    def _get_train_sampler(self, *args: object) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, *args: object, **kwargs: object) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.losses.append(loss.item())
        return loss


class Rates(TrainerCallback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])


def main(folder: Path) -> None:
    tensors = load_file(folder / "data.safetensors")
    data = [
        {"inputs": row, "labels": label}
        for row, label in zip(tensors["inputs"], tensors["labels"].tolist(), strict=True)
    ]
    settings = json.loads((folder / "arguments.json").read_text())
    args = TrainingArguments(str(folder / "out"), **settings)
    rates = Rates()
    trainer = InOrder(Net(load_file(folder / "start.safetensors")), args, train_dataset=data, callbacks=[rates])
    trainer.losses = []
    trainer.train()
    steps = torch.tensor(trainer.losses).view(-1, settings["gradient_accumulation_steps"]).sum(1)
    end = {**trainer.model.state_dict(), "losses": steps, "rates": torch.tensor(rates.rates)}
    save_file({name: value.contiguous() for name, value in end.items()}, folder / "end.safetensors")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))
