"""Small helpers that scripts import by name: version checks and the logging controls."""

from __future__ import annotations

from packaging.version import Version

from . import logging
from .lazy_names import LazyNames


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


# `generic` imports torch, so it comes when it is asked for. PEFT looks for the others here, too.
_LAZY = LazyNames(
    globals(),
    {
        "generic": ("ExplicitEnum", "ModelOutput", "PaddingStrategy", "TensorType"),
        "hub": ("cached_file",),
        "hub_upload": ("PushToHubMixin",),
        ".compatibility.peft": ("http_user_agent",),
    },
)

__all__ = ["check_min_version", "logging", *_LAZY.public]

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
