"""This package's own form of what a run trained, for what PEFT's cannot hold: bottleneck adapters, biases alone.

A folder of ``trained_model.safetensors`` (under the model's own names) and ``trained_model.json``, which says what
``lora_metadata.json`` says of LoRA, and the choices of `transformers.methods.trainable` as ``methods``.
"""

from __future__ import annotations

from typing import Any

from ..configuration_utils import PretrainedConfig
from ..utils.json_files import load_json
from .metadata import check_metadata
from .shapes import PART_METADATA

__all__ = ["PART_METADATA_NAME", "PART_WEIGHTS_NAME", "methods_of", "peft_holds", "read_part_metadata"]

PART_WEIGHTS_NAME = "trained_model.safetensors"
PART_METADATA_NAME = "trained_model.json"

_METHODS = ("apply_lora", "apply_adapter", "adapter_type", "adapter_size", "apply_bitfit")


def peft_holds(config: PretrainedConfig) -> bool:
    """Say whether PEFT's form can hold what a configuration trains: LoRA, and biases beside it."""
    return config.apply_lora and not config.apply_adapter


def methods_of(config: PretrainedConfig) -> dict[str, Any]:
    """Give the fields that say what is trained."""
    return {name: getattr(config, name) for name in _METHODS}


def read_part_metadata(path: Any) -> dict[str, Any]:
    """Read ``trained_model.json`` and check the fields that loading relies on.

    Args:
        path: The file.

    Returns:
        Its content, with whole numbers as keys of ``id2label``.

    Raises:
        ValueError: If it is not a JSON object, of a newer format, or a field is missing or of a wrong type.
    """
    return check_metadata(load_json(path), path, PART_METADATA)
