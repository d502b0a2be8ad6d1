"""Does a GPU compute what the CPU does? `tests/gpu`, with its outcome as a record.

The result is `results/gpu_tests.json`: how each test ended, with versions, commit and device. The exit code is that of
pytest (1 where a test failed). Without a GPU every test is skipped, and nothing is written::

    .venv/bin/python benchmarks/gpu_tests.py [words for pytest]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from transformers.training.environment import describe_environment

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gpu_tests.json"


class Outcomes:
    """Notes how each test ended.

    Attributes:
        found: By the test's name: ``passed``, ``failed`` or ``skipped``, and a failure's last line.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a part of a test: its beginning, itself, or its end."""
        if report.when == "call" or report.outcome != "passed":
            why = f": {report.longreprtext.splitlines()[-1]}" if report.failed and report.longreprtext else ""
            self.found[report.nodeid] = f"{report.outcome}{why}"


def main() -> int:
    """Run the tests and write the record."""
    outcomes = Outcomes()
    code = pytest.main([str(ROOT / "tests" / "gpu"), "-q", *sys.argv[1:]], plugins=[outcomes])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record = {
        "environment": describe_environment(device),
        "counts": Counter(outcome.split(":")[0] for outcome in outcomes.found.values()),
        "tests": outcomes.found,
    }
    if device == "cuda":
        RESULT.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    else:
        print(json.dumps({name: record[name] for name in ("environment", "counts")}))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
