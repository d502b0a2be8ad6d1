"""Many texts of any lengths through a model: like lengths together, as many at once as a budget of tokens allows.

Letters in shapes: ``B`` batch, ``L`` padded length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..layers.inputs import EncoderInputs
from ..layers.transfer import send

__all__ = ["Batch", "Row", "compute", "padded"]

TOKENS_A_BATCH = 4096


@dataclass(frozen=True)
class Row:
    """One text, or one part of a text, as the model takes it.

    Attributes:
        input_ids: Its tokens.
        token_type_ids: The segment of each; None where the model has none.
        encoding: Where each token stands in the text, an ``Encoding`` of the `tokenizers` library.
        about: What the task wants to remember of it.
    """

    input_ids: list[int]
    token_type_ids: list[int] | None
    encoding: Any
    about: Any = None


@dataclass(frozen=True)
class Batch:
    """Rows of like length, padded on the right.

    Attributes:
        inputs: Ids, mask and segments. Shape of each: (B, L).
        rows: What they are made of.
    """

    inputs: EncoderInputs
    rows: Sequence[Row]


def compute(
    rows: Sequence[Row], score: Callable[[Batch], Sequence[Any]], pad: int, device: torch.device, most: int | None
) -> list[Any]:
    """Compute all rows, longest first, and give their results in the rows' own order.

    Args:
        rows: Of any length.
        score: Gives a result for each row of a batch.
        pad: The id that fills rows up; it is masked.
        device: Where the model is.
        most: Rows that a batch has at most; None for the budget of tokens alone.
    """
    results: list[Any] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].input_ids), reverse=True)
    for places in _batches(order, [len(row.input_ids) for row in rows], most):
        chosen = [rows[place] for place in places]
        with torch.inference_mode():
            found = score(Batch(padded(chosen, pad, device), chosen))
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


def _batches(order: Sequence[int], lengths: Sequence[int], most: int | None) -> Iterator[list[int]]:
    """Cut rows that are in order, the longest first, into batches within the budget."""
    batch: list[int] = []
    tokens = 0
    for place in order:
        if batch and (tokens + lengths[place] > TOKENS_A_BATCH or len(batch) == most):
            yield batch
            batch, tokens = [], 0
        batch.append(place)
        tokens += lengths[place]
    if batch:
        yield batch


def padded(rows: Sequence[Row], pad: int, device: torch.device) -> EncoderInputs:
    """Fill rows up to one length.

    Args:
        rows: Of any length.
        pad: The id that fills them up; it is masked.
        device: Where the model is.

    Returns:
        Ids, mask and segments. Shape of each: (B, L).
    """
    longest = max(len(row.input_ids) for row in rows)

    def table(values: Sequence[list[int]], filler: int) -> Tensor:
        return send(torch.tensor([each + [filler] * (longest - len(each)) for each in values]), device)

    types = [row.token_type_ids for row in rows if row.token_type_ids is not None]
    return EncoderInputs(
        input_ids=table([row.input_ids for row in rows], pad),
        attention_mask=table([[1] * len(row.input_ids) for row in rows], 0),
        token_type_ids=table(types, 0) if len(types) == len(rows) else None,
    )
