"""Upstream's side of `pipeline_sst2.py`, in the reference environment: classify all texts whenever asked.

Arguments: a checkpoint's folder, a JSON file with the texts, the number of threads. Each line of standard input is a
batch size; the answer is a line of JSON: ``seconds`` and ``answers``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

import transformers


def main(folder: str, texts: str, threads: str) -> None:
    """Load, then classify whenever asked."""
    torch.set_num_threads(int(threads))
    rows = json.loads(Path(texts).read_text(encoding="utf-8"))
    classify = transformers.pipeline("text-classification", model=folder, device="cpu")
    classify(rows[:8])
    print(json.dumps({"transformers": transformers.__version__, "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        answers = classify(rows, batch_size=int(line))
        print(json.dumps({"seconds": time.perf_counter() - begin, "answers": answers}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
