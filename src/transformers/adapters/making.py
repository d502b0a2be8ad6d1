"""New adapters beside loaded ones: a fresh one to train, or a weighted combination of others.

Letters in shapes: ``r`` rank, ``I`` input features, ``O`` output features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..configuration.lora_options import LORA_OPTIONS, PLACE_OPTIONS
from ..configuration_utils import PretrainedConfig
from ..methods.lora.layers import LoraUpdate, lora_layers
from ..methods.lora.places import find_places, fresh_part
from ..methods.lora.starts import init_lora_parameter
from ..modeling.initialization import init_parameter
from .fitting import head_buffers, places_of, shapes_beside_lora
from .interface import AdaptableModel
from .reading import AdapterContent
from .state import LoadedAdapter
from .switching import check_name, enter_current, place

__all__ = ["add_adapter", "add_weighted_adapter"]

Update = tuple[Tensor, Tensor]  # lora_A and lora_B, at a scaling of 1. Shape: (r, I) and (O, r)


def add_adapter(model: AdaptableModel, adapter_name: str, **fields: Any) -> None:
    """Make a fresh adapter beside those that are there; see `AdapterMethods.add_adapter`."""
    config = model.config
    wanted: Any = type(config).from_dict(config.to_dict(), apply_lora=True, **fields)  # with all its checks
    content = AdapterContent(
        f"a new adapter '{adapter_name}'",
        {},
        wanted.lora_r,
        wanted.lora_alpha,
        position_query=bool(getattr(config, "lora_position_query", False)),
        options={name: getattr(wanted, name) for name in LORA_OPTIONS},
        architecture=type(model).__name__,
    ).with_fields_of(wanted)
    find_places(model, wanted)  # which refuses names without an effect
    content.tensors.update(_fresh_tensors(model, content, wanted))
    place(model, content, adapter_name)


def _fresh_tensors(model: AdaptableModel, content: AdapterContent, config: PretrainedConfig) -> dict[str, Tensor]:
    """Make starting values of all that an adapter has and the base does not provide."""
    tensors: dict[str, Tensor] = {name: buffer.clone() for name, buffer in head_buffers(model).items()}
    is_first = not model.adapter_state.loaded and not model.config.apply_lora  # it takes the head as it is
    for path, its_place in places_of(model, content).items():
        layer = fresh_part(model.get_submodule(path), its_place, config)
        for name in layer.NAMES.values():
            parameter = layer._parameters.get(name)
            if parameter is not None and parameter.requires_grad:
                init_lora_parameter(layer, name, parameter, config)
                tensors[f"{path}.{name}"] = parameter.detach()
    for name, shape in shapes_beside_lora(model, content, config.num_labels).items():
        if name in tensors or (model.base_record.provides(name) and model.get_parameter(name).shape == shape):
            continue
        if is_first and model.get_parameter(name).shape == shape:
            tensors[name] = model.get_parameter(name).detach()
            continue
        where, _, last = name.rpartition(".")
        tensors[name] = torch.empty(shape)
        init_parameter(model.get_submodule(where), last, tensors[name], config)
    return tensors


def add_weighted_adapter(
    model: AdaptableModel,
    adapters: Sequence[str],
    weights: Sequence[float],
    adapter_name: str,
    combination_type: str = "svd",
    *,
    svd_rank: int | None = None,
    head_of: str | None = None,
) -> None:
    """Combine adapters into a new one; see `AdapterMethods.add_weighted_adapter`."""
    if not adapters or len(adapters) != len(weights):
        raise ValueError(f"{len(adapters)} adapters and {len(weights)} weights; one weight for each was expected.")
    if combination_type not in _COMBINE:
        raise ValueError(f"combination_type is {combination_type!r}; {', '.join(_COMBINE)} was expected.")
    for name in adapters:
        check_name(model, name)
    enter_current(model)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for path, layer in lora_layers(model):
        found = [(layer.update_of(name), weight) for name, weight in zip(adapters, weights, strict=True)]
        parts = [(update.without_start(), weight) for update, weight in found if update is not None]
        if not parts:
            continue
        updates, shares = [update for update, _ in parts], [weight for _, weight in parts]
        rank = max(update.r for update in updates) if svd_rank is None else svd_rank
        lora_a, lora_b = _COMBINE[combination_type](updates, shares, rank)
        tensors[f"{path}.{layer.NAMES['lora_A']}"], tensors[f"{path}.{layer.NAMES['lora_B']}"] = lora_a, lora_b
        ranks[model.name_with_head(path)] = lora_a.shape[0]
    chosen = _source_of_head(model, adapters, head_of)
    rank = next(iter(ranks.values()))
    fields = dict(chosen.fields)
    content = AdapterContent(
        f"the combination '{adapter_name}'",
        {**tensors, **_own_tensors(model, chosen)},
        rank,
        rank,  # a scaling of 1
        fields["lora_dropout"],
        id2label=fields["id2label"],
        problem_type=fields["problem_type"],
        finetuning_task=fields["finetuning_task"],
        position_query=bool(getattr(model.config, "lora_position_query", False)),
        label2id=fields["label2id"],
        options=_options_of_combination(model, adapters, ranks),
        architecture=(chosen.model_class or type(model)).__name__,
        other_bases=tuple(base for name in adapters for base in model.adapter_state.loaded[name].other_bases),
    )
    place(model, content, adapter_name)


def _options_of_combination(model: AdaptableModel, adapters: Sequence[str], ranks: dict[str, int]) -> dict[str, Any]:
    """Give the options of a combination: its targets are all of the adapters' own, its scaling 1 everywhere."""
    fields = [model.adapter_state.loaded[name].fields for name in adapters]
    same = all(each[name] == fields[0][name] for each in fields for name in PLACE_OPTIONS)
    places = {name: fields[0][name] for name in PLACE_OPTIONS} if same else {"lora_target_modules": list(ranks)}
    usual = next(iter(ranks.values()))
    others = {name: r for name, r in ranks.items() if r != usual}
    alphas = {re.escape(name): float(r) for name, r in others.items()}
    return {**places, "lora_rank_pattern": {re.escape(n): r for n, r in others.items()}, "lora_alpha_pattern": alphas}


