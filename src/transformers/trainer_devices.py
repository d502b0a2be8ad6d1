"""Which device a process computes on and which processes train together, as ``accelerate`` finds them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

__all__ = ["build_accelerator", "process_state"]


def process_state(no_cuda: bool = False) -> PartialState:
    """Give the state of this process, joining the launcher's processes at the first call.

    Args:
        no_cuda: Stay on the CPU.

    Raises:
        RuntimeError: If the launcher started more processes than have found each other.
    """
    from accelerate import PartialState
    from accelerate.state import AcceleratorState

    cpu = _on_cpu(no_cuda)
    state = PartialState(cpu=cpu)
    if state.num_processes == 1 and (state.device.type == "cpu") is not cpu:
        # accelerate keeps the first choice for the whole process; a later run may have another.
        AcceleratorState._reset_state(reset_partial_state=True)
        state = PartialState(cpu=cpu)
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if state.num_processes != launched:
        raise RuntimeError(
            f"The launcher started {launched} processes, but {state.num_processes} found each other: they would train "
            "separate models. Check MASTER_ADDR, MASTER_PORT, RANK and LOCAL_RANK, or start without a launcher."
        )
    return state


def build_accelerator(no_cuda: bool = False, find_unused_parameters: bool | None = None) -> Accelerator:
    """Build the ``Accelerator`` of a Trainer: devices, wrapping of the model, gathering.

    It is told of no mixed precision: accelerate would patch the model's ``forward`` for good and keep one precision
    for the whole process. ``trainer_precision`` does that part with PyTorch's own means.

    Args:
        no_cuda: Stay on the CPU.
        find_unused_parameters: Passed to DistributedDataParallel.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    process_state(no_cuda)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != "no":
        AcceleratorState._reset_state()
    ddp = DistributedDataParallelKwargs(find_unused_parameters=bool(find_unused_parameters))
    return Accelerator(cpu=_on_cpu(no_cuda), mixed_precision="no", kwargs_handlers=[ddp])


def _on_cpu(no_cuda: bool) -> bool:
    """Say whether to compute on the CPU.

    Without this, accelerate starts separate one-process trainings where a launcher finds no GPU.
    """
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    return no_cuda or asked or not torch.accelerator.is_available()
