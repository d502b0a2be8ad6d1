"""Samplers of 4.4.2 for several processes, for loops and overrides that make them; the Trainer has its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import torch
from torch.utils.data import DistributedSampler, Sampler

from ..trainer_pt_utils import get_length_grouped_indices
from ..training.batches import example_lengths

__all__ = ["DistributedLengthGroupedSampler", "DistributedSamplerWithLoop", "SequentialDistributedSampler"]


def _place(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    """Fill in the number of processes and this one's from the group that runs, or else from a single process."""
    runs = torch.distributed.is_available() and torch.distributed.is_initialized()
    replicas = num_replicas if num_replicas is not None else torch.distributed.get_world_size() if runs else 1
    number = rank if rank is not None else torch.distributed.get_rank() if runs else 0
    if not 0 <= number < replicas:
        raise ValueError(f"rank is {number}; a number from 0 to {replicas - 1} was expected for {replicas} processes.")
    return replicas, number


class DistributedSamplerWithLoop(DistributedSampler[Any]):
    """A ``DistributedSampler`` whose every share is a multiple of the batch: what lacks is its own beginning again.

    Args:
        dataset: The data set.
        batch_size: Examples of a batch of one process.
        **kwargs: What ``DistributedSampler`` takes.
    """

    def __init__(self, dataset: Any, batch_size: int, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        share = list(super().__iter__())
        first = int(self.rank < len(self.dataset) % self.num_replicas)  # type: ignore[arg-type]  # as in 4.4.2
        lacking = range(first, first + -len(share) % self.batch_size)
        return iter(share + [share[number % len(share)] for number in lacking])


class SequentialDistributedSampler(Sampler[int]):
    """Gives each process one stretch of the data, in order; the last is filled up from the beginning.

    Args:
        dataset: The data set.
        num_replicas: Processes; those of the group that runs by default.
        rank: Number of this process; the group's by default.
        batch_size: Make every stretch a multiple of it.

    Raises:
        ValueError: If ``rank`` is none of the processes.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, batch_size: int | None = None
    ) -> None:
        self.num_replicas, self.rank = _place(num_replicas, rank)
        self.size, self.batch_size = len(dataset), batch_size
        step = self.num_replicas * (batch_size or 1)
        self.total_size = math.ceil(self.size / step) * step
        self.num_samples = self.total_size // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        first = self.rank * self.num_samples
        return (position % self.size for position in range(first, first + self.num_samples))

    def __len__(self) -> int:
        return self.num_samples


class DistributedLengthGroupedSampler(Sampler[int]):
    """Deals an order in which neighbours are of like length out to the processes, another one every epoch.

    Args:
        dataset: The data set.
        batch_size: Examples of a batch of one process.
        num_replicas: Processes; those of the group that runs by default.
        rank: Number of this process; the group's by default.
        seed: Of the order, with the epoch.
        drop_last: Leave out what does not go round; else the beginning comes again.
        lengths: Length of every example; by default found in the data set.
        model_input_name: The entry whose length counts; ``input_ids`` by default.

    Raises:
        ValueError: If the lengths are not given and not to be found, or ``rank`` is none of the processes.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        num_replicas: int | None = None,
        rank: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        lengths: Sequence[int] | None = None,
        model_input_name: str | None = None,
    ) -> None:
        self.num_replicas, self.rank = _place(num_replicas, rank)
        self.batch_size, self.seed, self.drop_last, self.epoch = batch_size, seed, drop_last, 0
        self.lengths = lengths if lengths else example_lengths(dataset, "length", model_input_name or "input_ids")
        whole = len(self.lengths) // self.num_replicas
        self.num_samples = whole if drop_last else math.ceil(len(self.lengths) / self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        filled = [order[position % len(order)] for position in range(self.total_size)]
        return iter(filled[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples
