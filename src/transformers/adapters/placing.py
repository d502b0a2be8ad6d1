"""Putting parameter and buffer objects at their paths in a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

__all__ = ["put_buffers", "put_parameters", "with_aliases"]


def with_aliases(
    named: Iterable[tuple[str, nn.Parameter]], parameters: Mapping[str, nn.Parameter]
) -> dict[str, nn.Parameter]:
    """Give parameters under every name that the one in their place has, such as a decoder's tied bias.

    Args:
        named: What is in place, each under all of its names (``named_parameters(remove_duplicate=False)``).
        parameters: By path.
    """
    in_place = dict(named)
    names: dict[int, list[str]] = {}
    for name, parameter in in_place.items():
        names.setdefault(id(parameter), []).append(name)
    return {name: parameter for path, parameter in parameters.items() for name in names[id(in_place[path])]}


def put_parameters(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    """Put parameters at their paths, and wherever the one in their place stands too.

    Args:
        model: The model.
        parameters: By path.
    """
    for path, parameter in with_aliases(model.named_parameters(remove_duplicate=False), parameters).items():
        where, _, name = path.rpartition(".")
        module = model.get_submodule(where)
        module._parameters[name] = parameter
        if name == "weight" and isinstance(module, nn.Linear):
            module.out_features, module.in_features = parameter.shape


def put_buffers(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Put buffers at their paths.

    Args:
        model: The model.
        buffers: By path.
    """
    for path, buffer in buffers.items():
        where, _, name = path.rpartition(".")
        model.get_submodule(where)._buffers[name] = buffer
