"""What the files of an adapter's folder hold, as far as loading relies on it."""

from __future__ import annotations

from ..utils.shapes import Anything, Flag, ListOf, MapOf, OneOf, Real, Record, Shape, Text, Whole, optional

__all__ = ["HEAD_CONFIG", "LORA_METADATA", "PART_METADATA", "PEFT_CONFIG"]

_RANK, _ALPHA, _RATE = Whole(1, 65_536), Real(above=0), Real(0, below=1)

PEFT_CONFIG = Record(
    {
        "base_model_name_or_path": optional(Text()),
        "bias": Text(("none", "all", "lora_only")),
        "lora_alpha": _ALPHA,
        "lora_dropout": _RATE,
        "peft_type": Text(),
        "r": _RANK,
        "modules_to_save": optional(ListOf(Text())),
        "target_modules": Anything(),  # `read_peft_config` says what it may be
        "task_type": optional(Text()),
    },
    required=("lora_alpha", "peft_type", "r", "target_modules"),
)
"""``adapter_config.json``; which of PEFT's other fields may be set, `read_peft_config` says."""

_METADATA: dict[str, Shape] = {
    "architecture": optional(Text()),
    "base_model_name_or_path": Text(),
    "base_sha256": optional(Text()),
    "finetuning_task": optional(Text()),
    "format_version": Whole(1, 1),
    "id2label": MapOf(Anything()),  # `check_metadata` sees to it that each class has a name
    "label2id": MapOf(Whole(0)),
    "lora_position_query": optional(Flag()),
    "lora_options": MapOf(Anything()),  # which have checks of their own
    "other_bases": ListOf(MapOf(Text())),
    "quantization": optional(MapOf(Anything())),  # `BitsAndBytesConfig` has checks of its own
    "parameters": ListOf(Text()),
    "problem_type": optional(Text()),
    "weights_sha256": Text(),
}
_NEEDED = ("base_model_name_or_path", "base_sha256", "finetuning_task", "id2label", "problem_type", "weights_sha256")

LORA_METADATA = Record(
    {
        **_METADATA,
        "lora_alpha": _ALPHA,
        "lora_dropout": _RATE,
        "lora_r": _RANK,
        "target_modules": optional(OneOf((Text(), ListOf(Text())))),
    },
    required=(*_NEEDED, "lora_alpha", "lora_r"),
)
"""``lora_metadata.json``."""

_METHODS = Record(
    {
        **dict.fromkeys(("apply_lora", "apply_adapter", "apply_bitfit"), Flag()),
        "adapter_type": optional(Text()),
        "adapter_size": optional(Whole(1, 65_536)),
    },
    required=("apply_lora", "apply_adapter", "adapter_type", "adapter_size", "apply_bitfit"),
    others=None,
)

PART_METADATA = Record(
    {
        **_METADATA,
        "lora_alpha": optional(_ALPHA),
        "lora_dropout": _RATE,
        "lora_r": optional(_RANK),
        "methods": _METHODS,
    },
    required=(*_NEEDED, "lora_alpha", "lora_dropout", "lora_position_query", "lora_r", "methods"),
)
"""``trained_model.json``."""

HEAD_CONFIG = Record({"config": optional(Record({"label2id": optional(MapOf(Whole(0)))}))})
"""``head_config.json`` of AdapterHub."""
