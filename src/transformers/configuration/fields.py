"""The fields that say what a run adds to a base, as the checks and the rooms of methods read them."""

from __future__ import annotations

from typing import ClassVar

from .labels import LabelFields

__all__ = ["MethodFields"]


class MethodFields(LabelFields):
    """The part of a configuration that chooses methods; `PretrainedConfig` describes each field.

    Attributes:
        model_type: The model type's name.
        lora_targets: Attribute names of the linear layers of one attention block that become LoRA layers; none where
            the model type has no such places.
        lora_initialization: How ``lora_A`` starts: ``"kaiming_uniform"`` (loralib's own), or ``"normal"`` with
            ``initializer_range``.
        takes_bottleneck_adapters: Whether the model type has places for them.
    """

    model_type: ClassVar[str] = ""
    lora_targets: ClassVar[tuple[str, ...]] = ()
    lora_initialization: ClassVar[str] = "kaiming_uniform"
    takes_bottleneck_adapters: ClassVar[bool] = False

    problem_type: str | None
    apply_lora: bool
    lora_r: int | None
    lora_alpha: float | None
    lora_dropout: float
    apply_adapter: bool
    adapter_type: str | None
    adapter_size: int | None
    adapter_path: str | None
    apply_bitfit: bool
    consistency: str | None
    reg_loss_wgt: float
    masking_prob: float
