"""What the rooms of adapters need of a model, and what a model type says of itself to them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ..base.model import ModelWithBase
from .state import AdapterState

__all__ = ["AdaptableModel"]


class AdaptableModel(ModelWithBase):
    """A model that can hold adapters; `PreTrainedModel` is one.

    Attributes:
        adapter_state: The adapters that it holds.
    """

    adapter_state: AdapterState

    def _waiting_tensors(self) -> Iterable[Tensor]:
        return [*super()._waiting_tensors(), *self.adapter_state.waiting_tensors()]

    def score_rows(self, features: Tensor) -> Tensor:
        """Apply the head to what it reads; a model with a head for rows says how. Shape: (B, …, D) to (B, N).

        Raises:
            ValueError: If the model has no such head.
        """
        raise ValueError(f"{type(self).__name__} has no head that scores rows.")

    def label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return []

    def set_position_query(self, adapted: bool) -> None:
        """Choose the meaning of DeBERTa's shared position query; other models have none."""

    def untie_position_projections(self) -> None:
        """Part what shares a projection that merging would change; most models share none."""
