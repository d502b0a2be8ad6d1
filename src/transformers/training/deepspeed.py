"""``--deepspeed``: processes share optimizer state (ZeRO-1), gradients (2) or parameters (3) by DeepSpeed's engine.

The engine is DeepSpeed's own, not accelerate's wrapping of it: that one updates the weights inside ``backward``, where
the Trainer could neither weigh the passes of a step nor stop before a loss that is not finite reaches them.
Optimizer and schedule stay the Trainer's, and a checkpoint holds what a run without DeepSpeed would write.
"""

from __future__ import annotations

import logging as python_logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import Field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..utils import logging
from .deepspeed_config import fill_config
from .parallel import Parallel, Traffic, layers_of, whole_parameters, whole_size
from .precision import Precision

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["DeepSpeedParallel"]


class DeepSpeedParallel(Parallel):
    """Processes under DeepSpeed's engine; see the module.

    Args:
        args: The arguments of the training.
    """

    def __init__(self, args: TrainingArguments) -> None:
        super().__init__(args)
        self._engine: Any = None
        self._stage = 0
        self._groups: list[list[nn.Parameter]] = []

    @property
    def casts_frozen_parameters(self) -> bool:
        """No: the engine brings all parameters to one dtype, and keeps fp32 copies of the trained ones."""
        return False

    @property
    def engine(self) -> Any:
        """See ``Parallel``."""
        return self._engine

    def wrap(self, model: nn.Module, optimizer: Any, precision: Precision) -> tuple[nn.Module, Precision]:
        """See ``Parallel``: the engine takes the model's and the optimizer's place.

        Raises:
            ValueError: If training is started a second time, or the model is too unlike the configuration.
        """
        if self._engine is not None:
            raise ValueError("Under DeepSpeed a Trainer can train once only; build another one.")
        config = fill_config(self.args, getattr(getattr(model, "config", None), "hidden_size", None))
        deepspeed = _import_deepspeed(self.args.device)
        _join(deepspeed, self.args.device)
        self._stage = int(config["zero_optimization"]["stage"])
        self._groups = [list(group["params"]) for group in optimizer.param_groups]
        if self._stage == 3:
            _mark_units(model)
        self._engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            model_parameters=self._parameters(),
            config=config,
            dist_init_required=False,
        )
        if self._stage == 3:
            _complete_hooks(model, self._engine)
        self._begin_state()
        self.wrapped = self._engine
        return self._engine, precision.without_casts()

    @property
    def may_run_ahead(self) -> bool:
        """No: the engine says after each step whether it was made."""
        return False

    def forward_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        """See ``Parallel``."""
        self._engine.set_gradient_accumulation_boundary(last)
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """See ``Parallel``; the Trainer has weighed the pass already."""
        self._engine.backward(loss, scale_wrt_gas=False)

    def clip(self, model: nn.Module, max_norm: float) -> Tensor:
        """Clip and update in one, as the engine does; an update with a gradient that is not finite does not happen.

        Returns:
            The norm before clipping; infinity or NaN if there was no update.
        """
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        norm = torch.as_tensor(float("nan") if norm is None else norm, dtype=torch.float32)
        return norm if self._engine.was_step_applied() else torch.full_like(norm, float("inf"))

    def step(self, optimizer: Any, scaler: torch.amp.GradScaler) -> bool:
        """See ``Parallel``; ``clip`` has done it."""
        return bool(self._engine.was_step_applied())

    def clear_gradients(self, optimizer: Any) -> None:
        """See ``Parallel``; the engine has done it."""

    def may_scale_less(self, scaler: torch.amp.GradScaler) -> bool:
        """See ``Parallel``."""
        return bool(self.args.fp16 and self._engine.optimizer.cur_scale > 1)

    def traffic(self, model: nn.Module) -> Traffic:
        """See ``Parallel``; from ZeRO-1 on, the updated values come back, and in ZeRO-3 all values at every use."""
        width = 2 if self.args.bf16 or self.args.fp16 else 4
        trained = sum(whole_size(parameter) for parameter in model.parameters() if parameter.requires_grad)
        if self._stage < 3:
            return Traffic(trained * width, trained * width)
        values = sum(whole_size(parameter) for parameter in model.parameters())
        return Traffic(trained * width, 2 * values * width * self.args.gradient_accumulation_steps)

    @contextmanager
    def whole_model(self, model: nn.Module, *, change: bool = False) -> Iterator[None]:
        """See ``Parallel``; trained values are those of the fp32 copies."""
        if self._engine is None:
            yield
            return
        parameters = dict(model.named_parameters())
        values = {name: self._whole(parameter) for name, parameter in parameters.items()}
        with whole_parameters(model, values):
            yield
        if change:
            for name, parameter in parameters.items():
                self._put(parameter, values[name])

    def _whole(self, parameter: nn.Parameter) -> Tensor:
        """Put the value of a parameter together, on the CPU."""
        from deepspeed import zero
        from deepspeed.utils import safe_get_full_fp32_param

        if parameter.requires_grad:
            master: Tensor = safe_get_full_fp32_param(parameter)
            return master.detach().to("cpu", copy=True).view(_shape(parameter))
        with zero.GatheredParameters([parameter], enabled=self._stage == 3):
            return parameter.detach().to("cpu", copy=True)

    def _put(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Give a parameter and its fp32 copy a value, everywhere."""
        from deepspeed import zero
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        value = value.detach().to(self.args.device)
        if parameter.requires_grad and self._stage == 3:
            safe_set_local_fp32_param(parameter, self._part(value, parameter))
        elif parameter.requires_grad:
            safe_set_full_fp32_param(parameter, value)
        with torch.no_grad(), zero.GatheredParameters([parameter], modifier_rank=0, enabled=self._stage == 3):
            parameter.copy_(value)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """See ``Parallel``."""
        from deepspeed.utils import safe_get_full_optimizer_state

        state: dict[int, dict[str, Any]] = {}
        names = self._state_names()
        for number, parameter in enumerate(self._parameters() if names else []):
            state[number] = {"step": self._steps()[0].detach().clone()}
            for name in names:
                value = safe_get_full_optimizer_state(parameter, name)
                state[number][name] = value.detach().to("cpu", copy=True).view(_shape(parameter))
        return {"state": state, "param_groups": self._described_groups(optimizer)}

    def load_optimizer_state(self, optimizer: Any, state: dict[str, Any]) -> None:
        """See ``Parallel``."""
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
            group.update({name: value for name, value in saved.items() if name != "params"})
        for number, parameter in enumerate(self._parameters()):
            entry = state["state"].get(number, {})
            for name in self._state_names() if entry else []:
                value = entry[name].to(self.args.device)
                if self._stage == 3:
                    safe_set_local_optimizer_state(parameter, self._part(value, parameter), name)
                else:
                    safe_set_full_optimizer_state(parameter, value, name)
            for step in self._steps() if entry else []:
                step.fill_(float(entry["step"]))

    def _begin_state(self) -> None:
        """Give AdamW's state its place before the first step, so that it can be read and written at any time."""
        zero = self._engine.optimizer
        slices = zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups
        if isinstance(zero.optimizer, torch.optim.AdamW):
            for values in slices:
                moments = {name: torch.zeros_like(values).detach() for name in ("exp_avg", "exp_avg_sq")}
                zero.optimizer.state[values] = {"step": torch.tensor(0.0), **moments}
        if self._stage < 3:
            zero._lazy_init_hp_params_optimizer_state()

    def _state_names(self) -> list[str]:
        return sorted({name for entry in self._engine.optimizer.optimizer.state.values() for name in entry} - {"step"})

    def _steps(self) -> list[Tensor]:
        return [entry["step"] for entry in self._engine.optimizer.optimizer.state.values() if "step" in entry]

    def _part(self, whole: Tensor, parameter: nn.Parameter) -> Tensor:
        """Cut this process's part out of a value as ZeRO-3 does: equal parts, the last ones filled up with zeros."""
        size = int(parameter.ds_tensor.numel())  # type: ignore[attr-defined]
        first = self.args.process_index * size
        part = whole.flatten()[first : first + size]
        return nn.functional.pad(part, (0, size - part.numel()))

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._groups for parameter in group]

    def _described_groups(self, optimizer: Any) -> list[dict[str, Any]]:
        """Describe the parameter groups as ``state_dict`` does: settings, and the parameters' numbers."""
        groups, first = [], 0
        for group, parameters in zip(optimizer.param_groups, self._groups, strict=True):
            settings = {name: value for name, value in group.items() if name != "params"}
            groups.append({**settings, "params": list(range(first, first + len(parameters)))})
            first += len(parameters)
        return groups


