"""The adapters that a model holds: one object of a model, with a state of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AdapterState", "HeadParts", "LoadedAdapter"]


@dataclass
class LoadedAdapter:
    """What belongs to one adapter beside its LoRA matrices, which wait in the layers (`LoraLinear.waiting`).

    Attributes:
        parameters: The other parameters that it trains, its head first of all, by path.
        fields: What it puts into the model's configuration.
        buffers: Its head's buffers, by path.
        is_trainable: Whether its parameters are trained where it is the active one.
        other_bases: See `transformers.adapters.reading.AdapterContent`.
        model_class: The class of model that has its kind of head; None for the class that the model has anyway.
    """

    parameters: dict[str, nn.Parameter]
    fields: dict[str, Any]
    buffers: dict[str, Tensor] = field(default_factory=dict)
    is_trainable: bool = True
    other_bases: tuple[Mapping[str, str], ...] = ()
    model_class: type[nn.Module] | None = None


@dataclass
class HeadParts:
    """What a class of models has beside the encoder, while a model is of another class.

    Attributes:
        modules: Its modules by path; those that no adapter has been in place of are without storage.
        attributes: Its attributes that are no modules, and that the model did not have.
        given: The base's own values of its parameters, by path.
        dtypes: Those in which the base's checkpoint holds these.
        was_looked_for: Whether the checkpoint was asked for them.
    """

    modules: dict[str, nn.Module]
    attributes: dict[str, Any] = field(default_factory=dict)
    given: dict[str, nn.Parameter] = field(default_factory=dict)
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    was_looked_for: bool = False


@dataclass
class AdapterState:
    """The adapters of one model.

    Attributes:
        loaded: Each adapter by its name; empty where there is at most the one that the model was made with, which is
            entered when a second one comes.
        active: Name of the one that is in place; None where none is entered.
        heads: By class of model, its head, where a model holds adapters of several kinds of heads.
    """

    loaded: dict[str, LoadedAdapter] = field(default_factory=dict)
    active: str | None = None
    heads: dict[type[nn.Module], HeadParts] = field(default_factory=dict)

    @property
    def other_bases(self) -> tuple[Mapping[str, str], ...]:
        """Give the active adapter's; see `transformers.adapters.reading.AdapterContent`."""
        return () if self.active is None else self.loaded[self.active].other_bases

    def waiting_tensors(self) -> list[Tensor]:
        """Give all parameters and buffers of all adapters and of the base's heads, without LoRA's matrices."""
        found: list[Tensor] = [value for parts in self.heads.values() for value in parts.given.values()]
        for adapter in self.loaded.values():
            found += [*adapter.parameters.values(), *adapter.buffers.values()]
        return found
