"""A model with other parameters in a few places, for one call: the model itself is not touched.

A view is a copy of the tree of modules that shares every tensor with the model but those that it is given. Several
threads may so compute with different adapters of one model at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, cast

from torch import Tensor, nn

__all__ = ["call_through", "view_for_call", "view_of"]

ModuleType = TypeVar("ModuleType", bound=nn.Module)

# By the identity of a module, what is called in its stead by the calls that are running here.
_VIEWS: ContextVar[Mapping[int, nn.Module]] = ContextVar("_VIEWS", default={})  # noqa: B039  # never written to


def view_of(
    module: ModuleType,
    parameters: Mapping[str, Tensor],
    change: Callable[[nn.Module], None] | None = None,
    copies: dict[int, nn.Module] | None = None,
) -> ModuleType:
    """Copy a tree of modules around the same tensors.

    Args:
        module: The tree.
        parameters: Parameters and buffers that are others in the copy, by path.
        change: Called with each module of the copy, which alone it may change.
        copies: What was copied already, by identity, so that a module that stands in two places does so in the copy.

    Returns:
        The copy; its parameters are the module's own but for those given.
    """
    copies = {} if copies is None else copies
    if id(module) in copies:
        return cast(ModuleType, copies[id(module)])
    view = copies[id(module)] = module.__new__(type(module))
    view.__dict__ = dict(module.__dict__)
    own = {path: parameter for path, parameter in parameters.items() if "." not in path}
    buffers = {path: own.pop(path) for path in list(own) if path in module._buffers}
    view.__dict__["_parameters"] = {**module._parameters, **own}
    view.__dict__["_buffers"] = {**module._buffers, **buffers}
    view.__dict__["_modules"] = {
        name: child if child is None else view_of(child, _below(name, parameters), change, copies)
        for name, child in module._modules.items()
    }
    if isinstance(view, nn.Linear) and "weight" in own:
        view.out_features, view.in_features = own["weight"].shape
    if change is not None:
        change(view)
    return view


def _below(name: str, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {path.removeprefix(prefix): each for path, each in parameters.items() if path.startswith(prefix)}


@contextmanager
def call_through(module: nn.Module, view: nn.Module) -> Iterator[None]:
    """Let calls of a module, and of the modules in it, go to its view inside the ``with``, in this thread alone."""
    pairs = zip(module.modules(), view.modules(), strict=True)
    token = _VIEWS.set({**_VIEWS.get(), **{id(each): its_view for each, its_view in pairs}})
    try:
        yield
    finally:
        _VIEWS.reset(token)


def view_for_call(module: nn.Module) -> nn.Module | None:
    """Give what is to be called in a module's stead; None where it is the module itself."""
    return _VIEWS.get().get(id(module))
