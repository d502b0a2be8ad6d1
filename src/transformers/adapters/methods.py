"""What a model offers of adapters, one line each over the rooms that do it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from ..layers.capture import explain_capture
from ..layers.quantized import QuantizationError, number_of_values
from ..methods.lora.config import as_lora_config, check_task
from ..methods.lora.layers import DEFAULT_ADAPTER
from ..modeling.quantizing import quantization_error
from ..utils.hub_upload import pushing
from . import making, merging, saving, switching
from .card import write_model_card
from .interface import AdaptableModel
from .views import view_for_call

__all__ = ["AdapterMethods"]

ModelType = TypeVar("ModelType", bound="AdapterMethods")


class AdapterMethods(AdaptableModel):
    """Loading, switching, merging and saving adapters as methods of a model."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model, or the view of it that this call is to use (`transformers.adapters.views`)."""
        explain_capture()
        view = view_for_call(self)
        return super().__call__(*args, **kwargs) if view is None else view(*args, **kwargs)

    @property
    def loaded_adapters(self) -> list[str]:
        """Names of the adapters that can be switched to."""
        return switching.loaded_adapters(self)

    @property
    def active_adapter(self) -> str | None:
        """Name of the adapter in place; None where the model has none, or only the one that it was made with."""
        return self.adapter_state.active

    def load_adapter(
        self,
        path: str | os.PathLike[str],
        adapter_name: str = DEFAULT_ADAPTER,
        *,
        lora_alpha: float | None = None,
        is_trainable: bool = True,
        allow_other_base: bool = False,
        **hub_options: Any,
    ) -> None:
        """Load one more adapter, with its head. The first one becomes the active one, the others wait.

        Args:
            path: An adapter's folder or hub id, of this package or of PEFT, or an original ``.bin`` file.
            adapter_name: What to call it; not a name that is taken.
            lora_alpha: The alpha of an original file that was not published; needed for no other.
            is_trainable: Whether its parameters are trained where it is the active one. (PEFT's default is False.)
            allow_other_base: Take an adapter that was trained on other weights all the same. What is saved later says
                so (``other_bases`` in ``lora_metadata.json``).
            **hub_options: See `transformers.utils.hub.cached_file`.

        Raises:
            OSError: If there is no such adapter.
            ValueError: If it does not fit this model, belongs to another base, is damaged, or holds values that are
                not finite; or if the name is taken, or the model is merged. The model is then unchanged.
            TypeError: If an argument is not known.
        """
        switching.load_adapter(
            self,
            path,
            adapter_name,
            lora_alpha=lora_alpha,
            is_trainable=is_trainable,
            allow_other_base=allow_other_base,
            **hub_options,
        )

    def add_adapter(
        self,
        adapter_config: Any,
        adapter_name: str = DEFAULT_ADAPTER,
        *,
        lora_r: int | None = None,
        lora_alpha: float | None = None,
        lora_dropout: float | None = None,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | Sequence[str] | None = None,
    ) -> None:
        """Make a fresh adapter, with a head of its own. The first one becomes the active one, the others wait.

        A head that the base checkpoint provides is what it starts from; the model's first adapter takes the head that
        is there.

        Args:
            adapter_config: A `transformers.LoraConfig` (or PEFT's), which says all of LoRA; or the name alone, which
                leaves LoRA to the arguments below and to the active adapter.
            adapter_name: What to call it; not a name that is taken.
            lora_r: Rank; the active adapter's where None.
            lora_alpha: Numerator of the scaling; the active adapter's where None.
            lora_dropout: Dropout in front of ``lora_A``; the active adapter's where None.
            num_labels: Number of labels; the active adapter's where neither this nor ``id2label`` is given.
            id2label: Names of the labels.

        Raises:
            ValueError: If a value is missing or out of range, a target matches nothing, the name is taken, or the
                model is merged; or if a configuration and a value of its own are both given. The model is then
                unchanged.
        """
        given = {
            "lora_r": lora_r,
            "lora_alpha": lora_alpha,
            "lora_dropout": lora_dropout,
            "num_labels": num_labels,
            "id2label": id2label,
        }
        fields = {name: value for name, value in given.items() if value is not None}
        if isinstance(adapter_config, str):
            making.add_adapter(self, adapter_config, **fields)
            return
        lora = as_lora_config(adapter_config)
        check_task(self, lora.task_type)
        twice = sorted({"lora_r", "lora_alpha", "lora_dropout"} & set(fields))
        if twice:
            raise ValueError(f"{twice[0]} is given beside a LoraConfig, which says it already. Say it once.")
        making.add_adapter(self, adapter_name, **lora.config_fields(), **fields)

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
        *,
        head_of: str | None = None,
    ) -> None:
        """Combine adapters into a new one, as PEFT does.

        Args:
            adapters: Names of loaded adapters.
            weights: One for each.
            adapter_name: What to call the new one; not a name that is taken.
            combination_type: ``"cat"`` (the exact weighted sum, at the sum of the ranks), ``"svd"`` (the nearest of
                one rank) or ``"linear"`` (the matrices themselves are added up, for adapters of one rank).
            svd_rank: Rank with ``"svd"``; the largest of the adapters' where None.
            head_of: Whose head and labels it gets; needed where they differ. (PEFT refuses adapters with heads.)

        Raises:
            ValueError: If a name, a weight or a rank does not fit, heads differ and ``head_of`` is not said, or the
                model is merged.
        """
        making.add_weighted_adapter(
            self, adapters, weights, adapter_name, combination_type, svd_rank=svd_rank, head_of=head_of
        )

    def get_nb_trainable_parameters(self) -> tuple[int, int]:
        """Count the values that are trained, and all of them."""
        return number_of_values(self, lambda each: each.requires_grad), number_of_values(self)

    def print_trainable_parameters(self) -> None:
        """Print how much is trained, in PEFT's words."""
        trained, number = self.get_nb_trainable_parameters()
        share = 100 * trained / number
        print(f"trainable params: {trained:,d} || all params: {number:,d} || trainable%: {share:.4f}")

    def save_adapter(
        self,
        save_directory: str | os.PathLike[str],
        *,
        tokenizer: Any = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write what a run on a frozen base trained, a few megabytes, and its model card.

        See `transformers.adapters.saving`; a card that a person has changed stays (`transformers.utils.model_card`).

        Args:
            save_directory: A folder without a whole model; made where it does not exist.
            tokenizer: Described in the metadata.
            push_to_hub: Upload it too.
            **kwargs: Where to: those of `transformers.utils.hub_upload.pushing`, such as ``repo_id`` and ``private``.

        Raises:
            ValueError: As of `transformers.adapters.saving.save_adapter`; or if a whole model is in the folder.
            OSError: If the folder cannot be written; or the hub cannot be reached or refuses: it is saved then.
            TypeError: If a keyword is unknown.
        """
        saving.refuse_model_in(save_directory)
        with pushing(save_directory, {"push_to_hub": push_to_hub, **kwargs}, strict=True) as repo_id:
            saving.save_adapter(self, save_directory, tokenizer=tokenizer)
            write_model_card(self, save_directory, repo_id=repo_id)

    def set_adapter(self, adapter_name: str) -> None:
        """Make an adapter the active one for everybody: its matrices, its head, its labels.

        Raises:
            ValueError: If there is none of that name, or the model is merged.
        """
        switching.set_adapter(self, adapter_name)

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter. Another one becomes active where it was the active one.

        Raises:
            ValueError: If there is none of that name, it is the last one, or the model is merged.
        """
        switching.delete_adapter(self, adapter_name)

    def disable_adapter(self) -> AbstractContextManager[None]:
        """Compute with the base's own weights inside the ``with``, in this thread; the head stays the adapter's.

        Raises:
            ValueError: If the model has no adapter, or values of the base were trained in place and are not known any
                more.
        """
        return switching.disable_adapter(self)

    def merge_adapter(self) -> None:
        """Fold the active adapter into the weights in place; see `transformers.adapters.merging.merge`."""
        merging.merge(self)

    def unmerge_adapter(self) -> None:
        """Put the original weights back, bit by bit; see `transformers.adapters.merging.unmerge`."""
        merging.unmerge(self)

    def dequantize(self: ModelType) -> ModelType:
        """Make a base of 4 or 8 bits full again; see `transformers.adapters.merging.dequantize`."""
        merging.dequantize(self)
        return self

    def quantization_error(self) -> QuantizationError | None:
        """Say by how much weights of 4 or 8 bits differ from the checkpoint's; None where there are none."""
        return quantization_error(self)

    def merge_and_unload(self: ModelType) -> ModelType:
        """Become a plain model with the adapter folded in; see `transformers.adapters.merging.merge_and_unload`."""
        merging.merge_and_unload(self)
        return self

    def unload(self: ModelType) -> ModelType:
        """Become a plain model on the base's own weights; see `transformers.adapters.merging.unload`."""
        merging.unload(self)
        return self
