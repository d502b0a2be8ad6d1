"""Losses and gradient norms of steps, which stay on an accelerator until somebody wants to know them.

Reading a number means waiting until all that comes before it is computed; meanwhile nothing is prepared, and then the
device waits in turn. So they are read together, when a log, an evaluation or a checkpoint is due.

What is not finite must not reach the weights, though nobody has looked yet: PyTorch's fused optimizers leave out an
update where ``found_inf`` is 1, on the device itself (it is what ``torch.amp.GradScaler`` tells them). From the first
such step on it is 1, so that the weights are still those from before that step when it is read.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .state import TrainerState

__all__ = ["MOST_UNREAD", "Step", "UnreadSteps", "leaves_out_updates"]

MOST_UNREAD = 100
"""So many steps are made at most before they are read: what is not finite should not go unnoticed for hours."""


@dataclass(frozen=True)
class Step:
    """A step that was computed.

    Attributes:
        state: The state of the run before it.
        learning_rate: The rate that it was made with.
        loss: Its loss.
        gradient_norm: The norm of its gradient, before clipping.
    """

    state: TrainerState
    learning_rate: float
    loss: float
    gradient_norm: float

    @property
    def is_finite(self) -> bool:
        """Whether both are numbers, and not infinite."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


def leaves_out_updates(optimizer: Any) -> bool:
    """Say whether an optimizer leaves out an update by ``found_inf``, without being told from here: fused ones do."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))  # as GradScaler asks


class UnreadSteps:
    """The steps since the last reading, in their order."""

    def __init__(self) -> None:
        self._steps: list[tuple[TrainerState, float, Tensor]] = []
        self._broken: Tensor | None = None

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, state: TrainerState, learning_rate: float, values: Tensor) -> None:
        """Add a step.

        Args:
            state: The state before it; copied.
            learning_rate: Its rate.
            values: Its loss and its gradient's norm, on the device. Shape: (2,).
        """
        self._steps.append((copy.copy(state), learning_rate, values))
        broken = (~torch.isfinite(values)).any().float()
        self._broken = broken if self._broken is None else torch.maximum(self._broken, broken)

    @contextmanager
    def guarding(self, optimizer: Any) -> Iterator[None]:
        """Let an optimizer of `leaves_out_updates` leave out what comes with or after a step that is not finite."""
        optimizer.found_inf = self._broken
        try:
            yield
        finally:
            del optimizer.found_inf

    def read(self) -> list[Step]:
        """Wait for the steps, give them, and forget them."""
        if not self._steps:
            return []
        steps, self._steps, self._broken = self._steps, [], None
        values = torch.stack([each for _, _, each in steps]).tolist()
        return [Step(state, rate, *pair) for (state, rate, _), pair in zip(steps, values, strict=True)]
