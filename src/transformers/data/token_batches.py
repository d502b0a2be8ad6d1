"""Batches of so many tokens instead of so many examples; their order is a function of (seed, epoch, index) as well.

The examples are sorted by length, those of equal length in a random order, and cut into forward passes that hold as
many as fit. Where they are cut depends on the lengths alone: every epoch has the same number of steps. The passes come
in a random order. A step is A * W of them, for A passes of W processes, so that it is the same step with twice the
processes and half the passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .samplers import GlobalBatchSampler, epoch_order

__all__ = ["TokenBatchSampler"]

Passes = list[list[int]]


class TokenBatchSampler(GlobalBatchSampler):
    """Gives a ``DataLoader`` the examples of every forward pass of this process, over one epoch.

    Args:
        lengths: Length of every example in tokens, (N,).
        tokens: The most tokens of a forward pass with padding: its examples times the longest of them. An example that
            is longer makes a pass by itself.
        accumulation: A, forward passes per step.
        processes: W.
        process: Number of this process.
        seed: Seed of the order.
        drop_last: Leave out the last step if it has fewer than A * W passes.

    Raises:
        ValueError: If there is not a single step in an epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        tokens: int,
        accumulation: int = 1,
        processes: int = 1,
        process: int = 0,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            len(lengths),
            batch_size=1,
            accumulation=accumulation,
            processes=processes,
            process=process,
            seed=seed,
            drop_last=drop_last,
            lengths=lengths,
        )
        self._ends = _cut(sorted(lengths), tokens)
        self._passes_per_step = accumulation * processes
        self.batch_size = max(end - start for start, end in zip([0, *self._ends], self._ends, strict=False))
        whole, rest = divmod(len(self._ends), self._passes_per_step)
        self.steps_per_epoch = whole + (rest > 0 and not drop_last)
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{self.size} training examples make no step: they fill {len(self._ends)} passes of {tokens} tokens, "
                f"a step has {self._passes_per_step}, and what is not a full step is dropped. Allow fewer tokens "
                "(train_tokens_per_batch), or leave dataloader_drop_last off."
            )

    def steps(self, epoch: int) -> list[Passes]:
        """Give the passes of every step of an epoch, over all processes, in order."""
        lengths = self.lengths or ()
        order = sorted(epoch_order(self.size, self.seed, epoch), key=lengths.__getitem__)
        passes = [order[start:end] for start, end in zip([0, *self._ends], self._ends, strict=False)]
        shuffled = [passes[number] for number in epoch_order(len(passes), self.seed + 1, epoch)]
        size = self._passes_per_step
        return [shuffled[number * size : (number + 1) * size] for number in range(self.steps_per_epoch)]

    def global_batches(self, epoch: int) -> list[list[int]]:
        """Give the examples of every step of an epoch, in order."""
        return [[index for part in step for index in part] for step in self.steps(epoch)]

    def passes_of_step(self, step: int) -> list[bool]:
        """Say of every forward pass of a step of an epoch whether it counts: not where it stands in for none."""
        count = min(self._passes_per_step, len(self._ends) - step * self._passes_per_step)
        return [first + self.process < count for first in range(0, count, self.processes)]

    def __iter__(self) -> Iterator[list[int]]:
        steps = self.steps(self.epoch)[self.first_step :]
        self.set_epoch(self.epoch + 1)
        for step in steps:
            yield from self._mine(step)

    @property
    def examples_per_epoch(self) -> int:
        """Examples of this process in the coming epoch, those that stand in included."""
        return sum(len(part) for step in self.steps(self.epoch) for part in self._mine(step))

    def _mine(self, step: Passes) -> Passes:
        """Give this process's passes of a step; the first example stands in where there is none for it."""
        places = range(self.process, len(step) + self.process, self.processes)
        return [step[place] if place < len(step) else step[0][:1] for place in places]


def _cut(lengths: Sequence[int], tokens: int) -> list[int]:
    """Say where to cut sorted lengths, so that each part times its last length stays within a number of tokens."""
    ends, start = [], 0
    for place, length in enumerate(lengths):
        if place > start and (place + 1 - start) * length > tokens:
            ends.append(place)
            start = place
    return [*ends, len(lengths)]
