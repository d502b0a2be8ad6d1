"""What the Trainer does to tensors and to metrics, apart from training."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = [
    "LabelSmoother",
    "concatenate_padded",
    "get_length_grouped_indices",
    "get_parameter_names",
    "log_metrics",
    "metrics_format",
    "nested_detach",
    "nested_numpify",
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
    ignore_index: int = -100

    def __call__(self, model_output: Any, labels: Tensor) -> Tensor:
        """Give the mean loss over the positions that count.

        Args:
            model_output: With ``logits`` of shape (..., classes), or a tuple that starts with them.
            labels: Class numbers, (...).

        Raises:
            ValueError: If the labels are no class numbers.
        """
        if labels.is_floating_point():
            raise ValueError("Label smoothing spreads a class's share; these labels are numbers, not classes.")
        logits = model_output["logits"] if isinstance(model_output, dict) else model_output[0]
        return functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            labels.reshape(-1),
            ignore_index=self.ignore_index,
            label_smoothing=self.epsilon,
        )


def nested_detach(tensors: Any) -> Any:
    """Detach every tensor in nested tuples, lists and dicts."""
    if isinstance(tensors, list | tuple):
        return type(tensors)(nested_detach(item) for item in tensors)
    if isinstance(tensors, dict):
        return {name: nested_detach(item) for name, item in tensors.items()}
    return tensors.detach() if isinstance(tensors, Tensor) else tensors


def nested_numpify(tensors: Any) -> Any:
    """Turn every tensor in nested tuples, lists and dicts into an array; half precision becomes fp32."""
    if isinstance(tensors, list | tuple):
        return type(tensors)(nested_numpify(item) for item in tensors)
    if isinstance(tensors, dict):
        return {name: nested_numpify(item) for name, item in tensors.items()}
    if not isinstance(tensors, Tensor):
        return tensors
    half = tensors.dtype in (torch.bfloat16, torch.float16)
    return (tensors.float() if half else tensors).detach().cpu().numpy()


def concatenate_padded(parts: Sequence[Any], padding_index: int = -100) -> Any:
    """Join nested arrays along their first axis; where the others differ, shorter ones are padded at their end.

    Args:
        parts: Arrays of the same rank, or tuples, lists or dicts of them, one for each batch.
        padding_index: The value to pad with.
    """
    first = parts[0]
    if isinstance(first, list | tuple):
        return type(first)(concatenate_padded(group, padding_index) for group in zip(*parts, strict=True))
    if isinstance(first, dict):
        return {name: concatenate_padded([part[name] for part in parts], padding_index) for name in first}
    trailing = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
    if all(part.shape[1:] == trailing for part in parts):
        return np.concatenate(parts)
    joined = np.full((sum(len(part) for part in parts), *trailing), padding_index, dtype=first.dtype)
    start = 0
    for part in parts:
        joined[(slice(start, start + len(part)), *(slice(size) for size in part.shape[1:]))] = part
        start += len(part)
    return joined


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


def get_parameter_names(model: nn.Module, forbidden_layer_types: Sequence[type]) -> list[str]:
    """Name the parameters that lie in no layer of the forbidden types."""
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


def metrics_format(metrics: dict[str, float]) -> dict[str, float | str]:
    """Write run times as h:mm:ss, memory in MB, and round the rest to four digits."""
    written: dict[str, float | str] = {}
    for name, value in metrics.items():
        if name.endswith("_runtime"):
            written[name] = str(datetime.timedelta(seconds=round(value)))
        elif "_mem_" in name:
            written[name] = f"{value / 2**20:.0f}MB"
        else:
            written[name] = round(value, 4) if isinstance(value, float) else value
    return written


def log_metrics(self: Trainer, split: str, metrics: dict[str, float]) -> None:
    """Print figures as a table, on the main process.

    Args:
        self: The Trainer.
        split: What they belong to: ``train``, ``eval``, ``test``.
        metrics: What ``train``, ``evaluate`` or ``predict`` gave.
    """
    if not self.is_world_process_zero():
        return
    rows = {name: str(value) for name, value in metrics_format(metrics).items()}
    wide = max(map(len, rows), default=0)
    width = max(map(len, rows.values()), default=0)
    print(f"***** {split} metrics *****")
    for name in sorted(rows):
        print(f"  {name: <{wide}} = {rows[name]:>{width}}")


def save_metrics(self: Trainer, split: str, metrics: dict[str, float], combined: bool = True) -> None:
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
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        _write_json(path, {**earlier, **metrics})


def save_state(self: Trainer) -> None:
    """Write the state of the run to ``<output_dir>/trainer_state.json``, on the main process."""
    if self.is_world_process_zero():
        Path(self.args.output_dir).mkdir(parents=True, exist_ok=True)
        self.state.save_to_json(Path(self.args.output_dir, "trainer_state.json"))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=4, sort_keys=True) + "\n", encoding="utf-8")
