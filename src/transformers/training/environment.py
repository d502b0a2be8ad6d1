"""Where a figure came from: versions, commit, device. Every reported number has this beside it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ..version import __version__

__all__ = ["describe_environment"]

_LIBRARIES = (
    "torch",
    "accelerate",
    "tokenizers",
    "datasets",
    "loralib",
    "safetensors",
    "scikit-learn",
    "scipy",
    "bitsandbytes",
)


def describe_environment(device: torch.device | str | None = None) -> dict[str, Any]:
    """Describe the machine and the software of this process, JSON-ready.

    Args:
        device: The device that was computed on; the CPU where None.

    Returns:
        ``versions`` by library, ``commit`` (None outside a checkout, with ``-dirty`` where files were changed),
        ``device``, ``threads``, ``python`` and ``platform``.
    """
    versions = {"transformers": __version__}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "versions": versions,
        "commit": _commit(),
        "device": _device_name(torch.device(device or "cpu")),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name() if device.type == "cpu" else device.type


def _cpu_name() -> str:
    """Give the processor's own name where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "cpu"


@cache
def _commit() -> str | None:
    """Give the commit of the checkout that this package is run from."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
