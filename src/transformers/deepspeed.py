"""What accelerate and older scripts import from here: the DeepSpeed configuration that is in use.

The Trainer runs DeepSpeed's engine itself (``training.deepspeed``). These names serve ``accelerate``'s own DeepSpeed
support, in scripts that have their own loop: it announces its configuration, so that models could be loaded in parts.
Here models are always loaded whole.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from .training.deepspeed_config import read_config

__all__ = [
    "HfDeepSpeedConfig",
    "HfTrainerDeepSpeedConfig",
    "deepspeed_config",
    "is_deepspeed_zero3_enabled",
    "unset_hf_deepspeed_config",
]

_in_use: weakref.ReferenceType[HfDeepSpeedConfig] | None = None


class HfDeepSpeedConfig:
    """A DeepSpeed configuration, in use for as long as somebody keeps this object.

    Args:
        config_file_or_dict: A JSON file, or what it would hold.

    Raises:
        ValueError: If there is no such file, or it holds no JSON object.
    """

    def __init__(self, config_file_or_dict: str | Mapping[str, Any]) -> None:
        global _in_use
        self.config = read_config(config_file_or_dict)
        _in_use = weakref.ref(self)

    def get_value(self, ds_key_long: str, default: Any = None) -> Any:
        """Give an entry by its path, such as ``zero_optimization.stage``."""
        value: Any = self.config
        for name in ds_key_long.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return default if value is None else value

    def is_zero2(self) -> bool:
        """Say whether gradients are shared."""
        return bool(self.get_value("zero_optimization.stage") == 2)

    def is_zero3(self) -> bool:
        """Say whether parameters are shared."""
        return bool(self.get_value("zero_optimization.stage") == 3)


HfTrainerDeepSpeedConfig = HfDeepSpeedConfig


def unset_hf_deepspeed_config() -> None:
    """Forget the configuration."""
    global _in_use
    _in_use = None


def deepspeed_config() -> dict[str, Any] | None:
    """Give the configuration in use; None if there is none."""
    found = None if _in_use is None else _in_use()
    return None if found is None else found.config


def is_deepspeed_zero3_enabled() -> bool:
    """Say whether a configuration that shares parameters is in use."""
    found = None if _in_use is None else _in_use()
    return found is not None and found.is_zero3()
