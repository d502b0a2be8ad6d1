"""An accelerator for machines without one: tensors that are on the CPU, say they are on a GPU, and tell of waits.

What a real GPU cannot show in a test, this one does: every place where the program would wait for the device (a number
is read, a shape depends on values, a copy that is not asynchronous), by the line that asks for it. Tensors of the two
sides do not mix, as on a GPU. How fast anything is, what a GPU's own kernels compute, and whether memory is pinned,
only a GPU can tell (`tests/gpu`).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from transformers import TrainingArguments

__all__ = ["DEVICE", "ArgumentsOfDevice", "PretendedDevice", "pretended_device"]

DEVICE = torch.device("cuda", 0)
SOURCE = Path(torch.__file__).parents[1]
aten = torch.ops.aten

# Operations that give the host a number, or a tensor whose shape depends on values.
READING = {
    *(aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select),
    *(aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.bincount, aten.histc),
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
COPYING = {aten._to_copy, aten.copy_, aten.copy}


class _OnDevice(Tensor):
    """A tensor that says it is on the device; its values are on the CPU."""

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> _OnDevice:
        made: _OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device="meta",  # to PyTorch's own code, which can have no GPU here
        )
        made.values = values
        return made

    device = property(lambda self: DEVICE)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        """The same values, apart from what autograd knows."""
        return self.detach()

    @data.setter
    def data(self, other: _OnDevice) -> None:
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.values = other.values

    def as_subclass(self, cls: Any) -> Any:
        """Give the same values as another class of tensors, on the device too."""
        return _OnDevice.__new__(_OnDevice if cls is Tensor else _both(cls), self.values)

    def tolist(self) -> Any:
        """Read all values; PyTorch's own way knows no subclasses."""
        return self.cpu().tolist()

    def __format__(self, form: str) -> str:
        """Write the number, which is to read it."""
        return format(self.cpu(), form)

    def __repr__(self, **_: Any) -> str:
        return f"_OnDevice({self.values!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} of a tensor on the device, outside of it")


@cache
def _both(other: type[Tensor]) -> Any:
    """Make a class of tensors on the device that are of another class, too."""
    return type(f"{other.__name__}OnDevice", (other, _OnDevice), {})


class PretendedDevice(TorchDispatchMode):
    """Computes for the device while it is entered.

    Attributes:
        waits: Each wait for the device: the operation, and the line of this package that asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def bring(self, model: nn.Module) -> None:
        """Move a model there, tied parameters staying one; this waits, and is not noted."""
        made: dict[int, Any] = {}
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None and id(value) not in made:
                    made[id(value)] = nn.Parameter(value.detach().to(DEVICE), value.requires_grad)
                module._parameters[name] = None if value is None else made[id(value)]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer.to(DEVICE)
        self.waits.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch.is_inference_mode_enabled() and func._can_decompose():  # there, nothing above this did so
            with self:
                return func.decompose(*args, **kwargs)
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        own = [value for value in given if isinstance(value, _OnDevice)]
        packet = func.overloadpacket
        to_device = bool(own) if kwargs.get("device") is None else _is_device(kwargs["device"])
        if packet in COPYING:
            self._copying(func, args, kwargs)
        elif own and any(not isinstance(value, _OnDevice) and value.dim() > 0 for value in given):
            raise RuntimeError(f"{func}: all tensors must be on the same device, but some are on the CPU")
        if own and (packet in READING or (packet in INDEXING and _has_mask(args[1]))):
            self._wait(func)
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        if packet is aten._fused_sdp_choice:
            return 0  # the plain one: the choice is between kernels of a GPU
        result = func(*tree_map(_values, args), **tree_map(_values, kwargs))
        places = {id(value.values): value for value in own}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return places.get(id(value)) if id(value) in places else _OnDevice(value) if to_device else value

        return tree_map(wrapped, result)

    def _copying(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Note a copy that waits: to the CPU always, to the device where it is not asynchronous."""
        if func.overloadpacket is aten._to_copy:
            asynchronous, source = bool(kwargs.get("non_blocking")), isinstance(args[0], _OnDevice)
            target = source if kwargs.get("device") is None else _is_device(kwargs["device"])
        else:
            asynchronous = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
            target, source = isinstance(args[0], _OnDevice), isinstance(args[1], _OnDevice)
        if source is not target and (source or not asynchronous):
            self._wait(func)

    def _wait(self, func: Any) -> None:
        lines = [frame for frame in traceback.extract_stack() if "transformers" in frame.filename]
        where = f"{Path(lines[-1].filename).name}:{lines[-1].lineno} {lines[-1].line}" if lines else "elsewhere"
        self.waits.append(f"{func} in {where}")


def _is_device(device: Any) -> bool:
    return torch.device(device).type in (DEVICE.type, "meta")


def _values(value: Any) -> Any:
    return value.values if isinstance(value, _OnDevice) else value


def _has_mask(indices: Any) -> bool:
    """Say whether an index is one of truth values, whose result has as many entries as are true."""
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices)


@contextmanager
def pretended_device() -> Iterator[PretendedDevice]:
    """Let ``torch.device("cuda", 0)`` be a `PretendedDevice` inside the ``with``."""
    lazy_init, lifts = torch.cuda._lazy_init, torch._C._only_lift_cpu_tensors()
    torch.cuda._lazy_init = lambda: None  # there is nothing to begin
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with PretendedDevice() as device:
            yield device
    finally:
        torch._C._set_only_lift_cpu_tensors(lifts)
        torch.cuda._lazy_init = lazy_init


class ArgumentsOfDevice(TrainingArguments):
    """Arguments of a Trainer that trains on the pretended device."""

    @property
    def device(self) -> torch.device:
        """The pretended device."""
        return DEVICE
