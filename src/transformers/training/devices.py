"""Which device a process computes on and which processes train together, as ``accelerate`` finds them."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch

from .lost_processes import beat, first_line, leave_group, says_lost

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

__all__ = [
    "build_accelerator",
    "end_process",
    "launched_processes",
    "launcher_deepspeed",
    "process_state",
]

_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
_GRACE = 5.0
"""Seconds that PyTorch has to give up by itself, with a reason."""


def process_state(no_cuda: bool = False, timeout: int = 1800) -> PartialState:
    """Give the state of this process, joining the launcher's processes at the first call.

    Args:
        no_cuda: Stay on the CPU.
        timeout: Seconds after which a process that waits for the others in vain gives up.

    Raises:
        ValueError: If the launcher started more processes than have found each other, or more than there are GPUs.
        ConnectionError: If they cannot find each other.
    """
    from accelerate import PartialState

    met = _MET.get(no_cuda)
    if met is not None and met.memory is PartialState._shared_state and met.memory.get("device") == met.device:
        return met.state
    state = _meet(no_cuda, timeout)
    _MET[no_cuda] = _Met(state, PartialState._shared_state, state.device)
    return state


class _Met(NamedTuple):
    """What was found, which holds while accelerate remembers the same: it is asked for ten times a step."""

    state: PartialState
    memory: dict[str, Any]
    device: torch.device


_MET: dict[bool, _Met] = {}  # by ``no_cuda``


def _meet(no_cuda: bool, timeout: int) -> PartialState:
    """Do what `process_state` says, for the first time or after another choice."""
    from accelerate import PartialState

    cpu = _on_cpu(no_cuda)
    with _without_launcher_plugins():
        state = _join(cpu, timeout)
        if state.num_processes == 1 and (state.device.type == "cpu") is not cpu:
            _choose_anew()
            state = PartialState(cpu=cpu)
    launched = launched_processes()
    if state.num_processes != launched:
        raise ValueError(
            f"The launcher started {launched} processes (WORLD_SIZE), but {state.num_processes} found each other: "
            "they would train separate models. Check MASTER_ADDR, MASTER_PORT, RANK and LOCAL_RANK, or start without "
            "a launcher."
        )
    return state


def _choose_anew() -> None:
    """Let accelerate choose a device again: it keeps the first for the whole process; a later run may have another.

    A Trainer that was built before keeps what it has: accelerate's own reset would empty its state.
    """
    from accelerate import PartialState
    from accelerate.state import AcceleratorState

    PartialState._shared_state, AcceleratorState._shared_state = {}, {}


def launched_processes() -> int:
    """Count the processes that the launcher started, without joining them.

    Raises:
        ValueError: If it was asked for several and started one.
    """
    for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"):
        if name in os.environ:
            return int(os.environ[name])
    if "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ:  # its trace where N > 1 were asked for
        raise ValueError(
            "accelerate launch was asked for several processes, but starts only one where it computes on the CPU. "
            "Start them with torchrun --nproc_per_node=N, or with accelerate launch --multi_gpu --num_processes N and "
            "ACCELERATE_USE_CPU=1 in the environment."
        )
    return 1


def _join(cpu: bool, timeout: int) -> PartialState:
    """Join the launcher's processes."""
    from accelerate import PartialState

    _end_with_launcher()
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if not cpu and torch.cuda.is_available() and local >= gpus:
        raise ValueError(
            f"The launcher started process {local} of this machine (LOCAL_RANK), which has {gpus} GPUs. Start one "
            "process for each GPU, or compute on the CPU with --no_cuda."
        )
    try:
        with _meeting_within(timeout):
            state = PartialState(cpu=cpu, timeout=timedelta(seconds=timeout))
    except RuntimeError as error:  # torch.distributed's errors are RuntimeErrors
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
            raise ConnectionError(
                f"The processes cannot meet at {where}: another program uses this port. Give another one to the "
                "launcher (--master_port)."
            ) from error
        if says_lost(error):
            raise ConnectionError(
                f"Process {os.environ.get('RANK')} of {launched_processes()} did not find the others at "
                f"{where} ({first_line(error)}). Did they all start, with the same MASTER_ADDR and MASTER_PORT?"
            ) from error
        raise
    atexit.unregister(leave_group)  # it may be there from an earlier call
    atexit.register(leave_group)
    beat(state.process_index, state.num_processes)
    return state


def _end_with_launcher() -> None:
    """Let the system send this process ``SIGTERM`` when torchrun dies, which could not stop it any more.

    Only torchrun is known to stay as long as its processes; a shell that has started them may end before them.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _meeting_within(timeout: int) -> Iterator[None]:
    """End this process if the others do not answer within the timeout, which gloo's first meeting does not keep."""
    if launched_processes() == 1:
        yield
        return

    def give_up() -> None:
        text = f"Process {os.environ.get('RANK')} waited for the others for {timeout} s (ddp_timeout) in vain.\n"
        os.write(2, text.encode())
        os._exit(2)

    timer = threading.Timer(timeout + _GRACE, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end_process(code: int) -> NoReturn:
    """End a script, also in one of several processes, with this exit code and no other.

    A DistributedDataParallel keeps gloo's threads alive for good, and one process in a hundred then aborts while
    Python takes itself apart (pytorch/pytorch#190489). So where several trained together everything that is
    registered for the end is done, and the rest of Python's ending left out.

    Args:
        code: The exit code.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def launcher_deepspeed(config: str | None) -> str | None:
    """Give the DeepSpeed configuration: the flag's, or the one that ``accelerate launch --use_deepspeed`` was given.

    Raises:
        ValueError: If ``accelerate launch`` asks for something that has its own flag here.
    """
    if _is_on("ACCELERATE_USE_FSDP"):
        raise ValueError("accelerate launch was told --use_fsdp; give the script --fsdp full_shard instead.")
    if config is None and _is_on("ACCELERATE_USE_DEEPSPEED"):
        config = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
        if config.lower() == "none":
            raise ValueError(
                "accelerate launch was told --use_deepspeed without a configuration file; give the script --deepspeed "
                "FILE instead."
            )
    return config


def build_accelerator(no_cuda: bool = False, timeout: int = 1800) -> Accelerator:
    """Build the ``Accelerator`` of a Trainer: devices, gathering.

    It is told of no mixed precision: accelerate would patch the model's ``forward`` for good and keep one precision
    for the whole process. ``training.precision`` does that part with PyTorch's own means, and ``training.parallel``
    connects the processes.

    Args:
        no_cuda: Stay on the CPU.
        timeout: See ``process_state``.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    process_state(no_cuda, timeout)
    with _without_launcher_plugins():
        if AcceleratorState._shared_state and AcceleratorState().mixed_precision != "no":
            AcceleratorState._shared_state = {}
        return Accelerator(cpu=_on_cpu(no_cuda), mixed_precision="no")


@contextmanager
def _without_launcher_plugins() -> Iterator[None]:
    """Hide from accelerate what ``accelerate launch`` may have asked for; the Trainer's flags decide."""
    names = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _on_cpu(no_cuda: bool) -> bool:
    """Say whether to compute on the CPU.

    Without this, accelerate starts separate one-process trainings where a launcher finds no GPU.
    """
    return no_cuda or _is_on("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")
