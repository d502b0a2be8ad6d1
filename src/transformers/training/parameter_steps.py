"""The step of an optimizer that changes each parameter by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["ParameterOptimizer"]


class ParameterOptimizer(Optimizer):
    """An optimizer whose step is one rule, applied to every parameter that has a gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the parameters by one step.

        Args:
            closure: Computes the loss and its gradients anew.

        Returns:
            What the closure gave.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update_parameter(parameter, parameter.grad, group)
        return loss

    def update_parameter(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Change one parameter by one step.

        Args:
            parameter: The parameter.
            gradient: Its gradient. Shape: the parameter's.
            group: The settings of its parameter group.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule for a parameter.")
