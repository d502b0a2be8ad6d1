"""How far is every head with every LoRA option from upstream + PEFT? The whole table, each cell with fifty steps.

Tiny models with random weights; each cell is computed by upstream Transformers with PEFT in ``.venv-reference`` and
here, from the same values (of PiSSA and OLoRA each makes its own). Written is, for every cell, the largest difference
of an output at the start, of a gradient (relative to the parameter's largest), of a loss in fifty steps of AdamW, and
of an output after them, to `results/heads_and_options.json`::

    .venv/bin/python benchmarks/heads_and_options.py [--steps 50]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "reference")]

from heads_and_options import OPTIONS, ROWS, Case, compare, write_table  # noqa: E402
from transformers import logging  # noqa: E402
from transformers.training.environment import describe_environment  # noqa: E402

GOALS = {"outputs": 1e-5, "gradients": 1e-5, "losses": 1e-4}


def main() -> int:
    """Compare all cells, write the result, and name those that miss a goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "heads_and_options.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    cells: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for family, row in ROWS:
            cases = [Case(family, row, option, args.steps) for option in OPTIONS]
            place = Path(folder, f"{family}.{row}")
            _ask_upstream(write_table(cases, place))
            cells[f"{family} {row}"] = {case.option: compare(case, place) for case in cases}
            print(f"{family} {row}: {_largest(cells[f'{family} {row}'].values())}", flush=True)
    every = [cell for row in cells.values() for cell in row.values()]
    missed = [
        f"{row}, {option}: {name} {cell[name]:.1e}"
        for row, options in cells.items()
        for option, cell in options.items()
        for name, goal in GOALS.items()
        if cell.get(name, 0.0) > goal
    ]
    result = {
        "steps": args.steps,
        "cells": len(every),
        "largest": _largest(every),
        "goals": GOALS,
        "missed": missed,
        "environment": describe_environment("cpu"),
        "upstream": _versions(),
        "table": cells,
    }
    args.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(every)} cells, {len(missed)} miss a goal; {args.result}", *missed, sep="\n")
    return 1 if missed else 0


def _largest(cells: Iterable[dict[str, float]]) -> dict[str, float]:
    """Give the largest difference of each kind."""
    found: dict[str, float] = {}
    for cell in cells:
        for name, value in cell.items():
            found[name] = max(found.get(name, 0.0), value)
    return found


def _ask_upstream(folder: Path) -> None:
    """Compute the cases of a folder in the reference environment."""
    script = ROOT / "tests" / "reference" / "upstream_heads_and_options.py"
    _reference([str(script), str(folder)])


def _versions() -> dict[str, str]:
    code = "import json, peft, transformers; print(json.dumps([transformers.__version__, peft.__version__]))"
    transformers, peft = json.loads(_reference(["-c", code]).splitlines()[-1])
    return {"transformers": transformers, "peft": peft}


def _reference(words: list[str]) -> str:
    """Run Python in the reference environment.

    Raises:
        subprocess.CalledProcessError: If it fails; what it said is printed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / ".venv-reference" / "bin" / "python"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
