"""Adafactor (Shazeer and Stern, 2018, https://arxiv.org/abs/1804.04235) with the switches that 4.4.2's has.

PyTorch's own always takes steps relative to the size of the weights: a thousandth of the learning rate for LoRA's B,
which starts at zero. Here that is a switch, and the Trainer leaves it off, as 4.4.2's does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .parameter_steps import ParameterOptimizer

__all__ = ["Adafactor"]


class Adafactor(ParameterOptimizer):
    """An optimizer that keeps one number a row and one a column of a matrix instead of one a weight.

    Args:
        params: Parameters or parameter groups; a group may override any of the following.
        lr: Learning rate; None with ``relative_step``.
        eps: Added to the squared gradient; and the smallest size of the weights that ``scale_parameter`` counts with.
        clip_threshold: The largest root mean square of an update, before the learning rate.
        decay_rate: The running mean of the squared gradient keeps ``1 - step ** decay_rate`` of its last value.
        beta1: Decay of a running mean of the updates; None for no such mean, which saves its memory.
        weight_decay: Decoupled weight decay.
        scale_parameter: Multiply the learning rate by the root mean square of the weights.
        relative_step: Take ``min(0.01, 1 / sqrt(step))`` for the learning rate.
        warmup_init: With ``relative_step``, rise to it by a millionth a step.

    Raises:
        ValueError: If both or none of ``lr`` and ``relative_step`` are given, or ``warmup_init`` without the latter.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        if relative_step is (lr is not None):
            raise ValueError(
                f"lr is {lr} and relative_step {relative_step}: give a learning rate or relative_step=True."
            )
        if warmup_init and not relative_step:
            raise ValueError("warmup_init=True is a matter of relative_step=True; without it use a schedule.")
        defaults = {
            "lr": lr,
            "eps": eps,
            "clip_threshold": clip_threshold,
            "decay_rate": decay_rate,
            "beta1": beta1,
            "weight_decay": weight_decay,
            "scale_parameter": scale_parameter,
            "relative_step": relative_step,
            "warmup_init": warmup_init,
        }
        super().__init__(params, defaults)

    def update_parameter(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Change one parameter; everything is computed in fp32 where the parameter is of lower precision."""
        gradient = gradient.to(torch.promote_types(parameter.dtype, torch.float32))
        weights = parameter.to(gradient.dtype)
        state = self.state[parameter]
        state["step"] = state.get("step", 0) + 1
        rate = _rate(group, state["step"], weights)
        keep = 1 - state["step"] ** group["decay_rate"]
        update = gradient * _inverse_root(state, gradient.square() + group["eps"][0], keep)
        update *= rate / (_size(update) / group["clip_threshold"]).clamp(min=1.0)
        if group["beta1"] is not None:
            update = _running(state, "exp_avg", update, group["beta1"])
        parameter.copy_(weights * (1 - rate * group["weight_decay"]) - update)


def _rate(group: dict[str, Any], step: int, weights: Tensor) -> float | Tensor:
    """Give the learning rate of one parameter; shape () where it is a tensor."""
    rate: float = group["lr"]
    if group["relative_step"]:
        rate = min(1e-6 * step if group["warmup_init"] else 1e-2, step**-0.5)
    return rate * _size(weights).clamp(min=group["eps"][1]) if group["scale_parameter"] else rate


def _inverse_root(state: dict[str, Any], square: Tensor, keep: float) -> Tensor:
    """Give one over the root of the running mean of squares, which of a matrix is kept by rows and columns.

    Args:
        state: Where the means are kept.
        square: The squared gradient.
        keep: How much of the old means stays.

    Returns:
        Numbers to multiply the gradient by, for a matrix the outer product of one a row and one a column.
    """
    if square.dim() < 2:
        return _running(state, "exp_avg_sq", square, keep).rsqrt()
    rows = _running(state, "exp_avg_sq_row", square.mean(dim=-1), keep)
    columns = _running(state, "exp_avg_sq_col", square.mean(dim=-2), keep)
    return (rows / rows.mean(dim=-1, keepdim=True)).rsqrt().unsqueeze(-1) * columns.rsqrt().unsqueeze(-2)


def _running(state: dict[str, Any], name: str, value: Tensor, keep: float) -> Tensor:
    """Move a running mean, zero at first, towards a value."""
    if name not in state:
        state[name] = torch.zeros_like(value)
    mean: Tensor = state[name]
    return mean.mul_(keep).add_(value, alpha=1 - keep)


def _size(values: Tensor) -> Tensor:
    """Give the root mean square. Shape: (), on the device: as a Python number it would make the host wait for it."""
    return values.square().mean().sqrt()
