"""Upstream's Trainer over its examples in a given order; runs in the reference environment."""

import torch

from transformers import Trainer

__all__ = ["OrderedTrainer"]


class OrderedTrainer(Trainer):
    """A Trainer that goes through the data in a given order, epoch by epoch."""

    def __init__(self, *args: object, order: list[list[int]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.order = EpochSampler(order)

    def _get_train_sampler(self, *args: object, **kwargs: object) -> "EpochSampler":
        return self.order


class EpochSampler(torch.utils.data.Sampler):
    """Gives one epoch's order after the other.

    Attributes:
        epoch: How many were given.
    """

    def __init__(self, order: list[list[int]]) -> None:
        self.order, self.epoch = order, 0

    def __iter__(self):
        self.epoch += 1
        return iter(self.order[self.epoch - 1])

    def __len__(self) -> int:
        return len(self.order[0])
