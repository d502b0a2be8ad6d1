"""The flags of LoRA's options, one for each field of the configuration; see `docs/lora_options.md`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from typing import Any

from transformers.configuration.lora_options import LORA_OPTIONS

__all__ = ["LoraFlags", "lora_option_fields", "lora_option_words"]


@dataclass(kw_only=True)
class LoraFlags:
    """Where LoRA goes in, what is trained beside it, and how it starts and learns."""

    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={
            "help": "LoRA's layers: ends of their names, all-linear, or one expression; query and value if unset."
        },
    )
    lora_exclude_modules: list[str] | None = field(
        default=None, metadata={"help": "Layers that get no LoRA all the same, by the same rules."}
    )
    lora_layers_to_transform: list[int] | None = field(
        default=None, metadata={"help": "Numbers of the layers that get LoRA, from 0 on."}
    )
    lora_layers_pattern: str | None = field(
        default=None, metadata={"help": "What stands in front of a layer's number in names, such as layer."}
    )
    lora_bias: str = field(
        default="none",
        metadata={"help": "Biases that are trained too.", "choices": ["none", "all", "lora_only"]},
    )
    lora_modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules that are trained in full beside LoRA, such as LayerNorm."}
    )
    lora_rank_pattern: str | None = field(
        default=None, metadata={"help": 'Ranks of chosen layers as JSON, such as {"layer.11.*": 16}.'}
    )
    lora_alpha_pattern: str | None = field(default=None, metadata={"help": "Alphas of chosen layers as JSON."})
    lora_use_rslora: bool = field(default=False, metadata={"help": "Scale by lora_alpha / sqrt(lora_r)."})
    lora_use_dora: bool = field(default=False, metadata={"help": "Train lengths and directions of weights apart."})
    lora_init: str = field(
        default="default",
        metadata={"help": "How LoRA starts: default, gaussian, orthogonal, pissa, pissa_niter_4, olora."},
    )
    lora_plus_lr_ratio: float | None = field(
        default=None, metadata={"help": "LoRA+: how many times faster lora_B learns than lora_A (16, say)."}
    )


def lora_option_fields(flags: LoraFlags) -> dict[str, Any]:
    """Give the configuration's fields for the options that are set.

    Args:
        flags: As they were given.

    Raises:
        ValueError: If a pattern is no JSON object.
    """
    given = {each.name: getattr(flags, each.name) for each in fields(LoraFlags)}
    for name in ("lora_target_modules", "lora_exclude_modules"):
        given[name] = _one_expression(given[name])
    for name in ("lora_rank_pattern", "lora_alpha_pattern"):
        given[name] = {} if given[name] is None else _read_json(name, given[name])
    return {name: value for name, value in given.items() if value != LORA_OPTIONS[name]}


def lora_option_words(flags: LoraFlags) -> list[str]:
    """Give the words of a command line that sets the same options.

    Args:
        flags: As they were given.
    """
    words: list[str] = []
    for each in fields(LoraFlags):
        value = getattr(flags, each.name)
        if value == each.default:
            continue
        values = value if isinstance(value, list) else [] if value is True else [value]
        words += [f"--{each.name}", *map(str, values)]
    return words


def _one_expression(words: list[str] | None) -> str | list[str] | None:
    """Give a single word that is no plain name as the expression, or ``all-linear``, that it is."""
    if words is not None and len(words) == 1 and re.fullmatch(r"[\w.]+", words[0]) is None:
        return words[0]
    return words


def _read_json(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--{name} is {text!r}, which is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f'--{name} is {text!r}; a JSON object was expected, such as {{"layer.11.*": 16}}.')
    return value
