#!/usr/bin/env python
r"""Compares runs over the same examples: the spread of their figures, and how often predictions flip.

The runs were made with ``--report_predictions``, such as one for each of several seeds. For example::

    python scripts/compare_runs.py output/mrpc/seed-0 output/mrpc/seed-1 output/mrpc/seed-2 --output comparison
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))  # where common/ is

from common.reporting.comparing import describe_runs, read_run
from common.reporting.files import write_pair

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code: 0, or 2 where runs cannot be compared or something cannot be read or written.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of runs with --report_predictions")
    parser.add_argument(
        "--output", type=Path, default=Path("comparison"), help="a folder for comparison.html and .json"
    )
    flags = parser.parse_args(words)
    try:
        runs = [read_run(folder) for folder in flags.folders]
        figures = describe_runs(runs)
        flags.output.mkdir(parents=True, exist_ok=True)
        title = f"Comparison of {len(runs)} runs"
        page = write_pair(flags.output / "comparison", title, ", ".join(run.name for run in runs), figures)
    except (ValueError, OSError) as error:
        print(f"compare_runs.py: error: {error}", file=sys.stderr)
        return 2
    for name, each in figures["spread"].items():
        print(f"{name:24}{each['median']:.4f} ± {each['deviation']:.4f}  ({each['least']:.4f} to {each['most']:.4f})")
    if "flips" in figures:
        print(f"{'flips between two runs':24}{figures['flips']['mean']:.2%}")
    print(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
