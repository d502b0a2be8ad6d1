"""Checks of the configuration's fields for LoRA, bottleneck adapters and consistency training."""

from __future__ import annotations

import math
from typing import Any

from .fields import MethodFields

__all__ = [
    "ADAPTER_TYPES",
    "CONSISTENCY_KINDS",
    "NEUTRAL_FIELDS",
    "check_bottleneck",
    "check_classifies",
    "check_consistency",
    "check_encoder_only",
    "check_lora",
    "masking_ids",
]

ADAPTER_TYPES = ("houlsby", "pfeiffer")
CONSISTENCY_KINDS = ("cutoff", "rdrop")

# Fields of 4.4.2's configurations that code of its time reads, at their defaults there. Of no effect here are
# use_cache and task_specific_params, and chunk_size_feed_forward, which changes memory alone.
NEUTRAL_FIELDS: dict[str, Any] = {
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "gradient_checkpointing": False,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "task_specific_params": None,
    "torchscript": False,
    "use_cache": True,
}

# Those of them that would make another model of an encoder, and what to say.
_ENCODER_ONLY = {
    "add_cross_attention": "its layers attend to their own text only",
    "is_decoder": "its tokens see each other in both directions",
    "is_encoder_decoder": "there is no decoder",
    "position_embedding_type": "it has the published models' positions only",
    "pruned_heads": "no heads can be left out; mask them with head_mask",
}


def check_encoder_only(config: MethodFields, *, may_decode: bool = False) -> None:
    """Refuse a configuration that asks this package's encoders to be something else.

    Args:
        config: That of an encoder.
        may_decode: Allow ``is_decoder``: each token may see itself and those before it alone.

    Raises:
        ValueError: If a field has a value that would be without effect, silently.
    """
    for name, reason in _ENCODER_ONLY.items():
        value = getattr(config, name, NEUTRAL_FIELDS[name])
        if value != NEUTRAL_FIELDS[name] and not (may_decode and name == "is_decoder"):
            raise ValueError(
                f"{name} is {value!r}, but this package's '{config.model_type}' is an encoder: {reason}. Only "
                f"{NEUTRAL_FIELDS[name]!r} is possible."
            )


def check_lora(config: MethodFields) -> tuple[int, float]:
    """Check the LoRA fields.

    Args:
        config: With ``apply_lora``.

    Returns:
        ``lora_r`` and ``lora_alpha``.

    Raises:
        ValueError: If the model type has no places for LoRA layers, or a field is missing or out of range.
    """
    if not config.lora_targets:
        raise ValueError(
            f"apply_lora is set, but model type '{config.model_type}' has no places for LoRA layers: it would be "
            "trained in full, silently. Model types with LoRA: roberta, deberta-v2."
        )
    r, alpha = config.lora_r, config.lora_alpha
    if isinstance(r, bool) or not isinstance(r, int) or r <= 0:
        raise ValueError(f"lora_r is {r!r}; with apply_lora a positive whole number (say 8) is needed.")
    number = isinstance(alpha, (int, float)) and not isinstance(alpha, bool)
    if not number or alpha is None or not math.isfinite(alpha) or alpha <= 0:
        raise ValueError(
            f"lora_alpha is {alpha!r}; with apply_lora a positive number was expected (the scaling is "
            "lora_alpha / lora_r; the published RoBERTa adapters use 16 with r = 8)."
        )
    return r, alpha


def check_bottleneck(config: MethodFields) -> tuple[str, int]:
    """Check the fields of bottleneck adapters.

    Args:
        config: With ``apply_adapter``.

    Returns:
        ``adapter_type`` and ``adapter_size``.

    Raises:
        ValueError: If the model type has no places for them, or a field is missing or out of range.
    """
    if not config.takes_bottleneck_adapters:
        raise ValueError(
            f"apply_adapter is set, but model type '{config.model_type}' has no places for bottleneck adapters. Model "
            "types with them: roberta, deberta-v2."
        )
    kind, size = config.adapter_type, config.adapter_size
    if kind not in ADAPTER_TYPES:
        raise ValueError(f"adapter_type is {kind!r}; with apply_adapter {' or '.join(ADAPTER_TYPES)} was expected.")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"adapter_size is {size!r}; with apply_adapter a positive whole number was expected (the original offers "
            "8, 16, 32 and 64)."
        )
    return kind, size


def check_consistency(config: MethodFields) -> None:
    """Check the fields of consistency training.

    Args:
        config: Any.

    Raises:
        ValueError: If one is out of range or of no effect beside the others.
    """
    weight, probability = config.reg_loss_wgt, config.masking_prob
    for name, value, limit in (("reg_loss_wgt", weight, math.inf), ("masking_prob", probability, 1)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not 0 <= value <= limit:
            expected = "a number of at least 0" if limit == math.inf else "a number from 0 to 1"
            raise ValueError(f"{name} is {value!r}; {expected} was expected.")
    if config.consistency not in (None, *CONSISTENCY_KINDS):
        raise ValueError(
            f"consistency is {config.consistency!r}; {' or '.join(CONSISTENCY_KINDS)} was expected, or None for plain "
            "training."
        )
    if config.consistency is None and probability > 0:
        raise ValueError(
            f"masking_prob is {probability}, but reg_loss_wgt is 0, so no token would be masked: consistency training "
            "is off. Set reg_loss_wgt too (the original uses 1.0)."
        )
    if config.consistency == "rdrop" and probability > 0:
        raise ValueError(
            f"masking_prob is {probability}, but R-Drop masks no token: its two passes differ in dropout alone. Take "
            "consistency 'cutoff', or masking_prob 0."
        )


def check_classifies(config: MethodFields) -> None:
    """Refuse consistency training where it means nothing, and where the ids are unknown that it needs.

    Args:
        config: That of a sequence classifier.

    Raises:
        ValueError: If it is set for anything but one class of several, or tokens are to be masked and the id of the
            unknown, first or separating token is not known.
    """
    if config.consistency is None:
        return
    if config.num_labels == 1 or config.problem_type not in (None, "single_label_classification"):
        problem = config.problem_type or "regression"
        raise ValueError(
            f"consistency is '{config.consistency}', which compares two distributions over classes: it does not apply "
            f"to {problem.replace('_', ' ')}. Leave out consistency, reg_loss_wgt and masking_prob."
        )
    if config.masking_prob > 0:
        masking_ids(config)


def masking_ids(config: MethodFields) -> dict[str, int]:
    """Give the ids that masking needs: ``cls_token_id``, ``sep_token_id``, ``pad_token_id`` and ``unk_token_id``.

    Args:
        config: Any.

    Raises:
        ValueError: If one is not known.
    """
    ids = {}
    for name in ("cls_token_id", "sep_token_id", "pad_token_id", "unk_token_id"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(
                f"config.{name} is {value!r}; with masking_prob above 0 the tokenizer's {name} is needed, to know "
                "what to mask and with what."
            )
        ids[name] = value
    return ids
