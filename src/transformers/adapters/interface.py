"""What the rooms of adapters need of a model, and what a model type says of itself to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor

from ..methods.lora.layers import LoraEmbedding
from ..modeling.token_embeddings import VocabularyModel
from .state import AdapterState

__all__ = ["AdaptableModel"]


class AdaptableModel(VocabularyModel):
    """A model that can hold adapters; `PreTrainedModel` is one.

    Attributes:
        adapter_state: The adapters that it holds.
        head_classes: The classes of its family whose heads adapters on one encoder may have, side by side.
        is_headless: Whether it is only there to hold the encoder as the others do, for adapters of bare encoders.
        task_type: PEFT's name for what its head does; None where PEFT has none.
        pipeline_tag: The hub's name for it; None where the hub has none.
    """

    adapter_state: AdapterState
    head_classes: ClassVar[tuple[type[AdaptableModel], ...]] = ()
    is_headless: ClassVar[bool] = False
    task_type: ClassVar[str | None] = None
    pipeline_tag: ClassVar[str | None] = None

    def _waiting_tensors(self) -> Iterable[Tensor]:
        return [*super()._waiting_tensors(), *self.adapter_state.waiting_tensors()]

    def _prepare_for(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take the form that a checkpoint has, where a model type has several."""

    def label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return []

    def serves_all_rows(self, path: str) -> bool:
        """Say whether a layer computes something for all rows of a batch at once, such as relative positions."""
        return isinstance(self.get_submodule(path), LoraEmbedding)

    def set_position_query(self, adapted: bool) -> None:
        """Choose the meaning of DeBERTa's shared position query; other models have none."""

    def untie_word_embeddings(self) -> None:
        """Part the word embeddings from the layer that scores words; most models score none."""

    def untie_position_projections(self) -> None:
        """Part what shares a projection that merging would change; most models share none."""
