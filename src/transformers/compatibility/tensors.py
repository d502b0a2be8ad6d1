"""Functions on nested tensors that prediction loops copied from 4.4.2 call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..trainer_pt_utils import nested_concat
from ..training.nested import map_nested

__all__ = [
    "distributed_broadcast_scalars",
    "is_tensor",
    "nested_expand_like",
    "nested_new_like",
    "numpy_pad_and_concatenate",
    "to_py_obj",
    "torch_pad_and_concatenate",
]

torch_pad_and_concatenate = numpy_pad_and_concatenate = nested_concat


def nested_new_like(arrays: Any, num_samples: int, padding_index: int = -100) -> Any:
    """Make nested arrays of the shapes given but with another number of rows, filled with ``padding_index``."""
    return map_nested(lambda array: np.full_like(array, padding_index, shape=(num_samples, *array.shape[1:])), arrays)


def nested_expand_like(arrays: Any, new_seq_length: int, padding_index: int = -100) -> Any:
    """Fill nested arrays up along their second axis, behind what they hold."""

    def expanded(array: Any) -> Any:
        wider = np.full_like(array, padding_index, shape=(array.shape[0], new_seq_length, *array.shape[2:]))
        wider[:, : array.shape[1]] = array
        return wider

    return map_nested(expanded, arrays)


def distributed_broadcast_scalars(scalars: Sequence[float], num_total_examples: int | None = None) -> Tensor:
    """Give the numbers of all processes in every process, in the order of the processes.

    Args:
        scalars: This process's numbers, as many in each.
        num_total_examples: Keep so many; all by default.
    """
    from accelerate import PartialState
    from accelerate.utils import gather

    joined: Tensor = gather(torch.tensor(scalars, device=PartialState().device))
    return joined[:num_total_examples]


def is_tensor(x: Any) -> bool:
    """Say whether something is a PyTorch tensor or a NumPy array."""
    return isinstance(x, Tensor | np.ndarray)


def to_py_obj(obj: Any) -> Any:
    """Turn tensors and arrays, in lists and dicts too, into lists of numbers."""
    if isinstance(obj, dict):
        return {name: to_py_obj(value) for name, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [to_py_obj(value) for value in obj]
    return obj.tolist() if is_tensor(obj) or isinstance(obj, np.generic) else obj
