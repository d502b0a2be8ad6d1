"""What the Trainer does to tensors and to metrics, apart from training."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from .layers.losses import IGNORED_LABEL, mean_cross_entropy
from .training.argument_fields import ArgumentFields
from .training.nested import map_nested
from .training.state import TrainerState, plain_value
from .utils.json_files import load_json
from .utils.lazy_names import LazyNames
from .utils.writing import write_text

_LAZY = LazyNames(
    globals(),
    {
        ".compatibility.samplers": (
            "DistributedLengthGroupedSampler",
            "DistributedSamplerWithLoop",
            "SequentialDistributedSampler",
        ),
        ".compatibility.tensors": (
            "distributed_broadcast_scalars",
            "nested_expand_like",
            "nested_new_like",
            "numpy_pad_and_concatenate",
            "torch_pad_and_concatenate",
        ),
    },
)
__getattr__ = _LAZY.load

__all__ = [
    "DistributedTensorGatherer",
    "LabelSmoother",
    "LengthGroupedSampler",
    "concatenate_padded",
    "distributed_concat",
    "get_length_grouped_indices",
    "get_parameter_names",
    "log_metrics",
    "metrics_format",
    "nested_concat",
    "nested_detach",
    "nested_numpify",
    "nested_truncate",
    "save_metrics",
    "save_state",
    "torch_distributed_zero_first",
]


@dataclass
class LabelSmoother:
    """Cross-entropy against targets of which a share is spread evenly over all classes.

    Attributes:
        epsilon: The share.
        ignore_index: Label of positions that do not count.
    """

    epsilon: float = 0.1
    ignore_index: int = IGNORED_LABEL

    def __call__(self, model_output: Any, labels: Tensor) -> Tensor:
        """Give the mean loss over the positions that count, 0 where none does.

        Args:
            model_output: With ``logits`` of shape (..., classes), or a tuple that starts with them.
            labels: Class numbers, (...).

        Raises:
            ValueError: If the labels are no class numbers.
        """
        if labels.is_floating_point():
            raise ValueError("Label smoothing spreads a class's share; these labels are numbers, not classes.")
        logits = model_output["logits"] if isinstance(model_output, dict) else model_output[0]
        return mean_cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            labels.reshape(-1),
            ignore_index=self.ignore_index,
            label_smoothing=self.epsilon,
        )


def nested_detach(tensors: Any) -> Any:
    """Detach every tensor in nested tuples, lists and dicts."""
    return map_nested(lambda value: value.detach() if isinstance(value, Tensor) else value, tensors)


def nested_numpify(tensors: Any) -> Any:
    """Turn every tensor in nested tuples, lists and dicts into an array; half precision becomes fp32."""
    return map_nested(_numpify, tensors)


def _numpify(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    half = value.dtype in (torch.bfloat16, torch.float16)
    return (value.float() if half else value).detach().cpu().numpy()


def concatenate_padded(parts: Sequence[Any], padding_index: int = -100) -> Any:
    """Join nested arrays along their first axis; where the others differ, shorter ones are padded at their end.

    Args:
        parts: Arrays (or tensors) of the same rank, or tuples, lists or dicts of them, one for each batch.
        padding_index: The value to pad with.

    Raises:
        ValueError: If the parts are not nested alike.
    """
    return map_nested(partial(_concatenate, padding_index=padding_index), *parts)


def _concatenate(*parts: Any, padding_index: int) -> Any:
    first = parts[0]
    trailing = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
    of_tensors = isinstance(first, Tensor)
    if all(part.shape[1:] == trailing for part in parts):
        return torch.cat(parts) if of_tensors else np.concatenate(parts)
    shape = (sum(len(part) for part in parts), *trailing)
    joined = first.new_full(shape, padding_index) if of_tensors else np.full(shape, padding_index, dtype=first.dtype)
    start = 0
    for part in parts:
        joined[(slice(start, start + len(part)), *(slice(size) for size in part.shape[1:]))] = part
        start += len(part)
    return joined


def nested_concat(tensors: Any, new_tensors: Any, padding_index: int = -100) -> Any:
    """Join two nested tensors or arrays along their first axis: 4.4.2's name of ``concatenate_padded`` for two."""
    return concatenate_padded([tensors, new_tensors], padding_index)


