"""Optimizers and learning-rate schedules: which parameters decay, and how the rate moves over the steps.

A schedule is a factor on the optimizer's initial learning rate as a function of the step: a straight rise from 0 over
the warm-up, then the shape that gives the schedule its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from .trainer_utils import SchedulerType
from .training.adafactor import Adafactor
from .training.eight_bit import EIGHT_BIT, eight_bit_adamw
from .training.lora_plus import lora_plus_groups, lora_plus_ratio
from .training.parameter_steps import ParameterOptimizer

if TYPE_CHECKING:
    from .training_args import TrainingArguments

__all__ = [
    "TYPE_TO_SCHEDULER_FUNCTION",
    "Adafactor",
    "AdamW",
    "create_optimizer",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_linear_schedule_with_warmup",
    "get_parameter_groups",
    "get_polynomial_decay_schedule_with_warmup",
    "get_reduce_on_plateau_schedule",
    "get_scheduler",
    "own_rates",
    "renew_rates",
    "waits_for_metrics",
]


class AdamW(ParameterOptimizer):
    """AdamW with the arithmetic and the defaults that the name had in Transformers 4.4.2; the Trainer takes PyTorch's.

    With g the gradient, at step t::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g ** 2
        p = p - rate * m / (sqrt(v) + eps)       rate = lr * sqrt(1 - beta2 ** t) / (1 - beta1 ** t), or lr uncorrected
        p = p - lr * weight_decay * p

    PyTorch's differs in two places: ``eps`` is added to the corrected root, and decay comes before the step.

    Args:
        params: Parameters or parameter groups; a group may override any of the following.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: Decoupled weight decay.
        correct_bias: Correct the running means for their start at zero. The original BERT does not (False).

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"{name} is {value}; a number of 0 or more was expected.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}; two numbers of at least 0 and below 1 were expected.")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "correct_bias": correct_bias}
        super().__init__(params, defaults)

    def update_parameter(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Change one parameter as the class says; without the weight decay where that is 0."""
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        rate = group["lr"]
        if group["correct_bias"]:
            rate *= math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-rate)
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])


def create_optimizer(args: TrainingArguments, model: nn.Module) -> Optimizer:
    """Build the optimizer that ``args.optim`` names over the model's trainable parameters.

    Args:
        args: Its ``optim``, learning rate, weight decay and Adam's numbers are read.
        model: The model; its configuration's ``lora_plus_lr_ratio`` gives ``lora_B`` a rate of its own.

    Raises:
        ValueError: If the model has none, or the optimizer needs bitsandbytes, which is not installed.
    """
    ratio = lora_plus_ratio(model)
    if ratio is None:
        groups = get_parameter_groups(model, args.weight_decay)
    else:
        decaying, rate = decaying_parameter_names(model), args.learning_rate
        groups = lora_plus_groups(model, decaying, weight_decay=args.weight_decay, learning_rate=rate, ratio=ratio)
    if not any(group["params"] for group in groups):
        raise ValueError("No parameter of the model is trainable (requires_grad); there is nothing to train.")
    if args.optim == "adafactor":
        return Adafactor(groups, lr=args.learning_rate, scale_parameter=False, relative_step=False)
    if args.optim == "sgd":
        return torch.optim.SGD(groups, lr=args.learning_rate, fused=_fused(args, groups))
    if args.optim in EIGHT_BIT:
        betas = args.adam_beta1, args.adam_beta2
        paged = args.optim == "paged_adamw_8bit"
        return eight_bit_adamw(groups, model, paged=paged, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon)
    return torch.optim.AdamW(
        groups,
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
        fused=True if args.optim == "adamw_torch_fused" else _fused(args, groups),
    )


def _fused(args: TrainingArguments, groups: list[dict[str, Any]]) -> bool | None:
    """Choose a fused kernel on a GPU, where it is one launch for all and leaves out an update by itself.

    Args:
        args: Under DeepSpeed and FSDP the choice is PyTorch's.
        groups: The groups of parameters.

    Returns:
        True, or None for PyTorch's choice.
    """
    shared = bool(args.deepspeed or args.fsdp)
    on_gpu = all(parameter.is_cuda for group in groups for parameter in group["params"])
    return True if on_gpu and not shared else None


def get_parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into those that decay and those that do not.

    Biases and every parameter of a normalisation layer (by class, or by a name such as ``LayerNorm``) do not decay.

    Args:
        model: The model.
        weight_decay: The decay of the first group.

    Returns:
        Two groups, the decaying one first, each with the names of its parameters under ``param_names``. An empty
        group stays, so that the layout of the optimizer's state does not depend on the model.
    """
    decaying = set(decaying_parameter_names(model))
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = []
    for decays in (True, False):
        chosen = [(name, parameter) for name, parameter in named if (name in decaying) is decays]
        groups.append(
            {
                "params": [parameter for _, parameter in chosen],
                "weight_decay": weight_decay if decays else 0.0,
                "param_names": [name for name, _ in chosen],
            }
        )
    return groups


def decaying_parameter_names(model: nn.Module) -> list[str]:
    """Name the parameters that weight decay applies to: all but biases and normalisation layers'."""
    names = []
    for module_name, module in model.named_modules():
        if _is_normalisation(module_name, module):
            continue
        prefix = f"{module_name}." if module_name else ""
        names += [prefix + name for name, _ in module.named_parameters(recurse=False) if not name.endswith("bias")]
    return names


def _is_normalisation(name: str, module: nn.Module) -> bool:
    last = name.rsplit(".", 1)[-1].lower()
    return "norm" in type(module).__name__.lower() or last in ("layernorm", "layer_norm")


def get_constant_schedule(optimizer: Optimizer, last_epoch: int = -1) -> LambdaLR:
    """Keep the learning rate where it is.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        last_epoch: The last step that is done, where a schedule goes on; -1 for a new one.
    """
    return LambdaLR(optimizer, partial(_factor, warmup=0, after=_stay), last_epoch)


def get_constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """Rise to the learning rate over ``num_warmup_steps``, then keep it.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        num_warmup_steps: Steps of the rise.
        last_epoch: The last step that is done, where a schedule goes on; -1 for a new one.
    """
    return LambdaLR(optimizer, partial(_factor, warmup=num_warmup_steps, after=_stay), last_epoch)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rise over the warm-up, then fall in a straight line to 0 at ``num_training_steps``.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        num_warmup_steps: Steps of the rise.
        num_training_steps: Steps altogether, those of the warm-up included.
        last_epoch: The last step that is done, where a schedule goes on; -1 for a new one.
    """
    after = partial(_line, warmup=num_warmup_steps, total=num_training_steps)
    return LambdaLR(optimizer, partial(_factor, warmup=num_warmup_steps, after=after), last_epoch)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rise over the warm-up, then follow ``num_cycles`` waves of a cosine.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        num_warmup_steps: Steps of the rise.
        num_training_steps: Steps altogether, those of the warm-up included.
        num_cycles: Waves; half a one goes down to 0 at the end.
        last_epoch: The last step that is done, where a schedule goes on; -1 for a new one.
    """
    after = partial(_cosine, warmup=num_warmup_steps, total=num_training_steps, cycles=num_cycles)
    return LambdaLR(optimizer, partial(_factor, warmup=num_warmup_steps, after=after), last_epoch)


def get_cosine_with_hard_restarts_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, num_cycles: int = 1, last_epoch: int = -1
) -> LambdaLR:
    """Rise over the warm-up, then fall along half a cosine ``num_cycles`` times, back at the top each time.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        num_warmup_steps: Steps of the rise.
        num_training_steps: Steps altogether, those of the warm-up included.
        num_cycles: Falls.
        last_epoch: The last step that is done, where a schedule goes on; -1 for a new one.
    """
    after = partial(_restarts, warmup=num_warmup_steps, total=num_training_steps, cycles=num_cycles)
    return LambdaLR(optimizer, partial(_factor, warmup=num_warmup_steps, after=after), last_epoch)


