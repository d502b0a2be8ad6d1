"""How fast does ``pipeline`` classify 2,000 sentences of SST-2, against upstream's at its best batch size?

MiniLM in RoBERTa's layout with a seeded, untrained head. Each side is a process of its own with the same threads; they
take turns, and upstream's best batch size is chosen by its own times. The result is ``results/pipeline_sst2.json``.
Needs the GLUE data (LORA_SHARED_DATA or ../shared/data), the converted MiniLM and the reference environment
(bash scripts/test.sh makes both)::

    .venv/bin/python benchmarks/pipeline_sst2.py [--rounds 2]

The exit code is 1 unless ours is twice as fast, with the same labels and scores within 1e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from other_side import ROOT, OtherSide
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from transformers.training.environment import describe_environment

RESULT = ROOT / "benchmarks" / "results" / "pipeline_sst2.json"
TEXTS = 2000
BATCH_SIZES = (8, 32, 64, 128)


def sentences() -> list[str]:
    """Give the first sentences of SST-2's training set.

    Raises:
        OSError: If the GLUE data is absent.
    """
    import pandas as pd

    folder = Path(os.environ.get("LORA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    rows = pd.read_parquet(folder / "glue" / "sst2" / "train-00000-of-00001.parquet")
    return [str(text) for text in rows["sentence"][:TEXTS]]


def write_model(folder: Path) -> None:
    """Write MiniLM with a seeded head, and its tokenizer."""
    source = os.environ.get("LORA_MINILM", ROOT / "models" / "minilm-roberta")
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(source, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def largest_difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    """Compare answers; infinite where a label differs though its score is not that of a tie."""
    largest = 0.0
    for first, second in zip(ours, theirs, strict=True):
        if first["label"] != second["label"] and max(first["score"], second["score"]) > 0.5001:
            return float("inf")
        largest = max(largest, abs(first["score"] - second["score"]))
    return largest


def main() -> int:
    """Measure, write the result, and say whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    texts = sentences()
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name) / "model", Path(name) / "texts.json"
        write_model(folder)
        file.write_text(json.dumps(texts), encoding="utf-8")
        classify = pipeline("text-classification", model=folder)
        classify(texts[:8])
        with OtherSide("upstream_pipeline.py", [str(folder), str(file)], options.threads) as upstream:
            tried = {size: upstream.ask(size)["seconds"] for size in BATCH_SIZES}
            best = min(tried, key=lambda size: tried[size])
            seconds: dict[str, list[float]] = {"ours": [], "upstream": []}
            for _ in range(options.rounds):
                begin = time.perf_counter()
                ours = classify(texts)
                seconds["ours"].append(time.perf_counter() - begin)
                theirs = upstream.ask(best)
                seconds["upstream"].append(theirs["seconds"])
    medians = {side: median(times) for side, times in seconds.items()}
    difference = largest_difference(ours, theirs["answers"])
    record = {
        "texts": len(texts),
        "upstream_by_batch_size": {str(size): round(each, 3) for size, each in tried.items()},
        "best_batch_size": best,
        "seconds": {side: [round(each, 3) for each in times] for side, times in seconds.items()},
        "speedup": round(medians["upstream"] / medians["ours"], 2),
        "largest_difference": difference,
        "upstream": upstream.about,
        "environment": {**describe_environment("cpu"), "threads": options.threads},
        "load_average": os.getloadavg(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(
        f"{medians['ours']:.1f} s here, {medians['upstream']:.1f} s upstream (batches of {best}): "
        f"{record['speedup']} times faster; scores differ by {difference:.1e}"
    )
    return 0 if medians["upstream"] >= 2 * medians["ours"] and difference <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