def nested_truncate(tensors: Any, limit: int) -> Any:
    """Keep the first ``limit`` rows of nested tensors or arrays."""
    return map_nested(lambda value: value[:limit], tensors)


def distributed_concat(tensor: Any, num_total_examples: int | None = None) -> Any:
    """Join the nested tensors of all processes along their first axis, in the order of the processes.

    Args:
        tensor: Of the same shape in every process; a number becomes a row.
        num_total_examples: Keep so many rows; all by default.
    """
    from accelerate.utils import gather

    joined = gather(tensor)
    return joined if num_total_examples is None else nested_truncate(joined, num_total_examples)


class DistributedTensorGatherer:
    """Collects what the batches of an evaluation give, as prediction loops copied from 4.4.2 do.

    ``Trainer.evaluation_loop`` does the same for several processes; here there is only one.

    Args:
        world_size: Must be 1.
        num_samples: Rows to keep in the end.
        make_multiple_of: Of no use with one process.
        padding_index: See ``concatenate_padded``.

    Raises:
        ValueError: If there are several processes: their batches are dealt out in another way than this class thinks.
    """

    def __init__(
        self, world_size: int, num_samples: int, make_multiple_of: int | None = None, padding_index: int = -100
    ) -> None:
        if world_size != 1:
            raise ValueError(
                f"DistributedTensorGatherer works for one process, and there are {world_size}. Let "
                "Trainer.evaluation_loop collect their predictions instead of a loop of your own."
            )
        self.num_samples, self.padding_index = num_samples, padding_index
        self._parts: list[Any] = []

    def add_arrays(self, arrays: Any) -> None:
        """Add the nested arrays of some batches; None is passed over."""
        if arrays is not None:
            self._parts.append(arrays)

    def finalize(self) -> Any:
        """Give all rows; None if there are none."""
        joined = concatenate_padded(self._parts, self.padding_index) if self._parts else None
        return None if joined is None else nested_truncate(joined, self.num_samples)


