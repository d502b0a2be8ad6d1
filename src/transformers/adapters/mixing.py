"""Batches whose rows have different adapters: the base is computed once for all, each update for its own tokens.

Which adapters a call uses belongs to the call: nothing here changes the model, so other threads may compute with it.

`transformers.heads.mixed` makes an output of such a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from ..layers.packing import PackedLayout
from ..methods.lora.layers import lora_layers
from ..methods.lora.mix import MIX, AdapterMix, Places
from .interface import AdaptableModel
from .switching import enter_current

__all__ = ["check_mix", "mixed_adapters", "refuse_layers", "rows_of", "shares_base"]


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
    check_mix(encoder, layout.batch_size, adapter_names)
    names = list(dict.fromkeys(adapter_names))
    numbers = torch.tensor([names.index(name) for name in adapter_names], device=layout.token_index.device)
    of_rows = numbers[layout.row_order]
    of_tokens = numbers[torch.div(layout.token_index, layout.padded_length, rounding_mode="floor")]
    mix = AdapterMix(Places.of(names, of_tokens), Places.of(names, of_rows))
    token = MIX.set(mix)
    try:
        yield
    finally:
        MIX.reset(token)


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
    return not any(model.identifies_base(name) for parameters in chosen for name in parameters)


def rows_of(adapter_names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Give each adapter's rows."""
    return [
        (name, [row for row, wanted in enumerate(adapter_names) if wanted == name])
        for name in dict.fromkeys(adapter_names)
    ]


def check_mix(encoder: nn.Module, rows: int, adapter_names: Sequence[str]) -> None:
    """Refuse a mixed batch that cannot be computed.

    Args:
        encoder: The module whose LoRA layers are meant.
        rows: The batch's rows.
        adapter_names: One a row.

    Raises:
        ValueError: If the number of names is not that of the rows, one is not loaded, the layers are merged, or the
            model is in training.
    """
    layers = list(lora_layers(encoder))
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


def refuse_layers(model: AdaptableModel, **flags: bool | None) -> None:
    """Refuse to give hidden states and attentions of rows that are computed apart.

    Raises:
        ValueError: If a flag is set, or is None and the configuration's choice.
    """
    for name, flag in flags.items():
        if getattr(model.config, name) if flag is None else flag:
            raise ValueError(
                f"{name} and adapter_names exclude each other where the adapters change more than LoRA layers and "
                f"heads: such rows are computed apart. Pass {name}=False, or call the model for one adapter at a time."
            )
