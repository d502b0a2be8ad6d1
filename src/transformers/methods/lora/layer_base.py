"""What every LoRA layer is, whatever it adapts: a base layer, the active adapter's part, and the others' that wait.

A layer may have no part of an adapter at all: what that adapter does not target computes as the base does.

Letters in shapes: ``O`` output features, ``I`` input features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ...base.record import digest_values
from ...layers.dropout import Dropout
from .update import LoraUpdate

__all__ = ["DEFAULT_ADAPTER", "LoraLayer"]

DEFAULT_ADAPTER = "default"  # the name of the adapter that a model was made or loaded with


class LoraLayer(nn.Module):
    """A layer of the base with the parts of adapters.

    The active adapter's matrices are the layer's parameters, under the names of `NAMES`; those of the others wait in
    ``waiting``, outside of the state dict. A merged layer keeps its original weight, which the state dict shows.

    Attributes:
        active: Name of the adapter in place, whether it has a part here or not.
        waiting: The parts of the others, by adapter.
        enabled: Whether the active adapter's part is used.
        merged: Whether it is folded into the weight.
    """

    # What each part of an update is called as a parameter of the layer, which is PEFT's name for it too.
    NAMES: ClassVar[dict[str, str]] = {}

    weight: nn.Parameter
    r: int
    lora_alpha: float
    lora_dropout: Dropout
    use_rslora: bool
    active: str
    waiting: dict[str, LoraUpdate]
    enabled: bool
    merged: bool
    _original: Tensor | None
    _merged_digest: bytes

    def _prepare(self, r: int, lora_alpha: float, lora_dropout: float, use_rslora: bool) -> None:
        """Set what is no parameter; the constructors of the layers call it."""
        self.r = r
        self.lora_alpha = lora_alpha
        self.lora_dropout = Dropout(lora_dropout)  # loralib's is a lambda at 0, which cannot be pickled
        self.use_rslora = use_rslora
        self.enabled = True
        self.merged = False
        self.active = DEFAULT_ADAPTER
        self.waiting = {}
        self._original = None  # the weight without the update, while merged
        self._merged_digest = b""

    def _make(self, *, rows: int, columns: int, use_dora: bool, keeps_start: bool) -> None:
        """Make the parameters beside ``lora_A`` and ``lora_B`` of a part of shape (rows, columns)."""
        empty = {"magnitude": (rows,), "start_A": (self.r, columns), "start_B": (rows, self.r)}
        for part, shape in empty.items():
            wanted = use_dora if part == "magnitude" else keeps_start
            parameter = nn.Parameter(torch.zeros(shape), requires_grad=part == "magnitude") if wanted else None
            self.register_parameter(self.NAMES[part], parameter)

    # The adapters' parts --------------------------------------------------------------------------------------

    def current_update(self) -> LoraUpdate | None:
        """Give the active adapter's part in this layer; None where it has none."""
        parts: dict[str, Any] = {part: self._parameters.get(name) for part, name in self.NAMES.items()}
        if parts["lora_A"] is None:
            return None
        return LoraUpdate(
            **parts,
            lora_alpha=self.lora_alpha,
            dropout=self.lora_dropout.p,
            use_rslora=self.use_rslora,
        )

    @property
    def adapter_names(self) -> list[str]:
        """Names of the adapters that have a part in this layer."""
        return [*([] if self.current_update() is None else [self.active]), *self.waiting]

    def update_of(self, adapter_name: str) -> LoraUpdate | None:
        """Give an adapter's part in this layer; None where it has none."""
        return self.current_update() if adapter_name == self.active else self.waiting.get(adapter_name)

    def enter(self, adapter_name: str, update: LoraUpdate) -> None:
        """Give an adapter its part in this layer: in place where it is the active one, else waiting."""
        self.waiting[adapter_name] = update
        if adapter_name == self.active:
            self._put_in_place(adapter_name)

    def activate(self, adapter_name: str) -> None:
        """Let another adapter's part be this layer's, and the active one's wait; no weight is moved."""
        if adapter_name == self.active:
            return
        current = self.current_update()
        if current is not None:
            self.waiting[self.active] = current
        self._put_in_place(adapter_name)

    def _put_in_place(self, adapter_name: str) -> None:
        update = self.waiting.pop(adapter_name, None)
        for part, name in self.NAMES.items():
            self._parameters[name] = None if update is None else getattr(update, part)
        self.active = adapter_name
        if update is None:
            self.r = 0
        else:
            self.r, self.lora_alpha, self.use_rslora = update.r, update.lora_alpha, update.use_rslora
            self.lora_dropout.p = update.dropout

    def take_parts_of(self, other: LoraLayer) -> None:
        """Take the very parts of all adapters from another layer of the same sizes."""
        self.waiting, self.enabled, self.active = other.waiting, other.enabled, other.active
        self.r, self.lora_alpha, self.use_rslora = other.r, other.lora_alpha, other.use_rslora
        self.lora_dropout.p = other.lora_dropout.p
        self._parameters.update({name: other._parameters.get(name) for name in self.NAMES.values()})

    def base_weight(self) -> Tensor:
        """Give the base's weight, merged or not."""
        return self.weight if self._original is None else self._original

    # Merging --------------------------------------------------------------------------------------------------

    def merged_weight(self) -> Tensor:
        """Compute the weight with the update in it, in fp32, and give it in the weight's own dtype."""
        raise NotImplementedError

    def merge(self, weight: Tensor) -> None:
        """Compute with a weight that holds the update already, and keep the original. Shape: the weight's."""
        original = self.weight.data
        self.weight.data = weight
        self._keep_original(original, weight)

    def _keep_original(self, original: Tensor, merged: Tensor) -> None:
        self._original = original
        self._merged_digest = digest_values(merged)
        self.merged = True

    def _put_back(self, original: Tensor) -> None:
        self.weight.data = original

    def cast_original(self, dtype: torch.dtype) -> None:
        """Give the original of a merged weight in another precision; of use in a view alone, which is not unmerged."""
        self._original = None if self._original is None else self._original.to(dtype)

    def unmerge(self) -> None:
        """Put the original weight back, bit by bit.

        Raises:
            ValueError: As of `check_unwritten`.
        """
        self.check_unwritten()
        if self._original is not None:
            self._put_back(self._original)
        self._original = None
        self.merged = False

    def check_unwritten(self) -> None:
        """Make sure that nobody wrote into the weight while an adapter was merged into it.

        Raises:
            ValueError: If somebody did: unmerging, or saving the original, would lose what was written.
        """
        if self._original is not None and digest_values(self.weight) != self._merged_digest:
            raise ValueError(
                "A weight was written to while an adapter was merged into it, so the original weight beside it is not "
                "the right one any more. Load the model anew, and unmerge_adapter() before you change weights."
            )

    def refuse_training_merged(self) -> None:
        """Refuse to compute in training with a merged adapter.

        Raises:
            ValueError: If it is so: the update would get no gradient.
        """
        if self.merged and self.training:
            raise ValueError("The adapter is merged into the weights, so it cannot be trained; unmerge it first.")

    # What PyTorch does with a module --------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set the mode and give the layer back, as every module does (loralib's gives None, and may merge)."""
        nn.Module.train(self, mode)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.check_unwritten()
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._original is not None:
            destination[f"{prefix}weight"] = self._original

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take what a state dict has; a merged layer takes it for the original weight, and merges anew."""
        merged = self.merged
        self.unmerge()
        super()._load_from_state_dict(state_dict, prefix, *args)
        if merged:
            self.merge(self.merged_weight())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the waiting adapters and the kept weight with the layer."""
        self.check_unwritten()
        super()._apply(fn, recurse)
        for update in self.waiting.values():
            for matrix in update.parameters:
                matrix.data = fn(matrix.data)
        if self._original is not None:
            self._original = fn(self._original)
            self._merged_digest = digest_values(self.weight)
        return self

    def extra_repr(self) -> str:
        """Show rank and scaling when the model is printed."""
        return f"{super().extra_repr()}, r={self.r}, lora_alpha={self.lora_alpha}"
