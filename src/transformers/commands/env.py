"""``transformers-cli env``: what a report of a fault should say about the machine and its software."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from ..training.environment import describe_environment

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Add ``env`` to the command line."""
    parser = commands.add_parser("env", help="print versions, device and platform, for a report of a fault")
    parser.set_defaults(run=run_env)


def run_env(options: argparse.Namespace) -> int:
    """Print one line for each fact, to be copied."""
    described = describe_environment("cuda" if torch.cuda.is_available() else "cpu")
    facts = {**{f"{name} version": version for name, version in described.pop("versions").items()}, **described}
    for name, value in facts.items():
        print(f"- {name}: {value}")
    return 0
