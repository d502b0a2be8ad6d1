"""What ``TrainingArguments`` knows of the machine: this process, its device, and those that train with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

import torch

from ..utils import logging
from .devices import process_state
from .lost_processes import explaining_lost_processes

if TYPE_CHECKING:
    from accelerate import PartialState

__all__ = ["ParallelMode", "ProcessArguments"]

logger = logging.get_logger(__name__)


class ParallelMode(Enum):
    """How the work is spread: one process on one device, or several processes (the others never occur here)."""

    NOT_PARALLEL = "not_parallel"
    NOT_DISTRIBUTED = "not_distributed"
    DISTRIBUTED = "distributed"
    SAGEMAKER_DISTRIBUTED = "sm_distributed"
    TPU = "tpu"


class ProcessArguments:
    """The part of ``TrainingArguments`` that looks at the machine."""

    no_cuda: bool
    ddp_timeout: int

    @property
    def device(self) -> torch.device:
        """The device of this process. The first look at it joins the launcher's processes, if there are several."""
        return self._process_state().device

    @property
    def _setup_devices(self) -> torch.device:
        """The older name of ``device``, which scripts read to join the processes."""
        return self.device

    @property
    def n_gpu(self) -> int:
        """GPUs that this process uses: 0 or 1. Several GPUs want several processes (``torchrun``)."""
        return int(self.device.type == "cuda")

    @property
    def _n_gpu(self) -> int:
        """What 4.4.2 calls ``n_gpu`` inside. Scripts set it to 1, so that a model is not spread over several GPUs."""
        return self.n_gpu

    @_n_gpu.setter
    def _n_gpu(self, value: int) -> None:
        if value > 1:
            raise ValueError(f"_n_gpu is {value}; a process uses one GPU here. Start one process for each (torchrun).")

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return int(self._process_state().num_processes)

    @property
    def process_index(self) -> int:
        """This process's number among all."""
        return int(self._process_state().process_index)

    @property
    def local_process_index(self) -> int:
        """This process's number among those of its machine."""
        return int(self._process_state().local_process_index)

    @property
    def should_save(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.process_index == 0

    @property
    def should_log(self) -> bool:
        """Whether this process is the one that prints."""
        return self.process_index == 0

    @property
    def parallel_mode(self) -> ParallelMode:
        """Whether several processes train together."""
        return ParallelMode.DISTRIBUTED if self.world_size > 1 else ParallelMode.NOT_PARALLEL

    @property
    def place_model_on_device(self) -> bool:
        """Whether the Trainer moves the model to the device."""
        return True

    @contextmanager
    def main_process_first(self, local: bool = True, desc: str = "work") -> Iterator[None]:
        """Let the main process do something (fill a cache) before the others, which then find it done.

        Args:
            local: Whether that means the main process of each machine.
            desc: What is done, for the log.
        """
        state = self._process_state()
        logger.debug("Process %d: %s", state.process_index, desc)
        with explaining_lost_processes(), state.local_main_process_first() if local else state.main_process_first():
            yield

    def _process_state(self) -> PartialState:
        return process_state(self.no_cuda, self.ddp_timeout)
