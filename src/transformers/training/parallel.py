"""How the processes of a training share the work: ``Parallel`` is what the Trainer asks, in one process or several.

- Here: one process, or several that each hold the whole model and average their gradients (DistributedDataParallel).
- ``training.fsdp``: every process holds a share of each parameter (``--fsdp``).
- ``training.deepspeed``: DeepSpeed's engine shares gradients, optimizer state or parameters (``--deepspeed``).

Whatever the way, a checkpoint is the one that a single process would write, and any of them can go on from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..layers.quantized import quantized_layers
from .precision import Precision

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["Parallel", "Traffic", "layers_of", "whole_parameters", "whole_size"]


@dataclass(frozen=True)
class Traffic:
    """What a process sends for one optimizer step, whatever way the bytes then take through the network.

    Attributes:
        gradients: Bytes of the gradients that are averaged.
        parameters: Bytes of the parameters that other processes hold and this one asks for.
    """

    gradients: int
    parameters: int = 0

    def __str__(self) -> str:
        text = f"{self.gradients:,} bytes of gradients"
        return f"{text} and {self.parameters:,} bytes of parameters" if self.parameters else text


class Parallel:
    """One process, or several with a whole model each.

    Args:
        args: The arguments of the training.
    """

    def __init__(self, args: TrainingArguments) -> None:
        self.args = args
        self.wrapped: nn.Module | None = None

    @property
    def casts_frozen_parameters(self) -> bool:
        """Whether frozen parameters may be stored in another dtype than the trained ones."""
        return True

    @property
    def may_run_ahead(self) -> bool:
        """Whether a step of this process is begun without knowing how the last one ended."""
        return self.args.world_size == 1

    @property
    def engine(self) -> Any:
        """DeepSpeed's engine, if it is in use."""
        return None

    def shard(self, model: nn.Module) -> None:
        """Split the model among the processes where that is to be done before the optimizer is built."""

    def wrap(self, model: nn.Module, optimizer: Any, precision: Precision) -> tuple[nn.Module, Precision]:
        """Connect the processes.

        Args:
            model: The model, on its device.
            optimizer: The optimizer of its parameters.
            precision: The precision of the run.

        Returns:
            What the training calls in the model's place, and the precision to call it in.
        """
        self.wrapped = model
        if self.args.world_size > 1:
            device = self.args.device
            self.wrapped = DistributedDataParallel(
                model,
                device_ids=[device] if device.type == "cuda" else None,
                find_unused_parameters=bool(self.args.ddp_find_unused_parameters),
                forward_sync_buffers=_has_statistics(model),
            )
        return self.wrapped, precision

    def unwrap(self) -> None:
        """Let the connections of a training go that is over."""
        self.wrapped = None

    def forward_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        """Give the context of a forward and backward pass; only the last one of a step exchanges gradients."""
        if last or not isinstance(self.wrapped, DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss, and add them to those of the step."""
        loss.backward()

    def clip(self, model: nn.Module, max_norm: float) -> Tensor:
        """Scale the gradients down to ``max_norm`` (0: not at all) and give the norm that they had."""
        trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
        if max_norm > 0:
            return torch.nn.utils.clip_grad_norm_(trained, max_norm)
        return torch.nn.utils.get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])

    def step(self, optimizer: Any, scaler: torch.amp.GradScaler) -> bool:
        """Update the weights; say whether they were (fp16 skips a step that overflowed)."""
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        return scaler.get_scale() >= scale

    def clear_gradients(self, optimizer: Any) -> None:
        """Forget the gradients of a step that is done."""
        optimizer.zero_grad(set_to_none=True)

    def may_scale_less(self, scaler: torch.amp.GradScaler) -> bool:
        """Say whether an overflow can be met with a smaller scale of the loss."""
        return scaler.is_enabled() and scaler.get_scale() > 1

    def traffic(self, model: nn.Module) -> Traffic:
        """Say what one step sends: the gradients of the trained parameters, and nothing of the frozen ones."""
        return Traffic(sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad))

    @contextmanager
    def whole_model(self, model: nn.Module, *, change: bool = False) -> Iterator[None]:
        """Let the model hold all of its values; all processes must enter.

        Args:
            model: The model.
            change: Values that are written inside are kept, on every process. Otherwise only the main process is
                sure to see them all.
        """
        yield

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Give the optimizer's whole state, as one process would have it; all processes must call."""
        state: dict[str, Any] = optimizer.state_dict()
        return state

    def load_optimizer_state(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Put back what ``optimizer_state`` gave, here or under another way of sharing the work.

        How the update is computed (by a fused kernel, on a GPU) is this run's matter, not the checkpoint's.
        """
        optimizer.load_state_dict({**state, "param_groups": _as_computed_here(optimizer, state["param_groups"])})


def _as_computed_here(optimizer: Any, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give saved groups of parameters with an optimizer's own choice of the kernels that update them."""
    if len(groups) != len(optimizer.param_groups):
        return groups  # which the optimizer refuses, in words
    kernels = [{name: own[name] for name in ("fused", "foreach") if name in own} for own in optimizer.param_groups]
    return [{**saved, **own} for saved, own in zip(groups, kernels, strict=True)]


def _has_statistics(model: nn.Module) -> bool:
    """Say whether a model has buffers that training changes; the scales of weights of few bits stay as they are."""
    scales = {id(buffer) for _, layer in quantized_layers(model) for buffer in layer.buffers()}
    return any(buffer.is_floating_point() and id(buffer) not in scales for buffer in model.buffers())


def whole_size(parameter: Tensor) -> int:
    """Count the values of a parameter, also of one that ZeRO-3 has taken apart."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Give the layers of a model, the units in which its parameters are shared: the items of its lists of modules."""
    found: list[nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else layers_of(child)
    return found


@contextmanager
def whole_parameters(model: nn.Module, values: dict[str, Tensor]) -> Iterator[None]:
    """Let other tensors stand in for a model's parameters.

    Args:
        model: The model.
        values: What stands in, by the parameters' names; a tied parameter needs one of its names only.
    """
    own = dict(model.named_parameters())
    others = {id(own[name]): nn.Parameter(value, own[name].requires_grad) for name, value in values.items()}
    places = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and id(parameter) in others
    ]
    try:
        for module, name, parameter in places:
            module._parameters[name] = others[id(parameter)]
        yield
    finally:
        for module, name, parameter in places:
            module._parameters[name] = parameter
