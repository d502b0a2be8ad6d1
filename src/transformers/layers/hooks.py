"""Whether a module may be computed without being called."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

__all__ = ["is_hooked"]


def is_hooked(module: nn.Module) -> bool:
    """Say whether somebody wants to see a module's calls, or has put another one in the place of its `forward`."""
    own = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(own) or _has_any_global_hook() or "forward" in vars(module)  # accelerate puts its own there
