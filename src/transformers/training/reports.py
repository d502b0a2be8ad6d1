"""Which reports there are beside the log, and which of them can be written with what is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

__all__ = [
    "get_available_reporting_integrations",
    "is_tensorboard_available",
    "is_wandb_available",
    "resolve_report_to",
]

REPORTS = ("tensorboard", "wandb")


def is_tensorboard_available() -> bool:
    """Say whether tensorboardX is installed."""
    return importlib.util.find_spec("tensorboardX") is not None


def is_wandb_available() -> bool:
    """Say whether wandb is installed."""
    return importlib.util.find_spec("wandb") is not None


def get_available_reporting_integrations() -> list[str]:
    """Name the reports that could be written with what is installed."""
    found = {"tensorboard": is_tensorboard_available(), "wandb": is_wandb_available()}
    return [name for name, available in found.items() if available]


def resolve_report_to(report_to: str | Iterable[str] | None) -> list[str]:
    """Turn ``--report_to`` into the list of reports.

    Args:
        report_to: ``none``, ``all``, or names; None means TensorBoard if tensorboardX is installed.

    Raises:
        ValueError: If a name is unknown.
    """
    if report_to is None:
        return ["tensorboard"] if is_tensorboard_available() else []
    names = [report_to] if isinstance(report_to, str) else list(report_to)
    if names in ([], ["none"]):
        return []
    if names == ["all"]:
        return get_available_reporting_integrations()
    for name in names:
        if name not in REPORTS:
            raise ValueError(f"report_to: '{name}' is unknown; choose none, all, or some of {', '.join(REPORTS)}.")
    return names
