"""The options of LoRA beside rank, alpha and dropout: where it goes in, what is trained beside it, how it starts.

One table says which there are and what switches each off. They are fields of the configuration like any other, so they
come from the command line, stand in ``config.json``, and belong to each adapter. `docs/lora_options.md` says when
which of them helps.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

from .fields import MethodFields

__all__ = [
    "ADAPTER_FIELDS",
    "ALL_LINEAR",
    "LORA_OPTIONS",
    "MEANING_OPTIONS",
    "PEFT_NAMES",
    "PLACE_OPTIONS",
    "check_lora_options",
    "check_start",
    "nearest",
    "start_takes_from_base",
]

ALL_LINEAR = "all-linear"

# Each option at the value that switches it off.
LORA_OPTIONS: dict[str, Any] = {
    "lora_target_modules": None,
    "lora_exclude_modules": None,
    "lora_layers_to_transform": None,
    "lora_layers_pattern": None,
    "lora_bias": "none",
    "lora_modules_to_save": None,
    "lora_rank_pattern": {},
    "lora_alpha_pattern": {},
    "lora_use_rslora": False,
    "lora_use_dora": False,
    "lora_init": "default",
    "lora_plus_lr_ratio": None,
}

# Those that say where LoRA goes in.
PLACE_OPTIONS = (
    "lora_target_modules",
    "lora_exclude_modules",
    "lora_layers_to_transform",
    "lora_layers_pattern",
)

# Those without which an adapter's matrices mean something else, as its alpha.
MEANING_OPTIONS = ("lora_rank_pattern", "lora_alpha_pattern", "lora_use_rslora", "lora_use_dora")

# PEFT's names of those that it has under a name of its own, with the same values.
PEFT_NAMES = {
    "exclude_modules": "lora_exclude_modules",
    "layers_to_transform": "lora_layers_to_transform",
    "layers_pattern": "lora_layers_pattern",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
    "use_rslora": "lora_use_rslora",
    "use_dora": "lora_use_dora",
}

# What each adapter puts into a model's configuration when it is the active one, beside its labels.
ADAPTER_FIELDS = ("lora_r", "lora_alpha", "lora_dropout", *LORA_OPTIONS)

_BIASES = ("none", "all", "lora_only")
_STARTS = ("default", "gaussian", "orthogonal", "pissa", "olora")  # and pissa_niter_N
_PISSA_NITER = re.compile(r"pissa_niter_[1-9]\d*")
_NAMES = ("lora_target_modules", "lora_exclude_modules", "lora_layers_pattern", "lora_modules_to_save")
_SWITCHES = ("lora_use_rslora", "lora_use_dora")


def check_lora_options(config: MethodFields) -> None:
    """Check the options of LoRA by themselves; whether they fit a model, its layers tell.

    Args:
        config: Any.

    Raises:
        ValueError: If one has a value that means nothing, contradicts another, or is set without ``apply_lora``.
    """
    used = [name for name, off in LORA_OPTIONS.items() if getattr(config, name) not in (off, None)]
    if used and not config.apply_lora:
        raise ValueError(f"{used[0]} is set, but apply_lora is not: it would be without effect. Set apply_lora too.")
    for name in _NAMES:
        _check_names(name, getattr(config, name))
    for name in _SWITCHES:
        if not isinstance(getattr(config, name), bool):
            raise ValueError(f"{name} is {getattr(config, name)!r}; true or false was expected.")
    if config.lora_bias not in _BIASES:
        raise ValueError(f"lora_bias is {config.lora_bias!r}; {', '.join(_BIASES)} were expected.")
    _check_layers(config)
    _check_pattern("lora_rank_pattern", config.lora_rank_pattern, whole=True)
    _check_pattern("lora_alpha_pattern", config.lora_alpha_pattern, whole=False)
    _check_start(config)
    ratio = config.lora_plus_lr_ratio
    if ratio is not None and not _is_positive(ratio):
        raise ValueError(
            f"lora_plus_lr_ratio is {ratio!r}; a positive number (16, say) was expected, or None for one rate."
        )


def start_takes_from_base(lora_init: str) -> bool:
    """Say whether a start takes a part out of the base's weights, which the adapter then carries."""
    return lora_init.startswith(("pissa", "olora"))


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the end of a message: the known names that are most like a name that is not known.

    Args:
        name: What was asked for.
        known: What there is.
    """
    known = sorted(set(known))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:6]
    return f"The nearest names are {', '.join(close)}." if close else "There are none."


def _check_names(name: str, value: object) -> None:
    """Check what is a pattern, or a list of names."""
    if value is None:
        return
    as_text = name != "lora_modules_to_save"
    if isinstance(value, str) and as_text and value:
        if value != ALL_LINEAR:
            _compile(name, value)
        return
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(each, str) and each for each in value):
        expected = "a regular expression or a list of names" if as_text else "a list of names"
        raise ValueError(f"{name} is {value!r}; {expected} was expected, or None.")


def _compile(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}.") from error


def _check_layers(config: MethodFields) -> None:
    layers = config.lora_layers_to_transform
    if layers is None:
        if config.lora_layers_pattern is not None:
            raise ValueError(
                "lora_layers_pattern is set, but lora_layers_to_transform is not: it says where layers' numbers stand."
            )
        return
    numbers = [layers] if isinstance(layers, int) else layers
    whole = isinstance(numbers, (list, tuple)) and all(
        isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in numbers
    )
    if not whole or not numbers:
        raise ValueError(
            f"lora_layers_to_transform is {layers!r}; a layer's number from 0 on, or a list, was expected."
        )
    targets = config.lora_target_modules
    if isinstance(targets, str) and targets != ALL_LINEAR:
        raise ValueError(
            "lora_layers_to_transform and a regular expression as lora_target_modules exclude each other, as in PEFT: "
            "let the expression choose the layers, or give a list of names."
        )


def _check_pattern(name: str, value: object, *, whole: bool) -> None:
    """Check a mapping of names, or of patterns, to numbers."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}; a mapping of names to numbers was expected, {{}} for none.")
    for key, number in value.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"{name}: {key!r} is no name of a layer.")
        _compile(name, key)
        if not _is_positive(number) or (whole and not isinstance(number, int)):
            expected = "a positive whole number" if whole else "a positive number"
            raise ValueError(f"{name}: {number!r} for {key!r}; {expected} was expected.")


def check_start(name: str, value: object) -> None:
    """Refuse a start that is not offered.

    Args:
        name: What the field is called.
        value: Its value.

    Raises:
        ValueError: If there is no such start.
    """
    known = isinstance(value, str) and (value in _STARTS or _PISSA_NITER.fullmatch(value) is not None)
    if not known:
        raise ValueError(
            f"{name} is {value!r}; one of {', '.join(_STARTS)}, pissa_niter_N was expected (N a number of "
            "iterations). PEFT's other starts (eva, corda, loftq, lora_ga, …) are not part of this package."
        )


def _check_start(config: MethodFields) -> None:
    start = config.lora_init
    check_start("lora_init", start)
    ranks = [config.lora_r, *config.lora_rank_pattern.values()]
    if start == "orthogonal" and any(isinstance(r, int) and r % 2 for r in ranks):
        raise ValueError(f"lora_init 'orthogonal' shares the rank between A and B, so it must be even, not {ranks}.")
    if config.lora_use_dora and start_takes_from_base(start):
        raise ValueError(
            f"lora_use_dora and lora_init '{start}' exclude each other: what {start} takes out of the base could not "
            "be saved as an adapter of the published base. Take one of them."
        )


def _is_positive(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]
