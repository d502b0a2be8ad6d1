"""What PEFT's form leaves out of an adapter: ``lora_metadata.json``, and the hashes in it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..configuration.lora_options import LORA_OPTIONS
from ..configuration.quantization import BitsAndBytesConfig
from ..configuration_utils import PretrainedConfig
from ..utils import logging
from ..utils.json_files import load_json
from ..utils.shapes import Record
from ..version import __version__
from .interface import AdaptableModel
from .shapes import LORA_METADATA

__all__ = [
    "FORMAT_VERSION",
    "adapter_metadata",
    "check_metadata",
    "file_sha256",
    "hash_tokenizer",
    "library_versions",
    "read_metadata",
]

logger = logging.get_logger(__name__)

FORMAT_VERSION = 1
_LIBRARIES = ("torch", "loralib", "tokenizers", "safetensors", "accelerate", "datasets", "bitsandbytes")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Give the sha256 of a file in hexadecimal.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tokenizer(tokenizer: Any) -> str:
    """Give the sha256 of a tokenizer's whole definition: vocabulary, merges, normalisation, special tokens."""
    definition: str = tokenizer.backend_tokenizer.to_str()
    return hashlib.sha256(definition.encode()).hexdigest()


def adapter_metadata(
    model: AdaptableModel,
    config: PretrainedConfig,
    *,
    base: str,
    weights: Path,
    trained: list[str],
    tokenizer: Any = None,
    training_args: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the content of ``lora_metadata.json``.

    Args:
        model: The LoRA model, or another one whose base is frozen.
        config: The configuration that it is saved under.
        base: Path or hub id of its base.
        weights: The written tensors.
        trained: Names of the parameters in it.
        tokenizer: The tokenizer of the run, where there is one.
        training_args: The run's arguments, JSON-ready.
    """
    return {
        "format_version": FORMAT_VERSION,
        "base_model_name_or_path": base,
        "base_sha256": model.base_sha256(),
        "quantization": None if model.quantization is None else model.quantization.to_dict(),
        "other_bases": [dict(base) for base in model.adapter_state.other_bases],
        "architecture": type(model).__name__,
        "model_type": config.model_type,
        "lora_r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "lora_scaling": config.lora_scaling if config.apply_lora else None,
        "lora_dropout": config.lora_dropout,
        "lora_targets": list(config.lora_targets),
        "lora_initialization": config.lora_initialization,
        "lora_options": {name: getattr(config, name) for name in LORA_OPTIONS},
        "lora_position_query": getattr(config, "lora_position_query", None),
        "num_labels": config.num_labels,
        "id2label": {str(index): name for index, name in config.id2label.items()},
        "label2id": dict(config.label2id),
        "problem_type": config.problem_type,
        "finetuning_task": config.finetuning_task,
        "parameters": sorted(trained),
        "weights_sha256": file_sha256(weights),
        "tokenizer": None if tokenizer is None else _describe_tokenizer(tokenizer),
        "versions": {"transformers": __version__, **library_versions()},
        "training_args": None if training_args is None else dict(training_args),
    }


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``lora_metadata.json`` and check the fields that loading relies on.

    Args:
        path: The file.

    Returns:
        Its content, with whole numbers as keys of ``id2label``.

    Raises:
        ValueError: If it is not a JSON object, of a newer format, or a field is missing or of a wrong type.
    """
    return check_metadata(load_json(path), path)


def check_metadata(
    content: dict[str, Any], path: str | os.PathLike[str], shape: Record = LORA_METADATA
) -> dict[str, Any]:
    """Check the fields of a metadata file that loading relies on.

    Args:
        content: The file's content.
        path: The file, for messages.
        shape: What the file must be.

    Returns:
        The content, with whole numbers as keys of ``id2label``, and ``quantization`` as a configuration or None.

    Raises:
        ValueError: If it is of another format, or a field is missing or of a wrong type.
    """
    if content.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"'{path}': format_version is {content.get('format_version')!r}; this package reads {FORMAT_VERSION}."
        )
    shape.check(content, f"'{path}'")
    labels = content["id2label"]
    numbers = sorted(int(key) for key in labels if key.isdecimal() and str(int(key)) == key)
    named = all(isinstance(name, str) for name in labels.values())
    if not labels or numbers != list(range(len(labels))) or not named:
        raise ValueError(f"'{path}': id2label is {labels!r}; a name for each class id from 0 on was expected.")
    id2label = {number: labels[str(number)] for number in numbers}
    label2id = content.get("label2id", {name: number for number, name in id2label.items()})
    others, options = content.get("other_bases", []), content.get("lora_options", {})
    if not set(options) <= set(LORA_OPTIONS):
        raise ValueError(f"'{path}': lora_options is {options!r}; the fields {', '.join(LORA_OPTIONS)} were expected.")
    checked = {"id2label": id2label, "label2id": label2id, "other_bases": others, "lora_options": options}
    return {**content, **checked, "quantization": _quantization(content, path)}


def _quantization(content: Mapping[str, Any], path: str | os.PathLike[str]) -> BitsAndBytesConfig | None:
    """Read how the base was kept; in full precision where an earlier version says nothing."""
    fields = content.get("quantization")
    try:
        return None if fields is None else BitsAndBytesConfig.from_dict(fields)
    except ValueError as error:
        raise ValueError(f"'{path}': quantization: {error}") from error


def _describe_tokenizer(tokenizer: Any) -> dict[str, Any]:
    return {
        "name_or_path": str(getattr(tokenizer, "name_or_path", "")),
        "class": type(tokenizer).__name__,
        "max_length": getattr(tokenizer, "model_max_length", None),
        "sha256": hash_tokenizer(tokenizer) if hasattr(tokenizer, "backend_tokenizer") else None,
    }


def library_versions() -> dict[str, str]:
    """Give the versions of the libraries that a saved model depends on, those that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            logger.debug("%s is not installed, so the adapter's metadata does not name its version.", name)
    return found
