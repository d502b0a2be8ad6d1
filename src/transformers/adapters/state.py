"""The adapters that a model holds: one object of a model, with a state of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

__all__ = ["AdapterState", "LoadedAdapter"]


@dataclass
class LoadedAdapter:
    """What belongs to one adapter beside its LoRA matrices, which wait in the layers (`LoraLinear.waiting`).

    Attributes:
        parameters: The other parameters that it trains, its head first of all, by path.
        fields: What it puts into the model's configuration.
    """

    parameters: dict[str, nn.Parameter]
    fields: dict[str, Any]


@dataclass
class AdapterState:
    """The adapters of one model.

    Attributes:
        loaded: Each adapter by its name; empty where there is at most the one that the model was made with, which is
            entered when a second one comes.
        active: Name of the one that is in place; None where none is entered.
    """

    loaded: dict[str, LoadedAdapter] = field(default_factory=dict)
    active: str | None = None

    def waiting_parameters(self) -> list[nn.Parameter]:
        """Give all parameters of all adapters, without LoRA's matrices."""
        return [parameter for adapter in self.loaded.values() for parameter in adapter.parameters.values()]
