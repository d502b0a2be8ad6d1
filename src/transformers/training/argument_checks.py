"""What no training could work with, refused in words before anything is loaded."""

from __future__ import annotations

import math
import os

import torch

from ..layers.quantized import require_bitsandbytes
from ..trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
from .argument_fields import ArgumentFields
from .deepspeed_config import check_deepspeed
from .eight_bit import EIGHT_BIT

__all__ = ["check_training_arguments"]


def check_training_arguments(args: ArgumentFields) -> None:
    """Refuse values that cannot work.

    Raises:
        ValueError: Naming the argument, its value, and what would work.
    """
    _check_numbers(args)
    _check_strategies(args)
    _check_precision(args)
    _check_left_out(args)
    _check_graphs(args)
    if args.past_index != -1:
        raise ValueError("past_index: the models here keep no past states; leave it at -1.")
    if not args.save_safetensors:
        raise ValueError("save_safetensors=False: this package writes no pickles; leave it at True.")
    _check_sharing(args)


_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "train_tokens_per_batch": 1,
    "gradient_accumulation_steps": 1,
    "eval_accumulation_steps": 1,
    "save_total_limit": 0,
    "dataloader_num_workers": 0,
    "num_threads": 1,
    "ddp_timeout": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "adam_epsilon": 0,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "eval_delay": 0,
}
_SHARES = ("warmup_ratio", "label_smoothing_factor", "adam_beta1", "adam_beta2", "cls_dropout")


def _check_numbers(args: ArgumentFields) -> None:
    for name, least in _LEAST.items():
        value = getattr(args, name)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name} is {value}; it must be at least {least}.")
    for name in _SHARES:
        value = getattr(args, name)
        if value is not None and not (0 <= value < 1 or (name == "warmup_ratio" and value == 1)):
            raise ValueError(f"{name} is {value}; it must be at least 0 and below 1.")
    for name in ("logging_steps", "eval_steps", "save_steps"):
        value = getattr(args, name)
        if value is not None and not (0 < value < 1 or (value >= 1 and float(value).is_integer())):
            raise ValueError(
                f"{name} is {value}; it must be a whole number of steps, or a share of all between 0 and 1."
            )
    if args.warmup_steps > 1 and args.warmup_steps != int(args.warmup_steps):
        raise ValueError(f"warmup_steps is {args.warmup_steps}; it must be a whole number, or a share below 1.")
    if args.max_steps <= 0 and not 0 <= args.num_train_epochs <= 1e9:
        raise ValueError(f"num_train_epochs is {args.num_train_epochs}; it must be from 0 to 1e9, or set max_steps.")


def _check_strategies(args: ArgumentFields) -> None:
    if args.load_best_model_at_end and args.evaluation_strategy == IntervalStrategy.NO:
        raise ValueError(
            "load_best_model_at_end needs evaluations to compare: set evaluation_strategy to 'steps' or 'epoch'."
        )
    if args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU and args.evaluation_strategy == IntervalStrategy.NO:
        raise ValueError(
            "lr_scheduler_type reduce_lr_on_plateau moves by evaluations: set evaluation_strategy to 'steps' or "
            "'epoch'."
        )
    if args.save_strategy == SaveStrategy.BEST and (
        args.evaluation_strategy == IntervalStrategy.NO or args.metric_for_best_model is None
    ):
        raise ValueError(
            "save_strategy 'best' needs evaluations to compare, and what 'best' means: set evaluation_strategy to "
            "'steps' or 'epoch', and metric_for_best_model."
        )
    unknown = set(args.include_for_metrics or ()) - {"inputs", "loss"}
    if unknown:
        raise ValueError(f"include_for_metrics names '{min(unknown)}'; it may hold inputs and loss.")


def _check_graphs(args: ArgumentFields) -> None:
    if not args.cuda_graphs:
        return
    if args.no_cuda or not torch.cuda.is_available():
        raise ValueError("cuda_graphs needs a GPU, and there is none here; leave it out.")
    for name in ("gradient_checkpointing", "deepspeed", "fsdp"):
        if getattr(args, name):
            raise ValueError(f"cuda_graphs and {name} do not go together; leave one of them out.")


_LEFT_OUT = {
    "tpu_num_cores": "there are no TPUs here",
    "tpu_metrics_debug": "there are no TPUs here",
    "debug": "there are no TPUs here, which is what it is about",
    "sharded_ddp": "fairscale is not used here; see fsdp and deepspeed",
}


def _check_left_out(args: ArgumentFields) -> None:
    """Take the neutral values of what 4.4.2 could do and this package cannot, as its JSON files hold them."""
    for name, reason in _LEFT_OUT.items():
        value = getattr(args, name)
        if value:
            raise ValueError(f"{name} is {value!r}: {reason}. Leave it out.")


def _check_sharing(args: ArgumentFields) -> None:
    words = args.fsdp.split()
    kinds = [word for word in words if word in ("full_shard", "shard_grad_op")]
    if words and (len(kinds) != 1 or set(words) - {*kinds, "auto_wrap"}):
        raise ValueError(f"fsdp is '{args.fsdp}'; full_shard or shard_grad_op was expected (layers are the units).")
    if args.optim in EIGHT_BIT:
        require_bitsandbytes()
    if (words or args.deepspeed is not None) and args.optim in EIGHT_BIT:
        what = "fsdp" if words else "deepspeed"
        raise ValueError(f"{what} and optim {args.optim} do not go together; use adamw_torch.")
    if words and (args.fp16 or args.optim == "adafactor"):
        what = "fp16" if args.fp16 else "adafactor"
        raise ValueError(f"fsdp and {what} do not go together; use {'bf16' if args.fp16 else 'adamw_torch'}.")
    if args.deepspeed is not None:
        check_deepspeed(args)


def _check_precision(args: ArgumentFields) -> None:
    if args.fp16 and args.bf16:
        raise ValueError("fp16 and bf16 are both set; choose one of them (bf16 is the safer one).")
    if args.fp16_backend not in ("auto", "amp"):
        raise ValueError(f"fp16_backend is '{args.fp16_backend}'; only PyTorch's own, 'amp', is offered.")
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")  # set by `accelerate launch`
    if launched in ("fp16", "bf16") and not getattr(args, launched):
        raise ValueError(f"accelerate launch was told --mixed_precision {launched}; give --{launched} to the script.")
    for name in ("fp16", "fp16_full_eval"):
        if getattr(args, name) and (args.no_cuda or not torch.cuda.is_available()):
            better = name.replace("fp16", "bf16")
            raise ValueError(f"{name} needs a GPU, and there is none here; use --{better}, which CPUs can do too.")
