"""Small helpers that scripts import by name: version checks and the logging controls."""

from __future__ import annotations

import importlib
from typing import Any

from packaging.version import Version

from . import logging
from .generic import ExplicitEnum, ModelOutput, PaddingStrategy, TensorType

__all__ = ["ExplicitEnum", "ModelOutput", "PaddingStrategy", "TensorType", "check_min_version", "logging"]


def check_min_version(min_version: str) -> None:
    """Stop a script that asks for a newer API than the one this package re-creates.

    Args:
        min_version: The Transformers version that the script was written for, such as ``"4.4.0"``.

    Raises:
        ImportError: If ``min_version`` is above 4.4.2, the version whose API is offered here.
    """
    from ..version import __version__

    if Version(min_version) > Version(__version__):
        raise ImportError(
            f"This script asks for transformers >= {min_version}, but this is {__version__}, which offers the API of "
            "4.4.2 for RoBERTa and DeBERTa-V2 with LoRA. Use the script's version for 4.4.2, or upstream Transformers."
        )


# What PEFT looks for here, by the module that has it.
_ELSEWHERE = {
    "PushToHubMixin": "peft_support",
    "http_user_agent": "peft_support",
    "cached_file": "hub",
}


def __getattr__(name: str) -> Any:
    """Import a name that lives elsewhere when it is first asked for."""
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'transformers.utils' has no attribute '{name}'")
    return getattr(importlib.import_module(f"transformers.{_ELSEWHERE[name]}"), name)
