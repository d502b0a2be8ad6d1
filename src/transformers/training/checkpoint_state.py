"""The state of optimizers, schedules and random generators as safetensors and JSON: nothing that can run code.

A state is a tree of dicts, lists, tuples, numbers and text with tensors in it. The tensors go into
``<name>.safetensors``, everything else into ``<name>.json``, where each tensor leaves the key under which it lies.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..modeling.weights import write_tensors
from ..utils import logging
from ..utils.json_files import read_json
from ..utils.shapes import Anything, ListOf, Shape, shown
from ..utils.writing import write_text
from .shapes import LARGEST_STATE

__all__ = ["capture_rng_state", "load_tree", "restore_rng_state", "save_tree"]

_TENSOR, _TUPLE, _PAIRS = "__tensor__", "__tuple__", "__pairs__"

_ITEMS = ListOf(Anything())
_ENTRIES = ListOf(ListOf(Anything(), least=2, most=2))

logger = logging.get_logger(__name__)


def save_tree(tree: Any, folder: str | Path, name: str) -> None:
    """Write a state as ``<name>.json`` and, if it holds tensors, ``<name>.safetensors``.

    Args:
        tree: Nested dicts (with keys that JSON takes as values), lists, tuples, None, bools, numbers, text, tensors
            of any dtype and device, and NumPy arrays.
        folder: An existing folder.
        name: Stem of the files.

    Raises:
        TypeError: If the tree holds anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_encode(tree, tensors, ""), indent=1)
    write_text(Path(folder, f"{name}.json"), text + "\n")
    if tensors:
        write_tensors(_each_by_itself(tensors), Path(folder, f"{name}.safetensors"))


def _each_by_itself(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Part tensors that are one and the same, such as a table that all parameters share: a file holds no sharing."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return apart


def load_tree(folder: str | Path, name: str, shape: Shape | None = None) -> Any:
    """Read what ``save_tree`` wrote: the same tree, bit by bit, its tensors on the CPU.

    Args:
        folder: The folder.
        name: Stem of the files.
        shape: What the tree must be.

    Raises:
        OSError: If a file is missing.
        ValueError: If a file is damaged, or holds something else; the message names file and place.
    """
    path = Path(folder, f"{name}.json")
    encoded = read_json(path, largest=LARGEST_STATE, allow_nan=True)
    tensors = Path(folder, f"{name}.safetensors")
    tree = _decode(encoded, _read_tensors(tensors) if tensors.is_file() else {}, f"'{path}'")
    if shape is not None:
        shape.check(tree, f"'{path}'")
    return tree


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"'{path}' is not a whole safetensors file ({error}).") from error


def capture_rng_state(device: torch.device) -> dict[str, Any]:
    """Give the states of Python's, NumPy's and PyTorch's generators in this process, as a tree for ``save_tree``."""
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators of this process back to where ``capture_rng_state`` found them.

    Raises:
        ValueError: If the state is none that they can have.
    """
    try:
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"The checkpoint's state of random numbers is damaged: {error}") from error
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif (device.type == "cuda") is not ("cuda" in state):
        logger.warning("The checkpoint comes from another kind of device: dropout goes on with other random numbers.")


def _encode(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _encode(torch.from_numpy(value), tensors, path)
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous()
        return {_TENSOR: path}
    if isinstance(value, list | tuple):
        items = [_encode(item, tensors, f"{path}.{number}") for number, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        encoded = {key: _encode(item, tensors, f"{path}.{key}") for key, item in value.items()}
        plain = all(isinstance(key, str) and key not in (_TENSOR, _TUPLE, _PAIRS) for key in value)
        return encoded if plain else {_PAIRS: [[key, item] for key, item in encoded.items()]}
    raise TypeError(f"A {type(value).__name__} (at '{path.lstrip('.')}') cannot be part of a checkpoint.")


def _decode(value: Any, tensors: dict[str, torch.Tensor], place: str) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors, place) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        name = value[_TENSOR]
        if not isinstance(name, str) or name not in tensors:
            raise ValueError(f"{place} speaks of the tensor {shown(name)}, which the file of tensors beside it lacks.")
        return tensors[name]
    if _TUPLE in value:
        _ITEMS.check(value[_TUPLE], f"{place}: {_TUPLE}")
        return tuple(_decode(item, tensors, place) for item in value[_TUPLE])
    if _PAIRS in value:
        _ENTRIES.check(value[_PAIRS], f"{place}: {_PAIRS}")
        return {_key(key, place): _decode(item, tensors, place) for key, item in value[_PAIRS]}
    return {key: _decode(item, tensors, place) for key, item in value.items()}


def _key(key: Any, place: str) -> Any:
    if isinstance(key, dict | list):
        raise ValueError(f"{place} has the key {shown(key)}; a number or a text was expected.")
    return key
