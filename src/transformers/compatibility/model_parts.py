"""Functions that models copied from 4.4.2 import from ``transformers.modeling_utils``."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

__all__ = [
    "apply_chunking_to_forward",
    "find_pruneable_heads_and_indices",
    "get_parameter_device",
    "get_parameter_dtype",
    "prune_layer",
    "prune_linear_layer",
]


def get_parameter_device(parameter: nn.Module) -> torch.device:
    """Give the device of a module's first parameter."""
    return next(parameter.parameters()).device


def get_parameter_dtype(parameter: nn.Module) -> torch.dtype:
    """Give the dtype of a module's first parameter."""
    return next(parameter.parameters()).dtype


def apply_chunking_to_forward(
    forward_fn: Callable[..., Tensor], chunk_size: int, chunk_dim: int, *input_tensors: Tensor
) -> Tensor:
    """Compute a function in pieces along one axis, which takes less memory.

    Args:
        forward_fn: Works on each position of that axis by itself.
        chunk_size: Positions in a piece; 0 for all at once.
        chunk_dim: The axis.
        *input_tensors: Its arguments, of one size along the axis.

    Raises:
        ValueError: If the size is no multiple of ``chunk_size``, or the arguments differ in it.
    """
    if chunk_size <= 0:
        return forward_fn(*input_tensors)
    sizes = {tensor.shape[chunk_dim] for tensor in input_tensors}
    if len(sizes) != 1 or min(sizes) % chunk_size:
        raise ValueError(
            f"Axis {chunk_dim} has {sorted(sizes)} positions; one number, a multiple of chunk_size {chunk_size}, was "
            "expected."
        )
    pieces = zip(*(tensor.split(chunk_size, dim=chunk_dim) for tensor in input_tensors), strict=True)
    return torch.cat([forward_fn(*piece) for piece in pieces], dim=chunk_dim)


def find_pruneable_heads_and_indices(
    heads: Collection[int], n_heads: int, head_size: int, already_pruned_heads: set[int]
) -> tuple[set[int], Tensor]:
    """Find what remains of an attention's width without some heads.

    Args:
        heads: The heads to take out, as they were numbered at first.
        n_heads: Heads that are left now.
        head_size: Width of a head.
        already_pruned_heads: Those taken out before.

    Returns:
        The heads that are still to be taken out, and the positions to keep, (kept heads * ``head_size``).
    """
    new = set(heads) - already_pruned_heads
    gone = {head - sum(earlier < head for earlier in already_pruned_heads) for head in new}
    kept = [head for head in range(n_heads) if head not in gone]
    positions = torch.arange(n_heads * head_size).view(n_heads, head_size)[kept].reshape(-1)
    return new, positions


def prune_linear_layer(layer: nn.Linear, index: Tensor, dim: int = 0) -> nn.Linear:
    """Give a layer with some of its rows (outputs) or columns (inputs) alone.

    Args:
        layer: The layer; it stays as it is.
        index: What to keep.
        dim: 0 for outputs, 1 for inputs.

    Raises:
        TypeError: If it is a LoRA layer: what its matrices mean would change.
    """
    if type(layer) is not nn.Linear:
        raise TypeError(
            f"A {type(layer).__name__} cannot be pruned; a plain nn.Linear was expected (merge LoRA first)."
        )
    index = index.to(layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index).contiguous()
    pruned = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None).to(weight)
    pruned.requires_grad_(layer.weight.requires_grad)
    with torch.no_grad():
        pruned.weight.copy_(weight)
        if layer.bias is not None:
            pruned.bias.copy_(layer.bias if dim == 1 else layer.bias[index])
    return pruned


prune_layer = prune_linear_layer
