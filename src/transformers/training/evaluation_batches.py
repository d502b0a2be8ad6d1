"""One pass over an evaluation set: every example exactly once, for any number of processes and any size.

Each process evaluates its own batches and remembers which examples they were; at the end the processes exchange what
they have, and the results are put in the data set's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import DataLoader

from ..data.samplers import EvalBatchSampler
from ..trainer_pt_utils import concatenate_padded, nested_numpify
from ..trainer_utils import EvalLoopOutput, EvalPrediction, denumpify_detensorize
from .batches import batch_size_of, deals_out
from .nested import map_nested

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["CollectedBatches", "check_loader", "example_count", "is_dealt_out", "owned_examples", "summarize"]


@dataclass
class CollectedBatches:
    """What the batches of an evaluation gave, one entry for each batch that counts.

    Attributes:
        indices: The examples' positions in the data set.
        losses: Mean loss of the batch; None without labels.
        logits: The model's outputs, nested, first axis: the examples; None if only the loss is wanted.
        labels: The labels, likewise.
        inputs: The main input, likewise; None if it is not asked for.
    """

    indices: list[list[int]] = field(default_factory=list)
    losses: list[Any] = field(default_factory=list)
    logits: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    _on_cpu: int = 0

    @classmethod
    def _of(cls, lists: Iterable[list[Any]]) -> CollectedBatches:
        indices, losses, logits, labels, inputs = lists
        return cls(indices, losses, logits, labels, inputs)

    def add(self, indices: Sequence[int], loss: Any, logits: Any, labels: Any, inputs: Any = None) -> None:
        """Add a batch, as it comes from the model; see the class for the arguments."""
        self.indices.append(list(indices))
        self.losses.append(loss)
        self.logits.append(logits)
        self.labels.append(labels)
        self.inputs.append(inputs)

    def move_to_cpu(self) -> None:
        """Turn the tensors that came since the last call into arrays."""
        for number in range(self._on_cpu, len(self.indices)):
            size = len(self.indices[number])
            self.losses[number] = None if self.losses[number] is None else float(self.losses[number])
            self.logits[number] = _per_example(nested_numpify(self.logits[number]), size)
            self.labels[number] = _per_example(nested_numpify(self.labels[number]), size)
            self.inputs[number] = nested_numpify(self.inputs[number])
        self._on_cpu = len(self.indices)

    def gathered(self, accelerator: Accelerator) -> CollectedBatches:
        """Give the batches of all processes; all of them must call this."""
        from accelerate.utils import gather_object

        if accelerator.num_processes == 1:
            return self
        parts = gather_object([(self.indices, self.losses, self.logits, self.labels, self.inputs)])
        return self._of([item for part in parts for item in part[place]] for place in range(5))

    def in_order(self) -> CollectedBatches:
        """Give the batches in the order of the data set; each holds neighbours."""
        order = sorted(range(len(self.indices)), key=lambda number: self.indices[number])
        lists = (self.indices, self.losses, self.logits, self.labels, self.inputs)
        return self._of([values[number] for number in order] for values in lists)


def owned_examples(dataloader: DataLoader[Any], number: int, start: int, batch: Any) -> list[int]:
    """Say which examples of the data set batch ``number`` of this process holds; none if it only stands in.

    Args:
        dataloader: The loader that it comes from.
        number: Its number, from 0.
        start: Examples of the batches before it, where the loader is not one of ours.
        batch: The batch.
    """
    sampler = getattr(dataloader, "batch_sampler", None)
    if isinstance(sampler, EvalBatchSampler):
        return sampler.owned[number] if number < len(sampler.owned) else []
    return list(range(start, start + batch_size_of(batch)))


def is_dealt_out(dataloader: DataLoader[Any]) -> bool:
    """Say whether a loader gives each process a share of its own, rather than everything to every process."""
    return isinstance(getattr(dataloader, "batch_sampler", None), EvalBatchSampler)


def check_loader(dataloader: DataLoader[Any]) -> None:
    """Refuse a loader whose sampler gives each process other examples, of which nothing would be put together.

    Raises:
        ValueError: Saying what to do instead.
    """
    if deals_out(getattr(dataloader, "sampler", None)):
        raise ValueError(
            f"The sampler of the evaluation's loader ({type(dataloader.sampler).__name__}) gives each process other "
            "examples, and their predictions would not be joined. Build the loader without it: every process then "
            "evaluates everything. The Trainer's own loaders share the work."
        )


def example_count(dataloader: DataLoader[Any]) -> int:
    """Count the examples of a loader's data set; 0 if it has no length."""
    dataset: Any = getattr(dataloader, "dataset", None)
    return len(dataset) if hasattr(dataset, "__len__") else 0


def summarize(
    batches: CollectedBatches,
    prefix: str,
    compute_metrics: Callable[[EvalPrediction], Mapping[str, Any]] | None,
    *,
    with_losses: bool = False,
) -> EvalLoopOutput:
    """Join the batches of all processes in the data set's order, and compute the metrics.

    Args:
        batches: The batches of all processes.
        prefix: Prefix of the metrics' names, such as ``eval``.
        compute_metrics: The metrics; needs predictions and labels.
        with_losses: Give the losses to ``compute_metrics``, too.

    Raises:
        ValueError: If some batches have labels, outputs or a loss and others have not, or ``compute_metrics`` gives
            no dict.
    """
    batches = batches.in_order()
    sizes = [len(indices) for indices in batches.indices]
    logits = _joined(batches.logits, "outputs")
    labels = _joined(batches.labels, "labels")
    inputs = _joined(batches.inputs, "inputs")
    losses = None if _absent(batches.losses, "a loss") else np.repeat(batches.losses, sizes)
    metrics: dict[str, Any] = {}
    if compute_metrics is not None and logits is not None and labels is not None:
        found = compute_metrics(EvalPrediction(logits, labels, inputs, losses if with_losses else None))
        if not isinstance(found, Mapping):
            raise ValueError(
                f"compute_metrics gave {found!r}; a dict of names and figures was expected (an empty one if there are "
                "none). Is its return missing?"
            )
        metrics = dict(found)
    if losses is not None and "loss" not in metrics:  # one that the metrics give takes the place of the batches' mean
        metrics["loss"] = float(np.average(batches.losses, weights=sizes))
    metrics = {name if name.startswith(f"{prefix}_") else f"{prefix}_{name}": value for name, value in metrics.items()}
    return EvalLoopOutput(logits, labels, denumpify_detensorize(metrics), sum(sizes))


def _joined(parts: list[Any], what: str) -> Any:
    """Join what the batches gave, whole: an output need not have a row for each example."""
    return None if _absent(parts, what) else concatenate_padded(parts)


def _absent(parts: list[Any], what: str) -> bool:
    """Say whether no batch gave something.

    Raises:
        ValueError: If some did and others did not: what is left would not be of the whole set.
    """
    without = sum(part is None for part in parts)
    if 0 < without < len(parts):
        raise ValueError(
            f"{without} of {len(parts)} batches of the evaluation have no {what.removeprefix('a ')}, and the others "
            f"do. Give every example its labels, or none."
        )
    return without == len(parts)


def _per_example(arrays: Any, size: int) -> Any:
    """Repeat an output that is one number for the whole batch, so that every array has an axis of examples."""
    return map_nested(
        lambda array: np.repeat(array, size) if isinstance(array, np.ndarray) and array.ndim == 0 else array, arrays
    )
