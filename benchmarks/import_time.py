"""How long does importing the Trainer and the Auto classes take, beside ``import torch`` alone?

Fresh processes in turn; medians. Writes `results/import_time.json`::

    .venv/bin/python benchmarks/import_time.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from transformers.training.environment import describe_environment

RESULTS = Path(__file__).parent / "results" / "import_time.json"
IMPORTS = {
    "torch": "import torch",
    "transformers": "from transformers import Trainer, AutoModelForSequenceClassification",
}
RUNS = 9


def seconds(code: str) -> float:
    """Time a fresh process that runs some code."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure both in turn and write."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for run in range(RUNS + 1):
        for name, code in IMPORTS.items():
            taken = seconds(code)
            if run:  # the first fills the file cache
                times[name].append(taken)
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    record = {
        "question": "seconds of importing the Trainer and the Auto classes, and of importing torch alone",
        "median_seconds": medians,
        "difference_seconds": round(medians["transformers"] - medians["torch"], 3),
        "all_seconds": {name: [round(value, 3) for value in values] for name, values in times.items()},
        "environment": describe_environment(),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