def get_polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rise over the warm-up, then fall as a power of the steps left, to ``lr_end`` at ``num_training_steps``.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        num_warmup_steps: Steps of the rise.
        num_training_steps: Steps altogether, those of the warm-up included.
        lr_end: The learning rate at the end, and after it.
        power: 1 falls in a straight line; more falls faster at first.
        last_epoch: The last step that is done, where a schedule goes on; -1 for a new one.

    Raises:
        ValueError: If ``lr_end`` is not below the optimizer's learning rate.
    """
    start = optimizer.defaults["lr"]
    if not start > lr_end:
        raise ValueError(f"lr_end ({lr_end}) must be below the optimizer's learning rate ({start}).")
    floor = lr_end / start
    after = partial(_power, warmup=num_warmup_steps, total=num_training_steps, floor=floor, power=power)
    return LambdaLR(optimizer, partial(_factor, warmup=num_warmup_steps, after=after), last_epoch)


def get_reduce_on_plateau_schedule(optimizer: Optimizer, **kwargs: Any) -> ReduceLROnPlateau:
    """Lower the learning rate where a metric has stopped getting better; its ``step`` wants the metric.

    Args:
        optimizer: The optimizer whose learning rate it moves.
        **kwargs: PyTorch's arguments of ``ReduceLROnPlateau``, such as ``factor`` and ``patience``.
    """
    return ReduceLROnPlateau(optimizer, **kwargs)


def waits_for_metrics(schedule: Any) -> bool:
    """Say whether a schedule moves after an evaluation, by a metric, rather than after every step."""
    return isinstance(schedule, ReduceLROnPlateau)


def get_scheduler(
    name: str | SchedulerType,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    scheduler_specific_kwargs: dict[str, Any] | None = None,
) -> LambdaLR | ReduceLROnPlateau:
    """Build a schedule by its name.

    Args:
        name: One of ``SchedulerType``.
        optimizer: The optimizer whose learning rate it moves.
        num_warmup_steps: Steps of the rise; not needed by ``constant`` and ``reduce_lr_on_plateau``.
        num_training_steps: Steps altogether; not needed by these and ``constant_with_warmup``.
        scheduler_specific_kwargs: Further arguments of that schedule's function, such as ``num_cycles`` or ``power``.

    Raises:
        ValueError: If the name is unknown or a number of steps that the schedule needs is missing.
    """
    kind = SchedulerType(name)
    build = TYPE_TO_SCHEDULER_FUNCTION[kind]
    extra = scheduler_specific_kwargs or {}
    if kind in (SchedulerType.CONSTANT, SchedulerType.REDUCE_ON_PLATEAU):
        return build(optimizer, **extra)
    if num_warmup_steps is None:
        raise ValueError(f"The schedule '{kind.value}' needs num_warmup_steps.")
    if kind is SchedulerType.CONSTANT_WITH_WARMUP:
        return build(optimizer, num_warmup_steps, **extra)
    if num_training_steps is None:
        raise ValueError(f"The schedule '{kind.value}' needs num_training_steps.")
    return build(optimizer, num_warmup_steps, num_training_steps, **extra)


def own_rates(optimizer: Optimizer, schedule: Any) -> list[dict[str, Any]] | None:
    """Give the settings of an optimizer's groups, for ``renew_rates``; None if the schedule is of another kind."""
    if not isinstance(schedule, LambdaLR | ReduceLROnPlateau):
        return None
    return [{name: value for name, value in g.items() if name != "params"} for g in optimizer.param_groups]


