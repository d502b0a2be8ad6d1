"""A small training that tests run in their own process, or as a script in another one.

As a script it takes one JSON object: the arguments of ``train``, and ``result``, a folder to write the outcome into.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler

from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.training.devices import end_process

ROOT = Path(__file__).resolve().parents[2]
WORDS, LABELS = 40, 3


class TinyClassifier(nn.Module):
    """Mean of word embeddings, a hidden layer with dropout, a head."""

    def __init__(self, dropout: float = 0.25) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 16)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(16, LABELS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        states = self.dropout(torch.tanh(self.norm(self.hidden(self.embedding(input_ids)))))
        mask = attention_mask.unsqueeze(-1)
        logits = self.classifier((states * mask).sum(1) / mask.sum(1))
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


def examples(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Sentences of 2 to 12 random words; the label is a function of the words."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        length = int(torch.randint(2, 13, (1,), generator=generator))
        words = torch.randint(1, WORDS, (length,), generator=generator).tolist()
        made.append({"input_ids": words, "labels": sum(words) % LABELS, "number": number})
    return made


def pad(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    longest = max(len(example["input_ids"]) for example in features)
    rows = [example["input_ids"] + [0] * (longest - len(example["input_ids"])) for example in features]
    ids = torch.tensor(rows)
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).float(),
        "labels": torch.tensor([example["labels"] for example in features]),
    }


def pad_and_corrupt(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Replace words at random, as masked language modelling does."""
    batch = pad(features)
    corrupted = torch.rand(batch["input_ids"].shape) < 0.2
    batch["input_ids"] = torch.where(corrupted & (batch["input_ids"] != 0), 1, batch["input_ids"])
    return batch


class BrokenRow(TinyClassifier):
    """Gives a loss that is no number for a batch with a row of one length."""

    def forward(self, **batch: Any) -> dict[str, Tensor]:  # type: ignore[override]
        output = super().forward(**batch)
        if self.training and bool((batch["input_ids"] == WORDS - 1).any()):
            output["loss"] = output["loss"] * math.nan
        return output


def with_a_broken_row(number: int) -> list[dict[str, Any]]:
    """Give the examples with one row that `BrokenRow` knows."""
    rows = [{**row, "input_ids": [min(word, WORDS - 2) for word in row["input_ids"]]} for row in examples(61)]
    rows[number]["input_ids"][0] = WORDS - 1
    return rows


class KilledAtStep(TrainerCallback):
    """Kills this very process when a step begins."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class OlderTrainer(Trainer):
    """Overrides with 4.4.2's signatures: one label is drawn more often, every process writes a file of its own."""

    def _get_train_sampler(self):  # type: ignore[no-untyped-def]
        weights = [1.0 if example["labels"] else 3.0 for example in self.train_dataset]
        return WeightedRandomSampler(weights, len(self.train_dataset))

    def save_model(self, output_dir=None):  # type: ignore[no-untyped-def]
        super().save_model(output_dir)
        Path(output_dir, f"process-{self.args.process_index}.txt").write_text("mine")

    def evaluate(self, eval_dataset=None):  # type: ignore[no-untyped-def]
        return super().evaluate(eval_dataset)


def build(
    output_dir: str,
    *,
    older: bool = False,
    kill_at: int | None = None,
    random_collator: bool = False,
    dropout: float = 0.25,
    **arguments: Any,
) -> Trainer:
    """Build the Trainer of the case: 61 examples, evaluations after every fifth step."""
    torch.manual_seed(5)
    settings = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "warmup_steps": 3,
        "weight_decay": 0.1,
        "logging_steps": 3,
        "save_steps": 10,
        "max_steps": 20,
        "evaluation_strategy": "steps",
        "eval_steps": 5,
        "report_to": "none",
        "disable_tqdm": True,
        "no_cuda": True,
        **arguments,
    }
    return (OlderTrainer if older else Trainer)(
        TinyClassifier(dropout),
        TrainingArguments(output_dir, **settings),
        train_dataset=examples(61),
        eval_dataset=examples(17, seed=2),
        data_collator=pad_and_corrupt if random_collator else pad,
        callbacks=[] if kill_at is None else [KilledAtStep(kill_at)],
    )


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    settings = {"report_to": "none", "disable_tqdm": True, "no_cuda": True, "save_strategy": "no", **changes}
    return TrainingArguments(str(folder), **settings)


def trainer_of(kind: type[Trainer], folder: Path, **changes: Any) -> Trainer:
    """The trainer of ``build``, of another class."""
    plain = build(str(folder), **changes)
    return kind(plain.model, plain.args, pad, plain.train_dataset, plain.eval_dataset)


def outcome(trainer: Trainer) -> dict[str, Tensor]:
    """Give every number that two equal runs share: weights, optimizer state, logged losses."""
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    for number, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    history = [
        (
            entry["step"],
            entry.get("loss", entry.get("eval_loss")),
            entry.get("grad_norm", 0.0),
            entry.get("learning_rate", 0),
        )
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_loss" in entry
    ]
    return {**tensors, "history": torch.tensor(history, dtype=torch.float64)}


def run_in_process(folder: Path, *, processes: int = 1, **arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the case in another process, or in several that train together."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    )
    command = [sys.executable, *launcher, __file__, json.dumps({"result": str(folder), **arguments})]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def read_outcome(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "outcome.safetensors")


def main() -> None:
    request = json.loads(sys.argv[1])
    result, resume = Path(request.pop("result")), request.pop("resume", None)
    trainer = build(**request)
    trainer.train(resume_from_checkpoint=resume)
    tensors = {name: value.contiguous() for name, value in outcome(trainer).items()}
    metrics = trainer.evaluate()
    predictions = trainer.predict(trainer.eval_dataset)
    if trainer.is_world_process_zero():
        result.mkdir(exist_ok=True)
        tensors["predictions"] = torch.from_numpy(predictions.predictions)
        tensors["labels"] = torch.from_numpy(predictions.label_ids)
        save_file(tensors, result / "outcome.safetensors")
        (result / "metrics.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
    end_process(0)
