"""Batches whose rows have different adapters, and so different heads: of one kind, or of several.

The encoder is run once where its rows share the base (`transformers.adapters.mixing`); each row is then scored by the
head of its own adapter. Nothing of the model is changed.

Letters in shapes: ``B`` batch, ``L`` padded length, ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from ..adapters.interface import AdaptableModel
from ..adapters.mixing import check_mix, refuse_layers, rows_of, shares_base
from ..adapters.switching import adapter_view, enter_current, head_view
from ..layers.inputs import EncoderInputs
from ..layers.packing import PackedOutput
from ..modeling_outputs import MixedOutput
from ..utils.generic import ModelOutput

__all__ = ["Scorer", "encode_for", "mixed_output"]


class Scorer(Protocol):
    """A head as it is used here; see `transformers.heads.head.Head`."""

    encoded: PackedOutput | None

    @property
    def _first_token_only(self) -> bool:
        """Whether it reads each row's first token alone."""

    def texts_a_row(self, inputs: EncoderInputs) -> int:
        """Say how many texts a row of the batch holds."""

    def encode(
        self, inputs: EncoderInputs, *, first_token_only: bool = False, adapter_names: Sequence[str] | None = None
    ) -> PackedOutput:
        """Encode a padded batch."""

    def _compute(self, inputs: EncoderInputs) -> ModelOutput:
        """Make the output."""


def mixed_output(
    model: AdaptableModel, inputs: EncoderInputs, adapter_names: Sequence[str], own: Mapping[str, Any]
) -> ModelOutput:
    """Compute a batch of which each row has an adapter of its own.

    Args:
        model: A model with a head, in evaluation.
        inputs: What the encoder is given.
        adapter_names: One a row.
        own: The head's own arguments, labels, which must be None.

    Returns:
        Where all heads are of one kind, the output of that kind, with minus infinity behind the scores of a head that
        has fewer labels than another; else a `MixedOutput`.

    Raises:
        ValueError: If the names do not fit, or come with labels: rows of different heads have no common loss; or,
            where the adapters change more than LoRA layers and heads, with a wish for what the layers compute.
    """
    if any(value is not None for value in own.values()):
        raise ValueError("adapter_names and labels exclude each other: rows of different heads have no one loss.")
    enter_current(model)
    words = inputs.input_ids if inputs.inputs_embeds is None else inputs.inputs_embeds
    check_mix(model, len(adapter_names) if words is None else len(words), adapter_names)
    parts, texts = rows_of(adapter_names), cast(Scorer, model).texts_a_row(inputs)
    if shares_base(model, adapter_names):
        views = [cast(Scorer, head_view(model, name)) for name, _ in parts]
        flat = inputs if texts == 1 else inputs.map_rows(lambda value: value.flatten(0, 1))
        names = [name for name in adapter_names for _ in range(texts)]
        encode_for(
            model, flat, names, [(view, _texts_of(rows, texts)) for view, (_, rows) in zip(views, parts, strict=True)]
        )
    else:
        choices = {name: getattr(inputs, name) for name in ("output_attentions", "output_hidden_states")}
        refuse_layers(model, **choices)
        views = [cast(Scorer, adapter_view(model, name)) for name, _ in parts]
    outputs = [view._compute(_rows(inputs, rows)) for view, (_, rows) in zip(views, parts, strict=True)]
    numbered = [(rows, output) for (_, rows), output in zip(parts, outputs, strict=True)]
    if len({type(output) for output in outputs}) == 1:
        return _side_by_side(numbered, len(adapter_names), texts)
    by_row = {row: _one_row(output, place) for rows, output in numbered for place, row in enumerate(rows)}
    return MixedOutput(outputs=tuple(by_row[row] for row in range(len(adapter_names))))


def encode_for(
    model: AdaptableModel,
    inputs: EncoderInputs,
    adapter_names: Sequence[str],
    views: Sequence[tuple[Scorer, list[int]]],
) -> None:
    """Encode a batch once for several adapters, and leave each adapter's head what is its own (`Head.encoded`).

    Args:
        model: A model with a head, in evaluation.
        inputs: One text a row.
        adapter_names: One a row; of adapters that share the base (`transformers.adapters.mixing.shares_base`).
        views: Views of the model with the adapters' heads (`transformers.adapters.switching.head_view`), each with the
            rows that are its adapter's.
    """
    first_token_only = all(view._first_token_only for view, _ in views)
    encoded = cast(Scorer, model).encode(inputs, first_token_only=first_token_only, adapter_names=adapter_names)
    for view, rows in views:
        view.encoded = encoded.of_rows(rows)


def _rows(inputs: EncoderInputs, rows: list[int]) -> EncoderInputs:
    """Take some rows of what an encoder is given; what is one for all rows stays."""
    return inputs.map_rows(lambda value: value if len(value) == 1 else value[rows])


def _texts_of(rows: list[int], texts: int) -> list[int]:
    """Number the texts of some rows, where each row holds several."""
    return [row * texts + each for row in rows for each in range(texts)]


def _side_by_side(parts: list[tuple[list[int], ModelOutput]], number: int, texts: int) -> ModelOutput:
    """Put the outputs of parts of a batch together, minus infinity behind the scores of fewer labels.

    Layers' outputs have an entry for each text, all others one for each row.
    """
    first = parts[0][1]
    joined: dict[str, Any] = {}
    for name in first:
        values = [(rows, output[name]) for rows, output in parts]
        if isinstance(first[name], tuple):
            layers = range(len(first[name]))
            of_texts = [(_texts_of(rows, texts), value) for rows, value in values]
            joined[name] = tuple(
                _joined([(rows, value[layer]) for rows, value in of_texts], number * texts) for layer in layers
            )
        else:
            joined[name] = _joined(values, number)
    return type(first)(**joined)


def _joined(parts: list[tuple[list[int], Tensor]], number: int) -> Tensor:
    """Put tensors with an entry for each of some rows together. Shape of each: (rows, …), to (B, …).

    Heads of a model that was cast between two adapters have dtypes of their own; the result has the one all fit into.
    """
    shape = [max(value.shape[place] for _, value in parts) for place in range(1, parts[0][1].dim())]
    dtype = reduce(torch.promote_types, (value.dtype for _, value in parts))
    result = parts[0][1].new_full((number, *shape), float("-inf"), dtype=dtype)
    for rows, value in parts:
        missing = [side for size, own in zip(shape[::-1], value.shape[:0:-1], strict=True) for side in (0, size - own)]
        result[rows] = functional.pad(value, missing, value=float("-inf")).to(dtype)
    return result


def _one_row(output: ModelOutput, place: int) -> ModelOutput:
    """Take one row of an output, as a batch of one."""
    taken: dict[str, Any] = {}
    for name, value in output.items():
        whole = isinstance(value, tuple)
        taken[name] = tuple(each[place : place + 1] for each in value) if whole else value[place : place + 1]
    return type(output)(**taken)
