"""To an accelerator without a wait, and what the program must know of a batch that is there already.

The program runs ahead of an accelerator, which so has always something to do. It must not wait: not for a copy to the
device, which is asked for so, and not to learn what it knew before. What is sent by `send` is remembered, and `on_cpu`
gives that instead of a copy back, for which everything before it would have to be computed first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["change_both", "on_cpu", "send", "send_together"]


@dataclass(frozen=True)
class _Sent:
    """What a tensor on a device was made of, while neither has been changed.

    Attributes:
        source: The tensor on the CPU.
        versions: How often that one, and the one on the device, had been written into.
    """

    source: Tensor
    versions: tuple[int, int]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor to a device without waiting; `on_cpu` knows its values from then on.

    Args:
        tensor: Anything. From ordinary memory of the CPU (not pinned) the copy may wait all the same. Shape: (…).
        device: Where it goes.

    Returns:
        The tensor there, or the same one if it is there already. Shape: (…).
    """
    sent = tensor.to(device, non_blocking=True)
    if tensor.device.type == "cpu" and sent.device.type != "cpu":
        _remember(sent, tensor)
    return sent


def on_cpu(tensor: Tensor) -> Tensor:
    """Give a tensor's values on the CPU; this waits for the device unless it was sent from here. Shape: (…) to (…)."""
    if tensor.device.type == "cpu":
        return tensor
    source = _source_of(tensor)
    return tensor.cpu() if source is None else source


def change_both(change: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Change a tensor, and what is known of it on the CPU likewise.

    Args:
        change: What is done to it, such as to take another shape.
        tensor: Shape: (…).

    Returns:
        What ``change`` made of it.
    """
    changed = change(tensor)
    source = _source_of(tensor)
    if source is not None:
        _remember(changed, change(source))
    return changed


def send_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Bring small tensors of one dtype from the CPU to a device, in one copy that nothing waits for.

    Args:
        tensors: On the CPU, at least one.
        device: Where they go.

    Returns:
        The same tensors there; those that were given if it is the CPU.
    """
    if device.type == "cpu":
        return list(tensors)
    together = torch.cat([tensor.flatten() for tensor in tensors])
    if device.type == "cuda" and torch.cuda.is_available():
        together = together.pin_memory()  # kept by PyTorch until the copy is made
    parts = together.to(device, non_blocking=True).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _remember(sent: Tensor, source: Tensor) -> None:
    if not (sent.is_inference() or source.is_inference()):  # these do not count how often they are written into
        sent._sent = _Sent(source.detach(), (source._version, sent._version))  # type: ignore[attr-defined]


def _source_of(tensor: Tensor) -> Tensor | None:
    """Give what a tensor was sent from, if that still has its values."""
    sent: _Sent | None = getattr(tensor, "_sent", None)
    return sent.source if sent is not None and sent.versions == (sent.source._version, tensor._version) else None
