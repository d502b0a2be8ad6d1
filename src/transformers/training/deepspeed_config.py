"""DeepSpeed's configuration file beside the Trainer's flags: what says ``"auto"`` is filled in from them.

A value that contradicts the flags is refused, since one of the two would be ignored.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..utils.json_files import LARGEST, parse_json, read_bytes
from .argument_fields import ArgumentFields
from .devices import launched_processes
from .shapes import DEEPSPEED

__all__ = ["check_deepspeed", "fill_config", "read_config"]

AUTO = "auto"
_SCHEDULES = {"WarmupLR": "constant_with_warmup", "WarmupDecayLR": "linear", "WarmupCosineLR": "cosine"}


def check_deepspeed(args: ArgumentFields) -> None:
    """Refuse a configuration that cannot be read, is not offered, or contradicts the flags.

    Raises:
        ValueError: Naming the entry of the configuration and the flag.
    """
    if args.fsdp:
        raise ValueError("deepspeed and fsdp are both set; they do the same work, choose one of them.")
    if args.optim not in ("adamw_torch", "sgd"):
        raise ValueError(
            f"optim '{args.optim}' does not work under DeepSpeed, which updates flat slices of the weights; choose "
            "adamw_torch or sgd."
        )
    config = read_config(args.deepspeed)
    for flag, path, expected in _entries(args):
        found = _get(config, path)
        if found not in (None, AUTO) and expected is not None and not _equal(found, expected):
            raise ValueError(
                f"The DeepSpeed configuration says {'.'.join(path)} = {json.dumps(found)}, but {flag} is "
                f'{json.dumps(expected)}. Make the two agree, or write "auto" into {_name(args.deepspeed)}.'
            )
    _check_sections(config, args)
    if importlib.util.find_spec("deepspeed") is None:
        raise ValueError("deepspeed is not installed: pip install 'deepspeed>=0.19,<0.20', or leave --deepspeed out.")


def read_config(source: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Read a configuration.

    Args:
        source: A JSON file, or what it would hold.

    Raises:
        ValueError: If there is no such file, or it holds no JSON object.
    """
    if isinstance(source, Mapping):
        config = copy.deepcopy(dict(source))
        DEEPSPEED.check(config, "The DeepSpeed configuration")
        return config
    name = f"The DeepSpeed configuration '{source}'"
    try:
        config = parse_json(read_bytes(Path(str(source)).expanduser(), LARGEST).decode("utf-8"), name)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{name} must be a JSON object.")
    DEEPSPEED.check(config, name)
    return config


