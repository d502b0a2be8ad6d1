"""What do checkpoints cost a LoRA run of RoBERTa-base's shape that saves every 100 steps?

Random weights, 16 rows of 60 tokens, fp32. Steps and saves of one Trainer are timed in one run, in turn; a save writes
adapter, optimizer, schedule, random numbers and state, flushes all of it, and seals it. The result, medians and the
share of saving, is `results/saving.json`::

    .venv/bin/python benchmarks/saving.py [--rounds 8]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    logging,
)
from transformers.training.environment import describe_environment

RESULTS = Path(__file__).parent / "results" / "saving.json"
EVERY = 100


class Clock(TrainerCallback):
    """Times steps and saves.

    Attributes:
        steps: Seconds of each step.
        saves: Seconds of each save.
    """

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.saves: list[float] = []
        self._begin = 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the step; what follows is the save."""
        now = time.perf_counter()
        self.steps.append(now - self._begin)
        self._begin = now

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        """Note the save."""
        self.saves.append(time.perf_counter() - self._begin)


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="steps, each followed by a save")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # where runs are written, not in memory
        base = Path(folder, "base")
        RobertaModel(RobertaConfig(vocab_size=50_265, type_vocab_size=1, max_position_embeddings=514)).save_pretrained(
            base
        )
        model = RobertaForSequenceClassification.from_pretrained(base, apply_lora=True, lora_r=8, lora_alpha=16)
        args = TrainingArguments(
            str(Path(folder, "out")),
            max_steps=options.rounds + 1,
            save_steps=1,
            save_total_limit=2,
            per_device_train_batch_size=16,
            report_to="none",
            disable_tqdm=True,
            no_cuda=True,
        )
        rows = [{"input_ids": torch.randint(5, 50_000, (60,)), "labels": row % 2} for row in range(64)]
        Trainer(model, args, default_data_collator, rows, callbacks=[clock]).train()
    step, save = median(clock.steps[1:]), median(clock.saves[1:])
    result = {
        "question": f"share of saving in a LoRA run that saves every {EVERY} steps",
        "share": round(save / (EVERY * step + save), 4),
        "save_over_step": round(save / step, 3),
        "save_seconds": round(save, 4),
        "step_seconds": round(step, 4),
        "all_saves": [round(value, 4) for value in clock.saves],
        "all_steps": [round(value, 4) for value in clock.steps],
        "seed": 0,
        "threads": options.threads,
        "environment": describe_environment(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"a save takes {save / step:.2f} steps: {result['share']:.2%} of a run; {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
