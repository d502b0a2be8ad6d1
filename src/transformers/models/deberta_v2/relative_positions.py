"""Relative positions (He et al., 2021, section 3.1): which embedding belongs to the distance between two tokens.

Large distances share embeddings (`log_buckets`). Only the distances that a batch's longest row has are looked up.

Letters in shapes: ``D`` hidden size, ``N`` the longest row, ``R`` rows of the table of relative embeddings that are
used, ``S`` distances up to the one from which on all share a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...layers.transfer import send_together

__all__ = ["RelativePositions", "log_buckets", "relative_positions", "rows_of_all_distances", "table_rows"]

_FURTHEST = 2**20  # no table of relative embeddings tells more distances apart


def relative_positions(length: int) -> Tensor:
    """List the distances ``i - j`` between tokens of a row, falling.

    Args:
        length: ``N``.

    Returns:
        ``N - 1, …, 0, …, -(N - 1)``. Shape: (2N - 1,).
    """
    return torch.arange(length - 1, -length, -1)


def log_buckets(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Put distances into buckets: near ones have one each, far ones share buckets of growing width.

    With ``m = buckets // 2``, a distance up to ``m`` is its own bucket; a longer one is in bucket
    ``m + ceil(log(distance / m) / log((max_distance - 1) / m) · (m - 1))``, so that ``max_distance - 1`` comes into
    ``2m - 1``. The sign stays. In fp32, as the models were trained: a bucket's edge can depend on rounding.

    Args:
        distances: Whole numbers of either sign. Shape: (…).
        buckets: Number of buckets of each sign.
        max_distance: The first distance beyond the last bucket.

    Returns:
        Buckets of the same sign as the distances, ``int64``. Shape: (…).
    """
    middle = buckets // 2
    magnitude = distances.abs()
    far = magnitude.clamp(min=middle).float()
    steps = torch.log(far / middle) / torch.log(torch.tensor((max_distance - 1) / middle)) * (middle - 1)
    bucket = torch.where(magnitude <= middle, magnitude, torch.ceil(steps).long() + middle)
    return bucket * distances.sign()


def table_rows(length: int, span: int, buckets: int, max_distance: int) -> Tensor:
    """Say which row of the relative embeddings belongs to each distance of a row of tokens.

    Args:
        length: ``N``.
        span: Half the rows of the table; row ``span`` is distance 0.
        buckets: See `log_buckets`; below 1 every distance is its own.
        max_distance: See `log_buckets`.

    Returns:
        Row numbers in order of falling distance. Shape: (2N - 1,).
    """
    distances = relative_positions(length)
    if buckets > 0:
        distances = log_buckets(distances, buckets, max_distance)
    return (distances + span).clamp(0, 2 * span - 1)


def rows_of_all_distances(span: int, buckets: int, max_distance: int) -> Tensor:
    """List the rows of all distances, until they do not change any more; arguments as of `table_rows`.

    Returns:
        Row numbers of the distances ``S - 1, …, -(S - 1)``. Shape: (2S - 1,).
    """
    length = 1
    rows = table_rows(length, span, buckets, max_distance)
    while length < _FURTHEST and (rows[0] < 2 * span - 1 or rows[-1] > 0):
        length *= 2
        rows = table_rows(length, span, buckets, max_distance)
    return rows


@dataclass(frozen=True)
class RelativePositions:
    """The relative embeddings that a batch needs: those of the distances that occur, each once.

    Attributes:
        embeddings: Shape: (R, D).
        rows: For each distance of the longest row, falling, its row in ``embeddings``. Shape: (2N - 1,).
    """

    embeddings: Tensor
    rows: Tensor

    @classmethod
    def from_table(cls, table: nn.Embedding, rows: Tensor, device: torch.device) -> RelativePositions:
        """Take the rows that occur out of the whole table.

        Args:
            table: All relative embeddings, ``2 · span`` rows of width ``D``.
            rows: As of `table_rows`. Shape: (2N - 1,).
            device: Where the batch is.
        """
        used, places = send_together(torch.unique(rows, return_inverse=True), device)
        return cls(table(used), places)

    @classmethod
    def of_length(cls, table: nn.Embedding, rows: Tensor, length: int) -> RelativePositions:
        """Take the whole table, so that no shape depends on which rows occur.

        Args:
            table: All relative embeddings, ``2 · span`` rows of width ``D``.
            rows: As of `rows_of_all_distances`: what is computed on the way could round otherwise elsewhere.
            length: The padded length, ``N``.
        """
        furthest = rows.shape[0] // 2
        distances = length - 1 - torch.arange(2 * length - 1, device=rows.device)
        return cls(table.weight, rows[furthest - distances.clamp(-furthest, furthest)])

    def by_distance(self, projected: Tensor) -> Tensor:
        """Give each distance, falling, its projected embedding. Shape: (R, …) to (2N - 1, …)."""
        return projected[self.rows]
