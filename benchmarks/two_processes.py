"""How much faster do two CPU processes train than one, each with one thread, at the same global batch?

A LoRA training (r 8) of a RoBERTa of MiniLM's size (6 layers, 384 hidden) through the Trainer, 16 examples a step: 16
at once in one process, 8 in each of two. The two sides take turns, round by round; a round gives the median of its
step times, start-up and the first steps left out. The result is the ratio of the medians over the rounds, and that of
the fastest rounds, which other work on the machine disturbs least.

    python benchmarks/two_processes.py            # writes benchmarks/results/two_processes.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from transformers import (
    AutoModelForSequenceClassification,
    RobertaConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.methods.trainable import mark_trainable
from transformers.training.devices import end_process
from transformers.training.environment import describe_environment

ROOT = Path(__file__).resolve().parent.parent
GLOBAL_BATCH, WARM_UP = 16, 2
MODEL: dict[str, Any] = {
    "vocab_size": 5000,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "apply_lora": True,
    "lora_r": 8,
    "lora_alpha": 16,
}


class StepTimes(TrainerCallback):
    """Notes when every step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def examples(count: int) -> list[dict[str, Any]]:
    """Draw sentences of 20 to 100 random tokens."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(20, 101, (count,), generator=generator).tolist()
    ids = [torch.randint(10, 5000, (length,), generator=generator) for length in lengths]
    return [{"input_ids": row, "labels": number % 2} for number, row in enumerate(ids)]


def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad a batch to its longest sentence."""
    rows = torch.nn.utils.rnn.pad_sequence([row["input_ids"] for row in features], True, 1)
    labels = torch.tensor([row["labels"] for row in features])
    return {"input_ids": rows, "attention_mask": (rows != 1).long(), "labels": labels}


def train(steps: int, result: Path) -> None:
    """Train, in one of the processes of a side; the first writes the median time of a step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(RobertaConfig(**MODEL))
    mark_trainable(model)
    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder,
            per_device_train_batch_size=GLOBAL_BATCH // int(os.environ.get("WORLD_SIZE", 1)),
            max_steps=steps + WARM_UP,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            no_cuda=True,
        )
        trainer = Trainer(model, args, collate, examples(GLOBAL_BATCH * steps), callbacks=[times])
        trainer.train()
    if trainer.is_world_process_zero():
        durations = [end - begin for begin, end in zip(times.ends[WARM_UP - 1 :], times.ends[WARM_UP:], strict=False)]
        result.write_text(json.dumps({"step": median(durations)}))


def measure(processes: int, steps: int) -> float:
    """Run one side once and give its median time of a step, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command = [sys.executable, *(launcher if processes > 1 else []), __file__, "--steps", str(steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
        subprocess.run([*command, "--worker", str(result)], env=environment, check=True, capture_output=True)
        return float(json.loads(result.read_text())["step"])


def main() -> None:
    """Measure both sides in turns and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="steps that are timed in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "two_processes.json")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker is not None:
        train(chosen.steps, chosen.worker)
        end_process(0)
    rounds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(chosen.rounds):
        for processes, times in rounds.items():
            times.append(measure(processes, chosen.steps))
            print(f"round {number + 1}: {processes} process(es), {times[-1]:.3f} s a step", flush=True)
    result = {
        "question": "one process with one thread against two with one thread each, 16 examples a step",
        "seconds_per_step": {"one": rounds[1], "two": rounds[2]},
        "ratio_of_medians": median(rounds[1]) / median(rounds[2]),
        "ratio_of_fastest_rounds": min(rounds[1]) / min(rounds[2]),
        "load_average_at_the_end": os.getloadavg()[0],
        "steps": chosen.steps,
        "seed": 0,
        "model": MODEL,
        "environment": describe_environment("cpu"),
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"ratio {result['ratio_of_medians']:.2f} (fastest rounds {result['ratio_of_fastest_rounds']:.2f})")


if __name__ == "__main__":
    main()
