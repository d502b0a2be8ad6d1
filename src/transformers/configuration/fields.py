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
        lora_target_modules: Where LoRA goes in: endings of layers' paths, a regular expression for whole paths, or
            ``"all-linear"`` for all linear layers of the encoder; None for `lora_targets`.
        lora_exclude_modules: Endings, or a regular expression, of layers that get none all the same.
        lora_layers_to_transform: Numbers of the layers that get LoRA; None for all.
        lora_layers_pattern: What stands in front of a layer's number in its path, such as ``"layer"``.
        lora_bias: Which biases of the encoder are trained too: ``"none"``, ``"all"``, or ``"lora_only"`` for those of
            LoRA layers.
        lora_modules_to_save: Endings of the encoder's modules that are trained in full, such as ``["LayerNorm"]``.
        lora_rank_pattern: Ranks of chosen layers, by the ending of the path or a regular expression for it.
        lora_alpha_pattern: Their alphas, likewise.
        lora_use_rslora: Scale by ``alpha / sqrt(r)`` (Kalajdzievski, 2023) rather than ``alpha / r``.
        lora_use_dora: Train the length of each output's weights apart from their direction (Liu et al., 2024).
        lora_init: How LoRA starts: ``"default"`` (`lora_initialization`), ``"gaussian"``, ``"orthogonal"``,
            ``"pissa"``, ``"pissa_niter_4"`` and such, or ``"olora"``.
        lora_plus_lr_ratio: How many times faster ``lora_B`` learns than ``lora_A`` (LoRA+: Hayou et al., 2024).
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
    lora_target_modules: str | list[str] | None
    lora_exclude_modules: str | list[str] | None
    lora_layers_to_transform: int | list[int] | None
    lora_layers_pattern: str | list[str] | None
    lora_bias: str
    lora_modules_to_save: list[str] | None
    lora_rank_pattern: dict[str, int]
    lora_alpha_pattern: dict[str, float]
    lora_use_rslora: bool
    lora_use_dora: bool
    lora_init: str
    lora_plus_lr_ratio: float | None
    apply_adapter: bool
    adapter_type: str | None
    adapter_size: int | None
    adapter_path: str | None
    apply_bitfit: bool
    consistency: str | None
    reg_loss_wgt: float
    masking_prob: float
