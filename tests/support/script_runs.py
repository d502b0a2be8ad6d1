"""Running an example's script inside a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["LORA", "quietly", "read_json", "runner"]

LORA = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4"]


def quietly(batch_size: int) -> list[str]:
    """Give the flags of a small run on the CPU that shows nothing and reports nowhere."""
    size = ["--per_device_train_batch_size", str(batch_size)]
    return [*size, "--report_to", "none", "--disable_tqdm", "true", "--no_cuda"]


def runner(script: Any) -> Callable[..., int]:
    """Give what runs a script's ``main`` here with some words, and gives its exit code."""

    def run(*words: object) -> int:
        try:
            return int(script.main([str(word) for word in words]))
        except SystemExit as stop:
            return int(stop.code or 0)

    return run


def read_json(path: Path) -> Any:
    """Read a file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))