def _linear(updates: Sequence[LoraUpdate], weights: Sequence[float], rank: int) -> Update:
    """Add the matrices up, each with the root of its weight, as PEFT does: not the sum of the updates.

    Raises:
        ValueError: If the ranks are not the same.
    """
    if len({update.r for update in updates}) > 1:
        raise ValueError(
            f"The adapters' ranks are {[update.r for update in updates]}; combination_type 'linear' needs one rank "
            "for all. Take 'cat', which is exact, or 'svd'."
        )
    roots = [math.sqrt(abs(weight * update.scaling)) for update, weight in zip(updates, weights, strict=True)]
    signed = [math.copysign(root, weight) for root, weight in zip(roots, weights, strict=True)]
    lora_a = sum(factor * update.lora_A.detach().float() for factor, update in zip(signed, updates, strict=True))
    lora_b = sum(factor * update.lora_B.detach().float() for factor, update in zip(roots, updates, strict=True))
    return torch.as_tensor(lora_a), torch.as_tensor(lora_b)


def _cat(updates: Sequence[LoraUpdate], weights: Sequence[float], rank: int) -> Update:
    """Put the matrices side by side: the exact weighted sum of the updates, at the sum of the ranks."""
    pairs = zip(updates, weights, strict=True)
    lora_a = [update.lora_A.detach().float() * (weight * update.scaling) for update, weight in pairs]
    return torch.cat(lora_a), torch.cat([update.lora_B.detach().float() for update in updates], dim=1)


def _svd(updates: Sequence[LoraUpdate], weights: Sequence[float], rank: int) -> Update:
    """Give the matrices of a rank that are nearest to the weighted sum of the updates (Eckart and Young, 1936).

    Raises:
        ValueError: If there is no such rank.
    """
    delta = sum(weight * update.delta() for update, weight in zip(updates, weights, strict=True))
    left, values, right = torch.linalg.svd(torch.as_tensor(delta), full_matrices=False)
    if isinstance(rank, bool) or not isinstance(rank, int) or not 0 < rank <= len(values):
        raise ValueError(f"svd_rank is {rank!r}; a whole number from 1 to {len(values)} was expected.")
    return right[:rank].contiguous(), (left[:, :rank] * values[:rank]).contiguous()


_COMBINE: dict[str, Callable[[Sequence[LoraUpdate], Sequence[float], int], Update]] = {
    "linear": _linear,
    "cat": _cat,
    "svd": _svd,
}


def _own_tensors(model: AdaptableModel, adapter: LoadedAdapter) -> dict[str, Tensor]:
    """Give what an adapter has beside LoRA, its head's buffers as they are now."""
    state = model.adapter_state
    active = state.active is not None and adapter is state.loaded[state.active]
    buffers = {n: model.get_buffer(n) if active else buffer for n, buffer in adapter.buffers.items()}
    return {**{name: parameter.detach() for name, parameter in adapter.parameters.items()}, **buffers}


def _source_of_head(model: AdaptableModel, adapters: Sequence[str], head_of: str | None) -> LoadedAdapter:
    """Choose whose head and labels a combination gets: heads of different tasks cannot be added up.

    Raises:
        ValueError: If it is not said and they differ, or a part of the encoder differs beside LoRA.
    """
    loaded = model.adapter_state.loaded
    if head_of is not None:
        check_name(model, head_of)
    chosen = loaded[adapters[0] if head_of is None else head_of]
    own = _own_tensors(model, chosen)
    for name in adapters:
        other = _own_tensors(model, loaded[name])
        different = [n for n in {*own, *other} if n not in own or n not in other or not _same(own[n], other[n])]
        of_encoder = [n for n in different if model.is_base_parameter(n)]
        if of_encoder and model.has_head:  # a bare encoder's pooler is its head
            raise ValueError(
                f"The adapters train more of the encoder than LoRA ({min(of_encoder)}), which cannot be combined."
            )
        if head_of is None and (different or loaded[name].fields["id2label"] != chosen.fields["id2label"]):
            raise ValueError(
                f"The adapters {', '.join(adapters)} have different heads, which cannot be added up; say whose head "
                "and labels the combination gets: head_of=…."
            )
    return chosen


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.equal(first, second))
