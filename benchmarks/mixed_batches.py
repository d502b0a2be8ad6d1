"""How fast is a batch whose rows have different adapters, against PEFT's, and against models that have one at a time?

MiniLM, 64 adapters of ranks 2 to 16 on query and value with heads that give each token one of two labels (PEFT's
mixed batches take a head that is one linear layer, of one size; RoBERTa's for texts is none), random values; batches
of 32 opinions of the demo, each with an adapter drawn at random. Beside mixed batches: one merged model, and models
that are switched to each row's adapter and compute it alone. The sides take turns, PEFT in a process of its own.
Writes `results/mixed_batches.json`. Needs the converted MiniLM and the reference environment (bash scripts/test.sh
makes both)::

    .venv/bin/python benchmarks/mixed_batches.py [--batches 4] [--rounds 3]

The exit code is 1 unless ours is faster than PEFT's, with the same logits within 1e-4.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from other_side import ROOT, OtherSide
from random_adapters import write_adapters
from row_by_row import switch_through
from transformers import AutoModelForTokenClassification, AutoTokenizer, PreTrainedModel
from transformers.training.environment import describe_environment

RESULT = ROOT / "benchmarks" / "results" / "mixed_batches.json"
DEMO = ROOT / "examples" / "text-classification" / "demo" / "train.csv"
ADAPTERS, ROWS = 64, 32


def draw_batches(base: str, names: list[str], count: int) -> list[dict[str, Any]]:
    """Draw texts and an adapter for each."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    with DEMO.open(encoding="utf-8", newline="") as file:
        texts = [next(iter(row.values())) for row in csv.DictReader(file)]
    rng = random.Random(1)
    batches = []
    for _ in range(count):
        encoded = tokenizer([rng.choice(texts) for _ in range(ROWS)], padding=True, truncation=True)
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        batches.append({"inputs": inputs, "names": [rng.choice(names) for _ in range(ROWS)]})
    return batches


def timed(model: PreTrainedModel, batch: dict[str, Any], **more: Any) -> tuple[float, Tensor]:
    """Compute a batch here; give the seconds and the logits."""
    inputs = {name: torch.tensor(values) for name, values in batch["inputs"].items()}
    begin = time.perf_counter()
    with torch.inference_mode():
        logits: Tensor = model(**inputs, **more).logits
    return time.perf_counter() - begin, logits


def main() -> int:
    """Measure, write the result, and say whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base = os.environ.get("LORA_MINILM", str(ROOT / "models" / "minilm-roberta"))
    sides = ("ours", "merged", "switching", "peft", "peft_switching")
    seconds: dict[str, list[list[float]]] = {side: [[] for _ in range(options.batches)] for side in sides}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "adapters"
        folder.mkdir()
        names = write_adapters(folder, base, ADAPTERS, AutoModelForTokenClassification, 2)
        batches = draw_batches(base, names, options.batches)
        (Path(place) / "batches.json").write_text(json.dumps(batches), encoding="utf-8")
        model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(folder / names[0]).eval()
        merged = AutoModelForTokenClassification.from_pretrained(folder / names[0]).merge_and_unload().eval()
        model.load_adapter(folder / names[0], names[0])
        for name in names[1:]:
            model.load_adapter(folder / name, name)
        words = [base, str(folder), str(Path(place) / "batches.json")]
        with OtherSide("upstream_mixed.py", words, options.threads) as peft:
            difference = 0.0
            for number in range(options.rounds + 1):  # the first round warms up
                for place_, batch in enumerate(batches):
                    ours, found = timed(model, batch, adapter_names=batch["names"])
                    one, _ = timed(merged, batch)
                    switching = switch_through(model, batch)
                    answer = peft.ask(place_)
                    times = (ours, one, switching, answer["seconds"], peft.ask(f"{place_} switching")["seconds"])
                    valid = torch.tensor(batch["inputs"]["attention_mask"]).bool()
                    difference = max(difference, float((found - torch.tensor(answer["logits"]))[valid].abs().max()))
                    if number:
                        for side, value in zip(sides, times, strict=True):
                            seconds[side][place_].append(value)
    rate = {side: ROWS * options.batches / sum(median(times) for times in each) for side, each in seconds.items()}
    record = {
        "adapters": ADAPTERS,
        "rows_of_a_batch": ROWS,
        "rows_a_second": {side: round(each, 1) for side, each in rate.items()},
        **{f"ours_to_{side}": round(rate["ours"] / rate[side], 2) for side in sides[1:]},
        "largest_difference": difference,
        "upstream": peft.about,
        "environment": {**describe_environment("cpu"), "threads": options.threads},
        "load_average": os.getloadavg(),
        "seed": 0,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(
        json.dumps({name: value for name, value in record.items() if name.startswith(("rows_", "ours_", "largest"))})
    )
    return 0 if rate["ours"] > rate["peft"] and difference <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
