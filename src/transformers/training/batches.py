"""From a data set to the batches of a run: which columns, in which order, on which process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler

from ..data.samplers import EvalBatchSampler, ExampleSampler, GlobalBatchSampler
from ..data.token_batches import TokenBatchSampler
from ..layers.transfer import send
from ..trainer_utils import set_seed
from ..utils import logging
from .checkpoint_state import capture_rng_state, restore_rng_state
from .loader_processes import end_on_lost_batches
from .nested import map_nested

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = [
    "KnownColumns",
    "count_items",
    "deals_out",
    "eval_loader",
    "example_lengths",
    "find_label_names",
    "forward_arguments",
    "global_batches",
    "hide_unused_columns",
    "seeded_order",
    "tell_epoch",
    "to_device",
    "train_loader",
    "without_unused_columns",
]

logger = logging.get_logger(__name__)

Collator = Callable[[list[Any]], Any]


def forward_arguments(model: nn.Module) -> list[str] | None:
    """Name the arguments of a model's ``forward``; None if it takes any (``**kwargs`` and nothing by name)."""
    parameters = inspect.signature(model.forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return None if takes_any and not named else named


def find_label_names(model: nn.Module) -> list[str]:
    """Name the arguments of ``forward`` that are labels: ``labels``, and for question answering the two positions."""
    names = forward_arguments(model) or ["labels"]
    positions = ("start_positions", "end_positions") if "QuestionAnswering" in type(model).__name__ else ()
    return [name for name in names if "label" in name or name in positions]


def without_unused_columns(dataset: Any, known: Collection[str] | None, description: str) -> Any:
    """Give a ``datasets.Dataset`` without the columns that neither the model nor the collator knows.

    Any other kind of data set is given back as it is; ``KnownColumns`` does the same for its batches.

    Args:
        dataset: The data set.
        known: The names to keep; None keeps all.
        description: What the data set is, for the log.

    Raises:
        ValueError: If no column would be left.
    """
    unused = _unused_columns(dataset, known, description)
    return dataset if unused is None else dataset.remove_columns(unused)


def _unused_columns(dataset: Any, known: Collection[str] | None, description: str) -> list[str] | None:
    """Name the columns of a ``datasets.Dataset`` that are not known; None for any other kind of data set."""
    columns = getattr(dataset, "column_names", None)
    if known is None or not isinstance(columns, list) or not hasattr(dataset, "remove_columns"):
        return None
    unused = [name for name in columns if name not in known]
    if len(unused) == len(columns):
        raise ValueError(
            f"The {description} set has the columns {columns}, and the model's forward takes none of them: it takes "
            f"{sorted(known)}. Tokenize the data set first, or set remove_unused_columns=False."
        )
    if unused:
        _say_what_is_left_out(description, tuple(unused))
    return unused


@cache
def _say_what_is_left_out(description: str, columns: tuple[str, ...]) -> None:
    """Say it once, not at every evaluation."""
    names = ", ".join(columns)
    logger.info("Columns of the %s set that the model does not take are left out: %s.", description, names)


def hide_unused_columns(dataset: Any, known: Collection[str] | None, description: str) -> Any:
    """Let the rows of a ``datasets.Dataset`` hold the known columns only, in place, as 4.4.2 does; give it back.

    Args:
        dataset: The data set; any other kind stays as it is.
        known: The names to keep; None keeps all.
        description: What the data set is, for the log.

    Raises:
        ValueError: If no column would be left.
    """
    if _unused_columns(dataset, known, description):
        kept = [name for name in dataset.column_names if name in (known or ())]
        dataset.set_format(type=dataset.format["type"], columns=kept)
    return dataset


class KnownColumns:
    """A collator that leaves out what the model does not take before it calls another collator.

    Args:
        collator: The other collator.
        known: The names to keep.
    """

    def __init__(self, collator: Collator, known: Collection[str]) -> None:
        self.collator = collator
        self.known = frozenset(known)

    def __call__(self, features: list[Any]) -> Any:
        """Collate the examples."""
        kept = [
            {name: value for name, value in example.items() if name in self.known}
            if isinstance(example, Mapping)
            else example
            for example in features
        ]
        return self.collator(kept)


class SeededExamples(Dataset[Any]):
    """A data set whose random parts depend on (seed, epoch, first example of the batch) alone.

    Used with loader processes only: what such a process draws (in the data set, or in the collator, which runs after
    it) must not depend on the batches that it happened to prepare before, or a resumed run would see others.

    Args:
        dataset: The data set.
        seed: Seed of the run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed, self.epoch = dataset, seed, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        set_seed((self.seed * 1_000_003 + self.epoch * 7_919 + indices[0] * 104_729) % 2**63)
        if hasattr(self.dataset, "__getitems__"):
            fetched: list[Any] = self.dataset.__getitems__(indices)
            return fetched
        return [self.dataset[index] for index in indices]


def example_lengths(dataset: Any, length_column: str, input_name: str) -> list[int]:
    """Give the length of every example, for ``group_by_length``.

    Args:
        dataset: The data set.
        length_column: A column that holds the lengths, if there is one.
        input_name: The column whose rows are counted otherwise.

    Raises:
        ValueError: If neither is there.
    """
    columns = getattr(dataset, "column_names", None)
    names = columns if isinstance(columns, list) else list(dataset[0]) if isinstance(dataset[0], Mapping) else []
    if length_column in names:
        return [int(length) for length in _column(dataset, length_column, columns)]
    if input_name in names:
        return [len(row) for row in _column(dataset, input_name, columns)]
    raise ValueError(
        f"group_by_length (or train_tokens_per_batch) needs a column '{length_column}' or '{input_name}' in the "
        f"training set; it has {names}."
    )


def _column(dataset: Any, name: str, columns: Any) -> Sequence[Any]:
    # At once: going through a column of a ``datasets.Dataset`` reads row by row.
    values: Sequence[Any] = dataset[name][:] if isinstance(columns, list) else [example[name] for example in dataset]
    return values


class BatchLoader(DataLoader[Any]):
    """A ``DataLoader`` over one of our batch samplers that can say how large a batch is."""

    @property
    def batch_size(self) -> int:
        """Examples in a batch that is full."""
        sampler: Any = self.batch_sampler
        return int(sampler.batch_size)

    @batch_size.setter
    def batch_size(self, value: int | None) -> None:
        """Take the None that ``DataLoader`` sets beside a batch sampler."""

    def __iter__(self) -> Any:
        if isinstance(self.dataset, SeededExamples) and isinstance(self.batch_sampler, GlobalBatchSampler):
            self.dataset.epoch = self.batch_sampler.epoch
        return super().__iter__()


def global_batches(
    size: int,
    args: TrainingArguments,
    *,
    lengths: Sequence[int] | None = None,
    order: Callable[[int], Sequence[int]] | None = None,
) -> GlobalBatchSampler:
    """Build the sampler of this process's forward passes.

    Args:
        size: Examples in the data set.
        args: Batch size or tokens, accumulation, processes, seeds.
        lengths: See ``GlobalBatchSampler``; with ``train_tokens_per_batch`` they make the batches.
        order: Likewise.
    """
    options: dict[str, Any] = {
        "accumulation": args.gradient_accumulation_steps,
        "processes": args.world_size,
        "process": args.process_index,
        "seed": _data_seed(args),
        "drop_last": args.dataloader_drop_last,
    }
    if args.train_tokens_per_batch is not None and lengths is not None:
        return TokenBatchSampler(lengths, tokens=args.train_tokens_per_batch, **options)
    return GlobalBatchSampler(size, batch_size=args.train_batch_size, lengths=lengths, order=order, **options)


def train_loader(
    dataset: Any, collator: Collator, args: TrainingArguments, sampler: Any | None = None
) -> DataLoader[Any]:
    """Build the loader of this process's forward passes.

    Args:
        dataset: With a length; or an ``IterableDataset``, which has its own order.
        collator: Makes a batch of a list of examples.
        args: Batch size, accumulation, seeds, loader processes, and whether a batch that is not full is dropped: of a
            data set with a length the batch of a whole step, of a stream the batch of a forward pass.
        sampler: The order of the examples. An ``ExampleSampler`` stands for its batches; of any other the examples are
            dealt out to the processes, unless it does that itself; None is the data set's order.
    """
    options = _loader_options(args, _data_seed(args))
    if isinstance(dataset, IterableDataset):
        return DataLoader(
            _shard(dataset, args),
            args.train_batch_size,
            collate_fn=collator,
            drop_last=args.dataloader_drop_last,
            **options,
        )
    if deals_out(sampler):
        return DataLoader(
            dataset,
            args.train_batch_size,
            sampler=sampler,
            collate_fn=collator,
            drop_last=args.dataloader_drop_last,
            **options,
        )
    if isinstance(sampler, ExampleSampler):
        batches = sampler.batches
    elif sampler is None:
        batches = global_batches(len(dataset), args, order=lambda epoch: range(len(dataset)))
    else:
        order = partial(seeded_order, sampler, _data_seed(args), args.device)
        batches = global_batches(len(sampler), args, order=order)
    if args.dataloader_num_workers > 0:
        dataset = SeededExamples(dataset, _data_seed(args))
    return BatchLoader(dataset, batch_sampler=batches, collate_fn=collator, **options)


def tell_epoch(loader: Any, epoch: int) -> None:
    """Tell the number of the epoch to whatever of a loader orders its data by it.

    A stream of ``datasets`` shuffles anew with it, PyTorch's ``DistributedSampler`` too.

    Args:
        loader: A loader. It, its data set and its samplers may have ``set_epoch``.
        epoch: The number, from 0.
    """
    dataset, batches = getattr(loader, "dataset", None), getattr(loader, "batch_sampler", None)
    dataset = dataset.dataset if isinstance(dataset, SeededExamples) else dataset
    found: list[Any] = [loader, dataset, getattr(loader, "sampler", None), getattr(batches, "sampler", None)]
    for listener in {id(item): item for item in found if hasattr(item, "set_epoch")}.values():
        listener.set_epoch(epoch)


def deals_out(sampler: Any) -> bool:
    """Say whether a sampler, such as PyTorch's ``DistributedSampler``, gives each process other examples."""
    return int(getattr(sampler, "num_replicas", None) or 1) > 1


def seeded_order(sampler: Any, seed: int, device: torch.device, epoch: int) -> list[int]:
    """Give the examples that a sampler of the caller's draws for an epoch, the same in every process and every run.

    The generators are seeded by (seed, epoch) while it draws, and then go on where they were. A sampler that remembers
    something else from one epoch to the next gives another order when a run is resumed.

    Args:
        sampler: Iterated once. Its ``set_epoch`` is called, and its ``generator`` seeded, if it has them.
        seed: Seed of the order of the data.
        device: The device of the run.
        epoch: Number of the epoch.
    """
    before = capture_rng_state(device)
    drawn = (seed * 1_000_003 + epoch * 7_919) % 2**63
    try:
        set_seed(drawn)
        if isinstance(getattr(sampler, "generator", None), torch.Generator):
            sampler.generator.manual_seed(drawn)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        return [int(index) for index in sampler]
    finally:
        restore_rng_state(before, device)


def eval_loader(
    dataset: Any, collator: Collator, args: TrainingArguments, sampler: Any | None = None
) -> DataLoader[Any]:
    """Build the loader of this process's share of an evaluation.

    Args:
        dataset: The data set.
        collator: Makes a batch of a list of examples.
        args: Batch size, loader processes.
        sampler: The order of the examples, in which every process goes through all of them. With PyTorch's
            ``SequentialSampler`` or None it is the data set's, and the processes share the work.
    """
    options = _loader_options(args, args.seed)
    own_order = sampler is not None and type(sampler) is not SequentialSampler
    if isinstance(dataset, IterableDataset) or own_order:  # every process evaluates all of it
        return DataLoader(dataset, args.eval_batch_size, sampler=sampler, collate_fn=collator, **options)
    batches = EvalBatchSampler(
        len(dataset), batch_size=args.eval_batch_size, processes=args.world_size, process=args.process_index
    )
    return BatchLoader(dataset, batch_sampler=batches, collate_fn=collator, **options)


def _data_seed(args: TrainingArguments) -> int:
    return args.seed if args.data_seed is None else args.data_seed


def _loader_options(args: TrainingArguments, seed: int) -> dict[str, Any]:
    return {
        "num_workers": args.dataloader_num_workers,
        "worker_init_fn": end_on_lost_batches,
        "pin_memory": args.dataloader_pin_memory and args.device.type == "cuda",
        # A generator of its own: a loader would draw a number from the global one, and so move dropout.
        "generator": torch.Generator().manual_seed(seed % 2**63),
    }


def _shard(dataset: Any, args: TrainingArguments) -> Any:
    if args.world_size == 1:
        return dataset
    from accelerate.data_loader import IterableDatasetShard

    return IterableDatasetShard(
        dataset,
        batch_size=args.train_batch_size,
        drop_last=args.dataloader_drop_last,
        num_processes=args.world_size,
        process_index=args.process_index,
    )


def count_items(batch: Any, label_names: Sequence[str]) -> int:
    """Count what a batch's mean loss is a mean over: labels other than -100, or else examples.

    Args:
        batch: As the collator made it.
        label_names: The arguments of ``forward`` that are labels; the first that is there counts.
    """
    named = batch if isinstance(batch, Mapping) else {}
    labels = next((named[name] for name in label_names if isinstance(named.get(name), Tensor)), None)
    if labels is not None and not labels.is_floating_point():
        return int((labels != -100).sum())
    return batch_size_of(batch)


def batch_size_of(batch: Any) -> int:
    """Count the examples of a batch: the first axis of its first tensor."""
    values = batch.values() if isinstance(batch, Mapping) else batch
    return next((len(value) for value in values if isinstance(value, Tensor) and value.dim() > 0), 1)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested batch to a device, without waiting; see `transformers.layers.transfer.send`."""
    return map_nested(lambda value: send(value, device) if isinstance(value, Tensor) else value, batch)
