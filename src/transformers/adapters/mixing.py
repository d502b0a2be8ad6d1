"""Batches whose rows have different adapters: the base is computed once for all, each update for its own tokens.

Which adapters a call uses belongs to the call: nothing here changes the model, so other threads may compute with it.

Letters in shapes: ``B`` batch, ``D`` hidden size, ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor, nn

from ..layers.packing import PackedLayout
from ..methods.lora.layers import MIX, AdapterMix, LoraLayer, lora_layers
from .interface import AdaptableModel
from .switching import adapter_view, enter_current

__all__ = ["classify", "logits_apart", "mixed_adapters", "shares_base"]


@contextmanager
def mixed_adapters(encoder: nn.Module, layout: PackedLayout, adapter_names: Sequence[str] | None) -> Iterator[None]:
    """Let each row of a batch have its own adapter inside the ``with``, in this thread alone.

    The base's product is computed once for the whole batch; each adapter's update is added to its own tokens.

    Args:
        encoder: The module whose LoRA layers are meant.
        layout: The batch's layout.
        adapter_names: One a row of the batch; None for the active adapter everywhere.

    Raises:
        ValueError: If the number of names is not that of the rows, one is not loaded, the layers are merged, or the
            model is in training.
    """
    if adapter_names is None:
        yield
        return
    layers = list(lora_layers(encoder))
    _check_mix(encoder, layers, layout.batch_size, adapter_names)
    names = list(dict.fromkeys(adapter_names))
    numbers = torch.tensor([names.index(name) for name in adapter_names], device=layout.token_index.device)
    of_rows = numbers[layout.row_order]
    of_tokens = numbers[torch.div(layout.token_index, layout.padded_length, rounding_mode="floor")]
    mix = AdapterMix(
        {name: (of_tokens == number).nonzero()[:, 0] for number, name in enumerate(names)},
        {name: (of_rows == number).nonzero()[:, 0] for number, name in enumerate(names)},
        layout.tokens,
    )
    token = MIX.set(mix)
    try:
        yield
    finally:
        MIX.reset(token)


def classify(
    model: AdaptableModel, features: Tensor, labels: Tensor | None, adapter_names: Sequence[str] | None
) -> Tensor:
    """Score each row with the active head, or with that of its own adapter.

    Args:
        model: The classifier.
        features: What its head reads of each row, as the encoder gave it. Shape: (B, D) or (B, L, D).
        labels: What the caller wants a loss for; None for no loss.
        adapter_names: One a row; None for the active adapter everywhere.

    Returns:
        Logits; where an adapter has fewer labels than another, minus infinity behind its own. Shape: (B, N), ``N``
        the most labels of any.

    Raises:
        ValueError: If there are both labels and adapter names: rows of different heads have no common loss.
    """
    if adapter_names is None:
        return model.score_rows(features)
    _refuse_labels(labels)
    enter_current(model)
    parts = []
    for name, rows in _rows_of(adapter_names):
        parts.append((rows, adapter_view(model, name).score_rows(features[rows])))
    return _side_by_side(parts, len(adapter_names))


def shares_base(model: AdaptableModel, adapter_names: Sequence[str]) -> bool:
    """Say whether rows of these adapters can be computed together: nothing but LoRA and heads differs."""
    enter_current(model)
    state = model.adapter_state
    names = {*adapter_names, state.active}
    if any(
        model.serves_all_rows(path) and not names.isdisjoint(layer.adapter_names) for path, layer in lora_layers(model)
    ):
        return False
    chosen = (state.loaded[name].parameters for name in {*adapter_names, state.active} if name in state.loaded)
    return not any(model.is_base_parameter(name) for parameters in chosen for name in parameters)


def logits_apart(
    model: AdaptableModel,
    adapter_names: Sequence[str],
    labels: Tensor | None = None,
    *,
    head_mask: Tensor | None = None,
    output_attentions: bool | None = None,
    output_hidden_states: bool | None = None,
    **inputs: Tensor | None,
) -> Tensor:
    """Compute a mixed batch adapter by adapter, for a model whose rows share more than the base.

    Args:
        model: The classifier.
        adapter_names: One a row.
        labels: Must be None, as in `classify`.
        head_mask: An argument of ``forward`` for all rows; None for a model that takes none.
        output_attentions: Must not be true, nor the configuration's choice where None.
        output_hidden_states: Likewise.
        **inputs: Arguments of ``forward``, each with one entry a row or one for all rows, or None.

    Returns:
        Logits as of `classify`. Shape: (B, N).

    Raises:
        ValueError: If the names do not fit, or come with labels or a wish for what the layers compute.
    """
    enter_current(model)
    number = max(len(value) for value in inputs.values() if value is not None)
    _check_mix(model, list(lora_layers(model)), number, adapter_names)
    _refuse_labels(labels)
    _refuse_layers(model, output_attentions=output_attentions, output_hidden_states=output_hidden_states)
    masks = {} if head_mask is None else {"head_mask": head_mask}
    parts: list[tuple[list[int], Tensor]] = []
    for name, rows in _rows_of(adapter_names):
        chosen = {key: value if value is None or len(value) == 1 else value[rows] for key, value in inputs.items()}
        parts.append((rows, adapter_view(model, name)(**chosen, **masks, return_dict=True).logits))
    return _side_by_side(parts, len(adapter_names))


def _rows_of(adapter_names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Give each adapter's rows."""
    return [
        (name, [row for row, wanted in enumerate(adapter_names) if wanted == name])
        for name in dict.fromkeys(adapter_names)
    ]


def _check_mix(
    encoder: nn.Module, layers: list[tuple[str, LoraLayer]], rows: int, adapter_names: Sequence[str]
) -> None:
    if encoder.training:
        raise ValueError("adapter_names is for evaluation; call model.eval(), or train one adapter at a time.")
    if len(adapter_names) != rows:
        raise ValueError(f"{len(adapter_names)} adapter_names for {rows} rows; one a row was expected.")
    if not layers:
        raise ValueError("This model has no adapters, so adapter_names cannot choose among them.")
    if any(layer.merged for _, layer in layers):
        raise ValueError("An adapter is merged into the weights; call unmerge_adapter() before a mixed batch.")
    loaded = list(dict.fromkeys(name for _, layer in layers for name in layer.adapter_names))
    unknown = [name for name in adapter_names if name not in loaded]
    if unknown:
        raise ValueError(f"There is no adapter '{unknown[0]}'; loaded: {', '.join(loaded) or 'none'}.")


def _refuse_labels(labels: Tensor | None) -> None:
    if labels is not None:
        raise ValueError("adapter_names and labels exclude each other: rows of different heads have no one loss.")


def _refuse_layers(model: nn.Module, **flags: bool | None) -> None:
    """Refuse to give hidden states and attentions of rows that are computed apart."""
    for name, flag in flags.items():
        if getattr(model.config, name) if flag is None else flag:
            raise ValueError(
                f"{name} and adapter_names exclude each other where the adapters change more than LoRA layers and "
                f"heads: such rows are computed apart. Pass {name}=False, or call the model for one adapter at a time."
            )


def _side_by_side(parts: list[tuple[list[int], Tensor]], number: int) -> Tensor:
    """Put the logits of parts of a batch together, minus infinity behind those of fewer labels. Shape: (B, N)."""
    widest = max(logits.shape[1] for _, logits in parts)
    dtype = reduce(torch.promote_types, (logits.dtype for _, logits in parts))  # heads may have been cast apart
    result = parts[0][1].new_full((number, widest), float("-inf"), dtype=dtype)
    for rows, logits in parts:
        result[rows, : logits.shape[1]] = logits.to(dtype)
    return result
