"""Runs `pipeline` of the Transformers that is installed: reads jobs from a JSON file, writes answers to another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from transformers import pipeline


def plain(value: Any) -> Any:
    """Make JSON of an answer, NumPy's and PyTorch's numbers included."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def run(jobs: list[dict[str, Any]]) -> list[Any]:
    """Answer each job's calls: inputs and choices."""
    answers = []
    for job in jobs:
        answer = pipeline(job["task"], model=job["folder"], device=-1)
        answers.append([plain(answer(inputs, **choices)) for inputs, choices in job["calls"]])
    return answers


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(run(cases)), encoding="utf-8")
