"""The order of the data: a pure function of (seed, epoch, index), defined on the global batch.

Letters: N examples, G examples in a global batch (one optimizer step), W processes, B examples per process and
forward pass, A forward passes per step; G = W * B * A.

``global_batches`` says which examples each step sees. That depends on N, G, the seed and the epoch only, so a resumed
run sees the same examples, and so does one on another number of processes with the same G. How a step's examples are
dealt out to processes and forward passes is ``split_batch``'s business and changes no sum over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import Sampler

__all__ = [
    "EvalBatchSampler",
    "ExampleSampler",
    "GlobalBatchSampler",
    "MicroBatch",
    "epoch_order",
    "length_grouped_order",
    "split_batch",
]

_GROUP_OF_BATCHES = 50  # global batches whose examples are sorted by length together


class MicroBatch(NamedTuple):
    """The examples of one forward pass of one process.

    Attributes:
        indices: Positions in the data set.
        counts: False for a pass that stands in where a process has no example of its own: it takes part in the
            communication, and its loss does not count.
    """

    indices: list[int]
    counts: bool


def epoch_order(size: int, seed: int, epoch: int) -> list[int]:
    """Give a permutation of ``range(size)`` that depends on its arguments alone."""
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    return order


def length_grouped_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[int]:
    """Give a permutation in which neighbours are of like length, and the batches still come in a random order.

    The random order is cut into groups of fifty batches, and each group is sorted by length. The batch with the
    longest example comes first, so that a lack of memory shows at once.

    Args:
        lengths: Length of every example, (N,).
        batch_size: G, the examples in a global batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
    """
    order = epoch_order(len(lengths), seed, epoch)
    grouped: list[int] = []
    for start in range(0, len(order), batch_size * _GROUP_OF_BATCHES):
        group = order[start : start + batch_size * _GROUP_OF_BATCHES]
        grouped += sorted(group, key=lambda index: -lengths[index])
    batches = [grouped[start : start + batch_size] for start in range(0, len(grouped), batch_size)]
    whole = len(grouped) // batch_size  # the last batch may be short; it stays last
    shuffled = torch.randperm(whole, generator=torch.Generator().manual_seed(_mix(seed, epoch) + 1)).tolist()
    if whole:
        longest = max(range(whole), key=lambda number: lengths[batches[number][0]])
        shuffled.remove(longest)
        shuffled.insert(0, longest)
    return [index for number in [*shuffled, *range(whole, len(batches))] for index in batches[number]]


def split_batch(batch: Sequence[int], batch_size: int, processes: int, process: int) -> list[MicroBatch]:
    """Deal one global batch out to the forward passes of one process.

    Every process gets the same number of passes, so that all take part in the communication; a batch that is not
    full is spread as evenly as it goes.

    Args:
        batch: The step's examples, up to G.
        batch_size: B, examples per process and forward pass.
        processes: W.
        process: Number of this process, from 0.
    """
    passes = []
    for start in range(0, len(batch), batch_size * processes):
        round_ = batch[start : start + batch_size * processes]
        share, rest = divmod(len(round_), processes)
        first = process * share + min(process, rest)
        mine = list(round_[first : first + share + (process < rest)])
        passes.append(MicroBatch(mine or [batch[0]], bool(mine)))
    return passes


class GlobalBatchSampler(Sampler[list[int]]):
    """Gives a ``DataLoader`` the examples of every forward pass of this process, over one epoch.

    ``set_epoch`` chooses the epoch and the step to start at; whoever iterates again without it sees the next epoch.
    ``passes_of_step`` says how many of the lists belong to a step, and which of them count.

    Args:
        size: N, examples in the data set.
        batch_size: B, examples per process and forward pass.
        accumulation: A, forward passes per step.
        processes: W.
        process: Number of this process.
        seed: Seed of the order.
        drop_last: Leave out the last global batch if it is not full.
        lengths: Length of every example, (N,), to batch examples of like length together; None for a random order.
        order: Gives the N examples of an epoch, in place of these orders; they need not differ.

    Raises:
        ValueError: If there is not a single step in an epoch.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_size: int,
        accumulation: int = 1,
        processes: int = 1,
        process: int = 0,
        seed: int = 0,
        drop_last: bool = False,
        lengths: Sequence[int] | None = None,
        order: Callable[[int], Sequence[int]] | None = None,
    ) -> None:
        self.size, self.batch_size, self.processes, self.process = size, batch_size, processes, process
        self.global_batch_size = batch_size * accumulation * processes
        self.seed, self.drop_last, self.lengths, self.order = seed, drop_last, lengths, order
        self.epoch, self.first_step = 0, 0
        whole, rest = divmod(size, self.global_batch_size)
        self.steps_per_epoch = whole + (rest > 0 and not drop_last)
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{size} training examples make no step: the global batch has {self.global_batch_size}, and what is "
                "not a full batch is dropped. Give more examples, a smaller batch, or leave dataloader_drop_last off."
            )

    def set_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Choose where the next iteration starts.

        Args:
            epoch: Number of the epoch that it goes through, from 0.
            first_step: The first step of it that is wanted, from 0.
        """
        self.epoch, self.first_step = epoch, first_step

    def global_batches(self, epoch: int) -> list[list[int]]:
        """Give the examples of every step of an epoch, in order.

        Raises:
            ValueError: If the order that was given has another length than N.
        """
        order: Sequence[int]
        if self.order is not None:
            order = self.order(epoch)
        elif self.lengths is not None:
            order = length_grouped_order(self.lengths, self.global_batch_size, self.seed, epoch)
        else:
            order = epoch_order(self.size, self.seed, epoch)
        if len(order) != self.size:
            raise ValueError(f"The order of epoch {epoch} holds {len(order)} examples; its length said {self.size}.")
        step = self.global_batch_size
        return [list(order[number * step : (number + 1) * step]) for number in range(self.steps_per_epoch)]

    def passes_of_step(self, step: int) -> list[bool]:
        """Say of every forward pass of a step of an epoch whether it counts (see ``MicroBatch``)."""
        return [part.counts for part in self._parts_of_step(step)]

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.global_batches(self.epoch)[self.first_step :]
        self.set_epoch(self.epoch + 1)  # not before the first batch: a DataLoader may make iterators that it drops
        for batch in batches:
            for part in self._split(batch):
                yield part.indices

    def __len__(self) -> int:
        return sum(len(self.passes_of_step(step)) for step in range(self.first_step, self.steps_per_epoch))

    @property
    def examples_per_epoch(self) -> int:
        """Examples of this process in an epoch, those that stand in included."""
        parts = (part for step in range(self.steps_per_epoch) for part in self._parts_of_step(step))
        return sum(len(part.indices) for part in parts)

    def _parts_of_step(self, step: int) -> list[MicroBatch]:
        """Give the passes of a step with positions in its global batch as indices."""
        return self._split(range(min(self.global_batch_size, self.size - step * self.global_batch_size)))

    def _split(self, batch: Sequence[int]) -> list[MicroBatch]:
        return split_batch(batch, self.batch_size, self.processes, self.process)


class ExampleSampler(Sampler[int]):
    """Gives the examples of a ``GlobalBatchSampler`` one by one, for a ``DataLoader`` that makes the batches.

    Args:
        batches: Gives the same examples in batches.
    """

    def __init__(self, batches: GlobalBatchSampler) -> None:
        self.batches = batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return (index for batch in self.batches for index in batch)

    def __len__(self) -> int:
        return self.batches.examples_per_epoch


class EvalBatchSampler(Sampler[list[int]]):
    """Gives a ``DataLoader`` this process's share of an evaluation: batch p, p + W, p + 2W, ...

    Every process gets the same number of batches; where there is none left it gets the first example again, and
    ``owned`` leaves that one out.

    Args:
        size: N, examples in the data set.
        batch_size: B, examples per process and forward pass.
        processes: W.
        process: Number of this process.
    """

    def __init__(self, size: int, *, batch_size: int, processes: int = 1, process: int = 0) -> None:
        self.size, self.batch_size, self.processes, self.process = size, batch_size, processes, process
        batches = [list(range(start, min(start + batch_size, size))) for start in range(0, size, batch_size)]
        self._rounds = -(-len(batches) // processes)
        self.owned = batches[process::processes]

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.owned
        for _ in range(self._rounds - len(self.owned)):
            yield [0]

    def __len__(self) -> int:
        return self._rounds


def _mix(seed: int, epoch: int) -> int:
    """Make one generator seed of a run's seed and an epoch, so that (1, 2) and (2, 1) differ."""
    return (seed * 1_000_003 + epoch * 7_919) % 2**63