def renew_rates(optimizer: Optimizer, schedule: Any, own: list[dict[str, Any]], *, other_rate: bool) -> None:
    """Let an optimizer and schedule, whose state was loaded, go on with the settings that they were made with.

    Args:
        optimizer: The optimizer.
        schedule: Its schedule, at the step where it goes on.
        own: What ``own_rates`` gave before the state was loaded.
        other_rate: Whether the learning rate is another one than the saved one. A schedule that moves by a metric then
            starts from it; any other follows from the step alone.
    """
    saved = [group["lr"] for group in optimizer.param_groups]
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)
    if isinstance(schedule, LambdaLR):
        schedule.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        saved = [
            rate * factor(schedule.last_epoch)
            for rate, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
        ]
    elif other_rate:
        return
    for group, rate in zip(optimizer.param_groups, saved, strict=True):
        group["lr"] = rate
    schedule._last_lr = saved


TYPE_TO_SCHEDULER_FUNCTION: dict[SchedulerType, Callable[..., LambdaLR | ReduceLROnPlateau]] = {
    SchedulerType.CONSTANT: get_constant_schedule,
    SchedulerType.CONSTANT_WITH_WARMUP: get_constant_schedule_with_warmup,
    SchedulerType.LINEAR: get_linear_schedule_with_warmup,
    SchedulerType.COSINE: get_cosine_schedule_with_warmup,
    SchedulerType.COSINE_WITH_RESTARTS: get_cosine_with_hard_restarts_schedule_with_warmup,
    SchedulerType.POLYNOMIAL: get_polynomial_decay_schedule_with_warmup,
    SchedulerType.REDUCE_ON_PLATEAU: get_reduce_on_plateau_schedule,
}


def _factor(step: int, *, warmup: int, after: Callable[[int], float]) -> float:
    """Give the factor on the learning rate: a straight rise below ``warmup``, ``after(step)`` from there on."""
    return step / max(1, warmup) if step < warmup else after(step)


def _progress(step: int, warmup: int, total: int) -> float:
    """Give how much of the way from the end of the warm-up to the last step is done, 0 to 1 (and beyond)."""
    return (step - warmup) / max(1, total - warmup)


def _stay(step: int) -> float:
    return 1.0


def _line(step: int, *, warmup: int, total: int) -> float:
    return max(0.0, (total - step) / max(1, total - warmup))


def _cosine(step: int, *, warmup: int, total: int, cycles: float) -> float:
    return max(0.0, 0.5 * (1 + math.cos(2 * math.pi * cycles * _progress(step, warmup, total))))


def _restarts(step: int, *, warmup: int, total: int, cycles: int) -> float:
    progress = _progress(step, warmup, total)
    if progress >= 1:
        return 0.0
    return max(0.0, 0.5 * (1 + math.cos(math.pi * (cycles * progress % 1))))


def _power(step: int, *, warmup: int, total: int, floor: float, power: float) -> float:
    if step > total:
        return floor
    return (1 - floor) * (1 - _progress(step, warmup, total)) ** power + floor
