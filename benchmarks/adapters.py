"""How small is an adapter of RoBERTa-base, and how long do saving, loading and switching take?

A RoBERTa-base shape with random weights, r = 8, a head of two classes, fp32. Writes `results/adapters.json`::

    .venv/bin/python benchmarks/adapters.py
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from transformers import AutoModelForSequenceClassification, PreTrainedModel, RobertaConfig, RobertaModel
from transformers.training.environment import describe_environment

RESULTS = Path(__file__).parent / "results" / "adapters.json"


def milliseconds(action: Callable[[], object], runs: int = 21) -> float:
    """Time an action; the median of several runs after one that is not counted."""
    action()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        times.append((time.perf_counter() - begin) * 1000)
    return round(statistics.median(times), 3)


def main() -> None:
    """Measure and write."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
        RobertaModel(config, add_pooling_layer=False).save_pretrained(folder / "base")
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder / "base", apply_lora=True, lora_r=8, lora_alpha=16
        )
        model.save_adapter(folder / "a")
        model.load_adapter(folder / "a", "b")
        names = iter(["b", "default"] * 1000)
        record = {
            "question": "size of a RoBERTa-base adapter with a two-class head, and the time of saving and switching",
            "bytes": {path.name: path.stat().st_size for path in sorted((folder / "a").iterdir())},
            "megabytes": round(sum(path.stat().st_size for path in (folder / "a").iterdir()) / 1e6, 3),
            "save_milliseconds": milliseconds(lambda: model.save_adapter(folder / "again")),
            "switch_milliseconds": milliseconds(lambda: model.set_adapter(next(names)), runs=201),
            "seed": 0,
            "environment": describe_environment(),
        }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
