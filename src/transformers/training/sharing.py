"""The choice of how the processes of a training share its work."""

from __future__ import annotations

from ..training_args import TrainingArguments
from .parallel import Parallel

__all__ = ["choose_parallel"]


def choose_parallel(args: TrainingArguments) -> Parallel:
    """Choose how the processes share the work.

    Raises:
        ValueError: If what the flags ask for cannot be had.
    """
    if args.deepspeed is not None:
        from .deepspeed import DeepSpeedParallel

        return DeepSpeedParallel(args)
    if args.fsdp:
        from .fsdp import FullyShardedParallel

        return FullyShardedParallel(args)
    return Parallel(args)
