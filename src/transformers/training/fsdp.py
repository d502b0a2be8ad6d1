"""``--fsdp``: every process holds a share of each parameter, of its gradient and of its optimizer state (FSDP2).

For full fine-tuning of models whose weights, gradients and optimizer state (16 bytes a value with AdamW in fp32) do
not fit one device. The parameters of a layer are put together just before it computes and let go after it
(``full_shard``), or kept until the backward pass is over (``shard_grad_op``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from .parallel import Parallel, Traffic, layers_of, whole_parameters
from .precision import Precision

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["FullyShardedParallel"]


class FullyShardedParallel(Parallel):
    """Several processes that share the model's parameters; see the module.

    Args:
        args: The arguments of the training.

    Raises:
        ValueError: If there is only one process.
    """

    def __init__(self, args: TrainingArguments) -> None:
        super().__init__(args)
        if args.world_size == 1:
            raise ValueError(
                f"fsdp '{args.fsdp}' shares the parameters among processes, but there is only one. Start several: "
                "torchrun --nproc_per_node=N …, or leave --fsdp out."
            )
        self._class: type[nn.Module] = nn.Module

    @property
    def casts_frozen_parameters(self) -> bool:
        """No: the parameters of a layer travel together, in one dtype."""
        return False

    def shard(self, model: nn.Module) -> None:
        """Leave each process its share of every parameter."""
        if isinstance(model, FSDPModule):  # by an earlier call of train
            return
        self._class = type(model)
        mesh = init_device_mesh(self.args.device.type, (self.args.world_size,))
        # Values are stored and averaged in fp32; bf16 is what the layers compute in and what travels.
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if self.args.bf16 else None, reduce_dtype=torch.float32
        )
        again = "full_shard" in self.args.fsdp.split()
        for layer in layers_of(model):
            fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=again)
        fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=again)

    def wrap(self, model: nn.Module, optimizer: Any, precision: Precision) -> tuple[nn.Module, Precision]:
        """See ``Parallel``: the model is its own wrapping, and casts by itself.

        Raises:
            ValueError: If the optimizer was built before the parameters were shared.
        """
        shares = {id(parameter) for parameter in model.parameters()}
        if any(id(parameter) not in shares for group in optimizer.param_groups for parameter in group["params"]):
            raise ValueError("fsdp: the optimizer must be built by the Trainer, from the parameters that it shares.")
        self.wrapped = model
        return model, precision.without_casts()

    def forward_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        """See ``Parallel``."""
        if isinstance(self.wrapped, FSDPModule):
            self.wrapped.set_requires_gradient_sync(last)
        return nullcontext()

    def clip(self, model: nn.Module, max_norm: float) -> Tensor:
        """See ``Parallel``; the norm is that of the whole gradients."""
        norm = super().clip(model, max_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def traffic(self, model: nn.Module) -> Traffic:
        """See ``Parallel``; parameters are put together for the forward pass and, if let go, for the backward pass."""
        width = 2 if self.args.bf16 else 4
        times = 2 if "full_shard" in self.args.fsdp.split() else 1
        values = sum(parameter.numel() for parameter in model.parameters())
        passes = self.args.gradient_accumulation_steps
        return Traffic(super().traffic(model).gradients, values * width * times * passes)

    @contextmanager
    def whole_model(self, model: nn.Module, *, change: bool = False) -> Iterator[None]:
        """See ``Parallel``; the values are put together on the CPU, parameter by parameter."""
        if not isinstance(model, FSDPModule):
            yield
            return
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
        keep = change or self.args.process_index == 0
        shares = {name: p for name, p in model.named_parameters() if isinstance(p, DTensor)}
        values = {}
        for name, share in shares.items():
            whole = share.full_tensor().detach()  # by all processes, whoever keeps it
            if keep:
                values[name] = whole.cpu().clone()  # without what fills the shares up to equal sizes
        with whole_parameters(model, values), self._own_class(model):
            yield
        if change:
            with torch.no_grad():
                for name, share in shares.items():
                    share.copy_(_share_of(values[name], share))

    @contextmanager
    def _own_class(self, model: nn.Module) -> Iterator[None]:
        """Let the model be of the class that it was before: its name is written into the configuration."""
        other = type(model)
        model.__class__ = self._class
        try:
            yield
        finally:
            model.__class__ = other

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """See ``Parallel``."""
        state: dict[str, Any] = optimizer.state_dict()
        whole = {
            number: {name: _whole(value) for name, value in entry.items()} for number, entry in state["state"].items()
        }
        return {**state, "state": whole}

    def load_optimizer_state(self, optimizer: Any, state: dict[str, Any]) -> None:
        """See ``Parallel``."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        shared = {}
        for number, entry in state["state"].items():
            like = parameters[int(number)]
            shared[number] = {
                name: _share_of(value, like) if isinstance(value, Tensor) and value.shape == like.shape else value
                for name, value in entry.items()
            }
        super().load_optimizer_state(optimizer, {**state, "state": shared})


def _whole(value: Any) -> Any:
    """Put a shared tensor together, on the CPU."""
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _share_of(whole: Tensor, like: DTensor) -> DTensor:
    """Cut this process's share out of a whole tensor, as that of another tensor is."""
    whole = whole.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
