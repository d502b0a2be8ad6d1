"""A model as the rooms below the models see it: a configuration, an encoder, and what is known of its base."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..configuration.quantization import BitsAndBytesConfig
from ..configuration_utils import PretrainedConfig
from ..layers.quantized import quantized_layers, refuse_cast
from .record import BaseRecord, digest_tensors, hash_digests

__all__ = ["ModelWithBase"]


class ModelWithBase(nn.Module):
    """An encoder with or without a head; `PreTrainedModel` is one.

    Attributes:
        config: Its configuration.
        name_or_path: Where it was loaded from.
        base_record: What is known of the checkpoint that it stands on.
        static_shapes: Whether the encoder computes padding too, so that no shape depends on the texts.
        quantization: How its base's linear layers are kept in 4 or 8 bits; None where they are not.
    """

    base_model_prefix: ClassVar[str] = ""
    _keys_to_ignore_on_load_missing: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str] | None] = None
    config: PretrainedConfig
    name_or_path: str
    base_record: BaseRecord
    static_shapes: bool = False
    quantization: BitsAndBytesConfig | None = None

    def use_static_shapes(self, wanted: bool = True) -> None:
        """Compute padding too from now on: more work, but the forward pass can be captured as one graph.

        `transformers.exporting` makes a copy of a model for it; `transformers.training.graphed_steps` needs it for the
        length of a step.

        Args:
            wanted: False to leave padding out again.
        """
        self.base_model.static_shapes = wanted  # type: ignore[assignment]

    @property
    def longest_text(self) -> int | None:
        """The most tokens that a text may have; None where positions are relative alone."""
        return None

    @property
    def has_head(self) -> bool:
        """Whether the encoder is an attribute of this model, rather than the model itself."""
        return bool(self.base_model_prefix) and hasattr(self, self.base_model_prefix)

    @property
    def base_model(self) -> nn.Module:
        """The encoder: the attribute that ``base_model_prefix`` names, or the model itself."""
        return getattr(self, self.base_model_prefix) if self.has_head else self

    def is_base_parameter(self, name: str) -> bool:
        """Say whether a parameter belongs to the encoder, by its name."""
        return not self.has_head or name.startswith(f"{self.base_model_prefix}.")

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The encoder's dtype, in which it computes."""
        return next(parameter.dtype for parameter in self.base_model.parameters() if parameter.is_floating_point())

    @property
    def is_quantized(self) -> bool:
        """Whether the base's linear layers are kept in 4 or 8 bits."""
        return self.quantization is not None

    @property
    def is_loaded_in_4bit(self) -> bool:
        """Whether they are kept in 4 bits."""
        return self.quantization is not None and self.quantization.load_in_4bit

    @property
    def is_loaded_in_8bit(self) -> bool:
        """Whether they are kept in 8 bits."""
        return self.quantization is not None and self.quantization.load_in_8bit

    # The base's identity --------------------------------------------------------------------------------------

    def base_tensors(self) -> dict[str, Tensor]:
        """Give the encoder's parameters that the base checkpoint provided, with the base's own values.

        What is merged into them is left out; where values are trained, or an adapter has its own, the base's are
        given. A pooler is no part of it: only some heads build one.
        """
        record = self.base_record
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        kept = {name: value for name, value in record.kept.items() if name in trained | record.adapted}
        shown = self.state_dict()  # it never shows what is merged
        names = [name for name in record.dtypes or {} if name in shown and self.identifies_base(name)]
        return {name: kept.get(name, shown[name]) for name in names}

    def identifies_base(self, name: str) -> bool:
        """Say whether a parameter is of the encoder, without a pooler, which belongs to a head; by its name."""
        pooler = f"{self.base_model_prefix}.pooler."
        return self.is_base_parameter(name) and not self.name_with_head(name).startswith(pooler)

    def name_with_head(self, name: str) -> str:
        """Give a parameter's name in a model with a head, so that the bare encoder is the same base."""
        return name if self.has_head or not self.base_model_prefix else f"{self.base_model_prefix}.{name}"

    def hash_base(self, tensors: Mapping[str, Tensor]) -> str:
        """Hash the base's tensors in the dtypes of the checkpoint.

        Args:
            tensors: Under this model's names; those that do not identify a base are left out.
        """
        return hash_digests(self.digest_base(tensors))

    def digest_base(self, tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Digest some of the tensors of which `hash_base` makes the hash; arguments as there."""
        dtypes = self.base_record.dtypes or {}
        return digest_tensors(
            {
                self.name_with_head(name): tensor.detach().to(dtypes.get(name, tensor.dtype))
                for name, tensor in tensors.items()
                if self.identifies_base(name)
            }
        )

    def base_sha256(self) -> str | None:
        """Give the hash of the base as it is now; None where no checkpoint was read.

        Whoever changed base weights since they were loaded, by whatever way, made another base of them.
        """
        record = self.base_record
        if record.dtypes is None:
            return None
        tensors = self.base_tensors()
        if record.sha256 is None:
            record.settle(self.hash_base(tensors), tensors)
        return self.hash_base(tensors) if record.changed(tensors) else record.sha256

    def keep_base_values(self, names: Iterable[str]) -> None:
        """Remember the checkpoint's values of base parameters that are about to be trained or written over."""
        record = self.base_record
        for name in names:
            if record.provides(name) and name not in record.kept:
                record.kept[name] = nn.Parameter(self.get_parameter(name).detach().clone(), requires_grad=False)

    # Moving and casting ---------------------------------------------------------------------------------------

    def cast_base(self, cast: Callable[[], None], *, loses: bool) -> None:
        """Move or cast base parameters without making another base of them.

        Args:
            cast: Does it.
            loses: Whether values are rounded, so that the checkpoint's hash must be taken before.
        """
        record = self.base_record
        if loses:
            self.base_sha256()
        if record.sha256 is not None:
            record.forget(record.changed(self.base_tensors()))
        cast()
        if record.sha256 is not None:
            record.follow_cast(self.base_tensors())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or cast the base's own values that wait with the model, and keep the record true.

        Raises:
            ValueError: If it is a cast, and the base is kept in 4 or 8 bits. Nothing is changed then.
        """
        refuse_cast([layer for _, layer in quantized_layers(self)], fn)
        self.cast_base(lambda: self._apply_to_all(fn, recurse), loses=self._loses(fn))
        return self

    def _apply_to_all(self, fn: Callable[[Tensor], Tensor], recurse: bool) -> None:
        super()._apply(fn, recurse)
        done = {id(tensor) for tensor in (*self.parameters(), *self.buffers())}
        for tensor in self._waiting_tensors():
            if id(tensor) not in done:
                done.add(id(tensor))
                tensor.data = fn(tensor.data)

    def _waiting_tensors(self) -> Iterable[Tensor]:
        """Give the parameters and buffers that belong to the model but are not in place."""
        return self.base_record.kept.values()

    def _loses(self, fn: Callable[[Tensor], Tensor]) -> bool:
        """Say whether a function on tensors, such as the one behind ``half()``, rounds this model's values."""
        dtypes = {parameter.dtype for parameter in self.parameters() if parameter.is_floating_point()}
        return any(fn(torch.empty(0, dtype=dtype)).dtype.itemsize < dtype.itemsize for dtype in dtypes)