def fill_config(args: ArgumentFields, hidden_size: int | None = None) -> dict[str, Any]:
    """Give the configuration for DeepSpeed: every ``"auto"`` filled in, and what the Trainer decides put in.

    The optimizer and the schedule are the Trainer's own, so that their sections (which agree with the flags) are
    left out, and with them the compilation of DeepSpeed's optimizers.

    Args:
        args: The flags.
        hidden_size: Width of the model, from which ZeRO-3's buffers follow.

    Raises:
        ValueError: If an ``"auto"`` stands where there is nothing to fill in.
    """
    config = read_config(args.deepspeed)
    config.pop("optimizer", None)
    config.pop("scheduler", None)
    for _, path, expected in _entries(args):
        if path[0] not in ("optimizer", "scheduler"):
            _set(config, path, expected)
    width = hidden_size or 1024
    zero = config.setdefault("zero_optimization", {})
    for name, value in (
        ("reduce_bucket_size", width * width),
        ("stage3_prefetch_bucket_size", width * width * 9 // 10),
        ("stage3_param_persistence_threshold", 10 * width),
    ):
        if zero.get(name) == AUTO:
            zero[name] = value
    config.setdefault("zero_allow_untested_optimizer", True)
    config.setdefault("zero_force_ds_cpu_optimizer", False)
    config.setdefault("steps_per_print", 2**31)
    left = [".".join(path) for path in _find_auto(config)]
    if left:
        raise ValueError(
            f'The DeepSpeed configuration says "auto" for {left[0]}, which no flag decides; give a value.'
        )
    return config


def _entries(args: ArgumentFields) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Give every entry that a flag decides: the flag, the entry's path, and the value (None if not yet known)."""
    processes = launched_processes()  # the process group is not there yet when flags are checked
    total = args.per_device_train_batch_size * processes * args.gradient_accumulation_steps
    whole = f"the global batch (per_device_train_batch_size x {processes} processes x gradient_accumulation_steps)"
    yield "per_device_train_batch_size", ("train_micro_batch_size_per_gpu",), args.per_device_train_batch_size
    yield "gradient_accumulation_steps", ("gradient_accumulation_steps",), args.gradient_accumulation_steps
    yield whole, ("train_batch_size",), total
    yield "max_grad_norm", ("gradient_clipping",), args.max_grad_norm
    yield "fp16", ("fp16", "enabled"), args.fp16
    yield "bf16", ("bf16", "enabled"), args.bf16
    optimizer, schedule = ("optimizer", "params"), ("scheduler", "params")
    yield "learning_rate", (*optimizer, "lr"), args.learning_rate
    yield "adam_beta1, adam_beta2", (*optimizer, "betas"), [args.adam_beta1, args.adam_beta2]
    yield "adam_epsilon", (*optimizer, "eps"), args.adam_epsilon
    yield "weight_decay", (*optimizer, "weight_decay"), args.weight_decay
    yield "learning_rate", (*schedule, "warmup_max_lr"), args.learning_rate
    yield "the start of the warm-up", (*schedule, "warmup_min_lr"), 0
    steps = args.max_steps if args.max_steps > 0 else "what num_train_epochs gives"
    yield "max_steps", (*schedule, "total_num_steps"), steps
    share = args.warmup_steps < 1 and (args.warmup_steps > 0 or args.warmup_ratio > 0)
    warmup = "a share of all steps" if share and args.max_steps <= 0 else args.get_warmup_steps(args.max_steps)
    yield "the warm-up", (*schedule, "warmup_num_steps"), warmup


def _check_sections(config: dict[str, Any], args: ArgumentFields) -> None:
    """Refuse an optimizer or schedule other than the one that the flags name."""
    kind = _get(config, ("optimizer", "type"))
    if kind is not None and (str(kind).lower() not in ("adam", "adamw") or args.optim != "adamw_torch"):
        raise ValueError(
            f"The DeepSpeed configuration says optimizer.type = {json.dumps(kind)}, but optim is '{args.optim}'. The "
            "Trainer's own optimizer is used; leave the section out, or take AdamW in both."
        )
    kind = _get(config, ("scheduler", "type"))
    if kind is not None and _SCHEDULES.get(str(kind)) != args.lr_scheduler_type:
        raise ValueError(
            f"The DeepSpeed configuration says scheduler.type = {json.dumps(kind)}, but lr_scheduler_type is "
            f"'{args.lr_scheduler_type!s}'. The Trainer's own schedule is used; leave the section out."
        )
    stage = _get(config, ("zero_optimization", "stage"))
    if stage not in (1, 2, 3):
        raise ValueError(
            f"The DeepSpeed configuration says zero_optimization.stage = {json.dumps(stage)}; 1, 2 or 3 was expected "
            "(without sharing, leave --deepspeed out)."
        )
    for part in ("offload_optimizer", "offload_param"):
        if _get(config, ("zero_optimization", part, "device")) == "nvme":
            raise ValueError(f'zero_optimization.{part}.device = "nvme" is not offered; take "cpu" or "none".')
    if _get(config, ("amp", "enabled")):
        raise ValueError("The DeepSpeed configuration asks for NVIDIA Apex (amp); use fp16 or bf16 instead.")


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(_equal, found, expected))
    if isinstance(expected, bool) or isinstance(found, bool):
        return found is expected
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=1e-9)
    return bool(found == expected)


def _get(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = config
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _set(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        config = config.setdefault(name, {})
    config[path[-1]] = value


def _find_auto(config: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _find_auto(value, (*path, name))
        elif value == AUTO:
            yield (*path, name)


def _name(source: Any) -> str:
    return "the configuration" if isinstance(source, Mapping) else f"'{source}'"