def get_length_grouped_indices(
    lengths: Sequence[int],
    batch_size: int,
    mega_batch_mult: int | None = None,
    generator: torch.Generator | None = None,
) -> list[int]:
    """Give an order in which neighbours are of like length, the longest example first.

    The Trainer itself uses ``data.samplers.length_grouped_order``, which depends on (seed, epoch) alone; this is the
    function that scripts import.

    Args:
        lengths: Length of every example.
        batch_size: Examples in a batch.
        mega_batch_mult: Batches that are sorted together; by default 50, or a quarter of all.
        generator: Where the random order comes from.
    """
    if mega_batch_mult is None:
        mega_batch_mult = max(1, min(len(lengths) // (batch_size * 4), 50))
    order = torch.randperm(len(lengths), generator=generator).tolist()
    size = mega_batch_mult * batch_size
    groups = [
        sorted(order[start : start + size], key=lambda index: -lengths[index]) for start in range(0, len(order), size)
    ]
    grouped = [index for group in groups for index in group]
    if grouped:
        longest = max(range(len(grouped)), key=lambda position: lengths[grouped[position]])
        grouped[0], grouped[longest] = grouped[longest], grouped[0]
    return grouped


class LengthGroupedSampler(Sampler[int]):
    """Gives examples so that neighbours are of like length, in another order at every pass (see above).

    Args:
        dataset: The data set.
        batch_size: Examples in a batch.
        lengths: Length of every example; by default found in the data set.
        model_input_name: The entry whose length counts; ``input_ids`` by default.

    Raises:
        ValueError: If the lengths are not given and not to be found.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        lengths: Sequence[int] | None = None,
        model_input_name: str | None = None,
    ) -> None:
        from .training.batches import example_lengths

        self.batch_size = batch_size
        self.lengths = lengths if lengths else example_lengths(dataset, "length", model_input_name or "input_ids")

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(get_length_grouped_indices(self.lengths, self.batch_size))


def get_parameter_names(model: nn.Module, forbidden_layer_types: Sequence[type]) -> list[str]:
    """Name the parameters that lie in no layer of some types.

    Args:
        model: The model.
        forbidden_layer_types: The types.
    """
    forbidden = tuple(forbidden_layer_types)
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if not isinstance(module, forbidden)
        for name, _ in module.named_parameters(recurse=False)
    ]


@contextmanager
def torch_distributed_zero_first(local_rank: int) -> Iterator[None]:
    """Let the process with local rank 0 (or -1) go first, while the others of its group wait."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    if several and local_rank not in (-1, 0):
        torch.distributed.barrier()
    yield
    if several and local_rank == 0:
        torch.distributed.barrier()


class RunOfTrainer(Protocol):
    """What the functions below need of the Trainer, whose methods they are."""

    args: ArgumentFields
    state: TrainerState

    def is_world_process_zero(self) -> bool:
        """Say whether this process is the one that writes files."""

    def metrics_format(self, metrics: dict[str, float]) -> dict[str, float | str]:
        """Write figures as texts and numbers to be read."""


def metrics_format(self: RunOfTrainer, metrics: dict[str, float]) -> dict[str, float | str]:
    """Write run times as h:mm:ss, memory in MB, and round the rest to four digits.

    Args:
        self: The Trainer, whose method this is.
        metrics: What ``train``, ``evaluate`` or ``predict`` gave.
    """
    written: dict[str, float | str] = {}
    for name, value in metrics.items():
        if name.endswith("_runtime"):
            written[name] = str(datetime.timedelta(seconds=round(value)))
        elif "_mem_" in name:
            written[name] = f"{value / 2**20:.0f}MB"
        elif name == "total_flos":
            written[name] = f"{value / 1e9:.0f} GFLOPs"
        else:
            written[name] = round(value, 4) if isinstance(value, float) else value
    return written


def log_metrics(self: RunOfTrainer, split: str, metrics: dict[str, float]) -> None:
    """Print figures as a table, on the main process; those of memory are in ``metrics`` and the files only.

    Args:
        self: The Trainer.
        split: What they belong to: ``train``, ``eval``, ``test``.
        metrics: What ``train``, ``evaluate`` or ``predict`` gave.
    """
    if not self.is_world_process_zero():
        return
    rows = {name: str(value) for name, value in self.metrics_format(metrics).items() if "_mem_" not in name}
    wide = max(map(len, rows), default=0)
    width = max(map(len, rows.values()), default=0)
    print(f"***** {split} metrics *****")
    for name in sorted(rows):
        print(f"  {name: <{wide}} = {rows[name]:>{width}}")


def save_metrics(self: RunOfTrainer, split: str, metrics: dict[str, float], combined: bool = True) -> None:
    """Write figures to ``<output_dir>/<split>_results.json``, on the main process.

    Args:
        self: The Trainer.
        split: What they belong to: ``train``, ``eval``, ``test``.
        metrics: What ``train``, ``evaluate`` or ``predict`` gave.
        combined: Also add them to ``all_results.json``.
    """
    if not self.is_world_process_zero():
        return
    folder = Path(self.args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / f"{split}_results.json", metrics)
    if combined:
        path = folder / "all_results.json"
        earlier = load_json(path, allow_nan=True) if path.is_file() else {}
        _write_json(path, {**earlier, **metrics})


def save_state(self: RunOfTrainer) -> None:
    """Write the state of the run to ``<output_dir>/trainer_state.json``, on the main process."""
    if self.is_world_process_zero():
        Path(self.args.output_dir).mkdir(parents=True, exist_ok=True)
        self.state.save_to_json(Path(self.args.output_dir, "trainer_state.json"))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=4, sort_keys=True, default=plain_value) + "\n")