def _import_deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed for a kind of device, quietly and without the compilation that it starts with on a CPU."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    if logging.get_verbosity() > logging.INFO:
        python_logging.getLogger("DeepSpeed").setLevel(python_logging.ERROR)
    import deepspeed
    import deepspeed.ops

    # PyTorch's name of a function that DeepSpeed calls in every step; nothing that a user could change.
    warnings.filterwarnings("ignore", message=r".*(reduce_scatter_tensor|all_gather_into_tensor)`? is deprecated")
    # Its exchange through shared memory takes a minute to compile; gloo does the same without.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _join(deepspeed: Any, device: torch.device) -> None:
    """Let DeepSpeed use this training's processes; a process alone becomes a group of one."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not torch.distributed.is_initialized():
        os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed insists on it
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)


def _mark_units(model: nn.Module) -> None:
    """Tell ZeRO-3 that the parameters of a layer come and go together: our layers use those of their parts directly.

    ZeRO-3 lets them go when the layer's inputs have their gradient. With a frozen embedding below, the first layer's
    would have none, and its parameters would be gone too early: its input gets a gradient that nobody reads.
    """
    layers = layers_of(model)
    for layer in layers:
        layer._z3_leaf = True  # type: ignore[assignment]
    if layers:
        layers[0].register_forward_pre_hook(_require_gradient)


def _complete_hooks(model: nn.Module, engine: Any) -> None:
    """Tell ZeRO-3, whose hooks are in place now, what they cannot see."""
    from deepspeed.runtime.zero import register_external_parameter

    for layer in layers_of(model):
        layer.register_forward_pre_hook(_join_inputs)
    for module in model.modules():
        table = getattr(module, "rel_embeddings", None)  # DeBERTa's encoder reads it without calling its forward
        if table is not None:
            register_external_parameter(module, table.weight)
            table.weight.is_external_param = True  # stays whole until the step is over
            if not table.weight.ds_persist:
                table.weight.ds_persist = True
                engine.optimizer.persistent_parameters.append(table.weight)


def _require_gradient(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if torch.is_grad_enabled() and isinstance(inputs[0], Tensor) and not inputs[0].requires_grad:
        inputs[0].requires_grad_()


def _join_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Let all gradients of a layer's inputs be there before any of them goes further down.

    ZeRO-3 sees tensors among the inputs, but not those inside a dataclass (DeBERTa's relative embeddings): when the
    first input had its gradient it would let the parameters go that the others' gradients are still to pass.
    """
    hidden = [(place, item.name) for place, value in enumerate(inputs) for item in _tensor_fields(value)]
    if not (hidden and torch.is_grad_enabled() and isinstance(inputs[0], Tensor)):
        return None
    first, *others = _Join.apply(inputs[0], *(getattr(inputs[place], name) for place, name in hidden))
    joined = [first, *inputs[1:]]
    for (place, name), tensor in zip(hidden, others, strict=True):
        joined[place] = replace(joined[place], **{name: tensor})
    return tuple(joined)


def _tensor_fields(value: Any) -> list[Field[Any]]:
    """Give the fields of a dataclass that hold a tensor with a gradient; none for any other value."""
    if not is_dataclass(value):
        return []
    held = [(item, getattr(value, item.name)) for item in fields(value)]
    return [item for item, tensor in held if isinstance(tensor, Tensor) and tensor.requires_grad]


class _Join(torch.autograd.Function):
    """Gives tensors on as they are; their gradients pass together, when all of them are there."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return gradients


def _shape(parameter: nn.Parameter) -> torch.Size:
    return torch.Size(getattr(parameter, "ds_shape", parameter.shape))
