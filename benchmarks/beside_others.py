"""What does a training step take beside another program that keeps one processor busy?

MiniLM with LoRA, 32 sentences of SST-2 a step, in processes that begin as the example scripts do: threads that wait
soon sleep, and their number is measured. Each is measured alone, then beside a busy process that comes after it, and
one is started beside a busy process. The same for libgomp's own spinning with all threads. The result is
`results/beside_others.json`. Takes two minutes, on a machine that does nothing else::

    .venv/bin/python benchmarks/beside_others.py [--rounds 3] [--seconds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "beside_others.json"
BUSY = "while True: sum(i * i for i in range(10_000))"
WAYS = {"as the scripts do": False, "libgomp's own spinning, all threads": True}


def main() -> None:
    """Measure all ways in turn and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--step", choices=("own", "spinning"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.seconds, spinning=options.step == "spinning")
        return
    rows: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        for way, spinning in WAYS.items():
            rows.append({"way": way, **measure(options.seconds, spinning)})
            print(json.dumps(rows[-1]), flush=True)
    from transformers.training.environment import describe_environment

    medians = [summary(way, [row for row in rows if row["way"] == way]) for way in WAYS]
    for median in medians:
        print(json.dumps(median))
    record = {
        "question": "a training step beside one busy process: MiniLM, 32 sentences of SST-2; milliseconds",
        "medians": medians,
        "rounds": rows,
        "environment": describe_environment(),
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")


def summary(way: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the medians of one way, and what they are times the step alone."""
    alone, after, before = (
        statistics.median(row[name] for row in rows) for name in ("alone", "busy_comes_after", "busy_was_before")
    )
    return {
        "way": way,
        "alone": alone,
        "busy_comes_after": after,
        "busy_was_before": before,
        "times_after": round(after / alone, 2),
        "times_before": round(before / alone, 2),
    }


def measure(seconds: float, spinning: bool) -> dict[str, Any]:
    """Measure the step alone, and beside a busy process that came after it and before it."""
    with stepping(seconds, spinning) as process:
        alone = read(process)
        with busy():
            after = read(process)
    with busy(), stepping(seconds, spinning) as process:
        before = read(process)
    return {
        "alone": alone["milliseconds"],
        "busy_comes_after": after["milliseconds"],
        "busy_was_before": before["milliseconds"],
        "threads": [alone["threads"], before["threads"]],
    }


@contextmanager
def busy() -> Iterator[None]:
    """Keep one processor busy."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def stepping(seconds: float, spinning: bool) -> Iterator[subprocess.Popen[str]]:
    """Start a process that trains for so long at each line that it is sent."""
    kind = "spinning" if spinning else "own"
    command = [sys.executable, __file__, "--step", kind, "--seconds", str(seconds)]
    without = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT / "src")}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Let the process train for its time, and give what it says."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("{"):
            said: dict[str, Any] = json.loads(line)
            return said
    raise RuntimeError(f"{process.args!r} ended; run it by hand to see why.")


def step(seconds: float, spinning: bool) -> None:
    """Train, at each line of the input, for some seconds, and say the median time of a step."""
    sys.path[:0] = [str(ROOT / "examples")]
    if not spinning:
        from common.process import behave

        behave()
    import torch
    from datasets import load_dataset

    from glue_parity import glue_folder, model_folder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.training.threads import choose_threads

    if not spinning:
        choose_threads()
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    model = AutoModelForSequenceClassification.from_pretrained(
        model_folder(), num_labels=2, apply_lora=True, lora_r=8, lora_alpha=16
    )
    rows = load_dataset(str(glue_folder()), "sst2", split="train[:6400]")
    texts, labels = rows["sentence"][:], torch.tensor(rows["label"][:])
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4)
    number, durations = 0, []
    for _ in sys.stdin:
        durations.clear()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(durations) < 5:
            part = slice(32 * (number % 200), 32 * (number % 200) + 32)
            number += 1
            start = time.perf_counter()
            batch = tokenizer(texts[part], padding=True, return_tensors="pt")
            model(**batch, labels=labels[part]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if number > 3:  # the first ones warm up
                durations.append(time.perf_counter() - start)
        said = {"milliseconds": round(1000 * statistics.median(durations), 1), "threads": torch.get_num_threads()}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
