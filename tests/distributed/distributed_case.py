"""Small trainings of this package's models, run here or as a script by several processes.

As a script it takes a JSON file: ``runs``, a list of the arguments of ``run``, each with ``result``, the folder that
the main process writes the outcome into. Several runs follow each other in one start of the processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers.training.devices import end_process

ROOT = Path(__file__).resolve().parents[2]
LABELS = 3
TINY: dict[str, Any] = {
    "vocab_size": 43,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": LABELS,
}
DEBERTA: dict[str, Any] = {
    "model_type": "deberta-v2",
    "relative_attention": True,
    "position_buckets": 4,
    "max_relative_positions": -1,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "pooler_dropout": 0.0,
    "pooler_hidden_size": 16,
    "pooler_hidden_act": "gelu",
}


def write_base(folder: Path, kind: str) -> Path:
    """Write a checkpoint with new weights, without a head, and give its folder."""
    path = folder / kind
    if not path.exists():
        fields = {"roberta": {"model_type": "roberta"}, "deberta": DEBERTA}[kind]
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**{**TINY, **fields}))
        model.base_model.save_pretrained(path)
    return path


def examples(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Sentences of 2 to 12 random words; the label is a function of the words."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        length = int(torch.randint(2, 13, (1,), generator=generator))
        words = torch.randint(1, 40, (length,), generator=generator).tolist()
        made.append({"input_ids": words, "labels": sum(words) % LABELS})
    return made


def pad(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    longest = max(len(example["input_ids"]) for example in features)
    rows = [example["input_ids"] + [0] * (longest - len(example["input_ids"])) for example in features]
    ids = torch.tensor(rows)
    labels = torch.tensor([example["labels"] for example in features])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


class AtStep(TrainerCallback):
    """Sends a signal to one of the processes, from itself, when a step begins."""

    def __init__(self, step: int, process: int, name: str) -> None:
        self.step, self.process, self.signal = step, process, getattr(signal, name)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.step and args.process_index == self.process:
            os.kill(os.getpid(), self.signal)


class CountBytes(TrainerCallback):
    """Counts what DistributedDataParallel sends, through a communication hook."""

    trainer: Trainer | None = None
    sent = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        def count(group, bucket):  # DistributedDataParallel reads the annotations, and takes its own alone
            self.sent += bucket.buffer().nbytes
            return allreduce_hook(group, bucket)

        self.trainer.model_wrapped.register_comm_hook(None, count)


def build(
    base: str, output_dir: str, *, lora: bool = False, signal_at: list[Any] | None = None, **arguments: Any
) -> Trainer:
    """Build the Trainer of the case: 61 examples, 6 of them a step, the last step of an epoch with 1."""
    settings = {"apply_lora": True, "lora_r": 2, "lora_alpha": 4} if lora else {}
    torch.manual_seed(4)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=LABELS, **settings)
    filled: dict[str, Any] = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "warmup_steps": 2,
        "max_steps": 12,
        "logging_steps": 1,
        "save_steps": 8,
        "report_to": "none",
        "disable_tqdm": True,
        "no_cuda": True,
        **arguments,
    }
    args = TrainingArguments(output_dir, **filled)
    callbacks = [] if signal_at is None else [AtStep(*signal_at)]
    return Trainer(model, args, pad, examples(61), examples(17, seed=2), callbacks=callbacks)


def outcome(trainer: Trainer) -> dict[str, Tensor]:
    """Give every number that two equal runs share; all processes must call."""
    state = trainer.parallel.optimizer_state(trainer.optimizer)
    names = [name for group in trainer.optimizer.param_groups for name in group["param_names"]]
    found = {
        f"optimizer.{names[number]}.{key}": value
        for number, entry in state["state"].items()
        for key, value in entry.items()
    }
    evaluation = trainer.evaluate()["eval_loss"]
    prediction = trainer.predict(trainer.eval_dataset)
    with trainer.parallel.whole_model(trainer.model):
        found |= {
            f"model.{name}": value.detach().float().clone() for name, value in trainer.model.state_dict().items()
        }
    history = [
        (entry["step"], entry["loss"], entry["grad_norm"], entry["learning_rate"])
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    found |= {"history": torch.tensor(history), "eval_loss": torch.tensor(evaluation)}
    found |= {"logits": torch.from_numpy(prediction.predictions), "labels": torch.from_numpy(prediction.label_ids)}
    return {name: torch.as_tensor(value).contiguous() for name, value in found.items()}


def run(
    base: str,
    output_dir: str,
    result: str | None = None,
    resume: str | bool | None = None,
    count_bytes: bool = False,
    **arguments: Any,
) -> dict[str, Tensor]:
    """Train, save the model, and give the outcome; the main process also writes it."""
    trainer = build(base, output_dir, **arguments)
    counter = CountBytes()
    if count_bytes:
        counter.trainer = trainer
        trainer.add_callback(counter)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    found = outcome(trainer)
    if count_bytes:
        found["sent"] = torch.tensor(counter.sent)
        found["announced"] = torch.tensor(trainer.parallel.traffic(trainer.model).gradients)
    if result is not None and trainer.is_world_process_zero():
        Path(result).mkdir(parents=True, exist_ok=True)
        save_file(found, Path(result) / "outcome.safetensors")
    return found


def read(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "outcome.safetensors")


def environment(**changes: str) -> dict[str, str]:
    """Give the environment of a process of its own: one thread, this checkout, nothing of another launcher's."""
    ours = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {**{name: value for name, value in os.environ.items() if name not in launcher}, **ours, **changes}


if __name__ == "__main__":
    for one in json.loads(Path(sys.argv[1]).read_text())["runs"]:
        run(**one)
    end_process(0)
