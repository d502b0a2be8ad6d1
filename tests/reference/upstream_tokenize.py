"""Runs upstream's AutoTokenizer: reads jobs from a JSON file, writes results to another.

A job has a folder, settings, calls (keyword arguments), rows of ids to decode, and a folder to save to or null.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer


def call(tokenizer: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(tokenizer(**arguments))
    except Exception as error:  # the caller compares that both sides refuse
        return {"error": f"{type(error).__name__}: {error}"}


def run(job: dict[str, Any]) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(job["folder"], **job["settings"])
    if job["save_to"]:
        tokenizer.save_pretrained(job["save_to"])
    return {
        "calls": [call(tokenizer, arguments) for arguments in job["calls"]],
        "decoded": [
            [tokenizer.decode(row, skip_special_tokens=skip) for row in job["decode"]] for skip in (False, True)
        ],
        "length": len(tokenizer),
        "special_ids": sorted(tokenizer.all_special_ids),
        "model_max_length": tokenizer.model_max_length,
    }


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps([run(job) for job in jobs]), encoding="utf-8")
