"""The one place that decides where LoRA goes in.

An attention block builds its linear layers through `lora_linear`. As the original does, LoRA goes into the layers that
the model type names (`PretrainedConfig.lora_targets`: query and value). Where the configuration names others
(``lora_target_modules`` and its like), `lora_linear` builds plain layers, and once the encoder stands
`place_lora` puts LoRA layers in place of those that match, around the very same weights. Names are matched as PEFT
matches them, so that one configuration means the same layers to both:

- an entry of a list is the end of a layer's path, from a dot on;
- a text is a regular expression for the whole path (which begins with the encoder's name, ``roberta.…``);
- ``"all-linear"`` is every linear layer of the encoder.

A head, and a pooler, takes no LoRA: it is trained in full.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from ...base.model import ModelWithBase
from ...configuration.fields import MethodFields
from ...configuration.lora_options import ALL_LINEAR, nearest, start_takes_from_base
from ...configuration_utils import PretrainedConfig
from ...layers.quantized import QuantizedLinear, quantized_layers
from .layers import DEFAULT_ADAPTER, LoraEmbedding, LoraLayer, LoraLinear
from .quantized import QuantizedLoraLinear

__all__ = [
    "LoraPlace",
    "find_places",
    "fit_layers",
    "fresh_part",
    "is_in_head",
    "lora_linear",
    "may_be_head",
    "part_shapes",
    "place_lora",
    "saved_module_names",
]

_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")  # those that are looked up, row by row
_LAYER_NUMBER = r".*\.[^.]*\.(\d+)\."  # where PEFT finds a layer's number if no pattern is given


@dataclass(frozen=True)
class LoraPlace:
    """What one layer gets.

    Attributes:
        r: The rank.
        lora_alpha: Numerator of the scaling.
    """

    r: int
    lora_alpha: float


def lora_linear(
    config: PretrainedConfig, name: str, in_features: int, out_features: int, bias: bool = True
) -> nn.Linear:
    """Build one linear layer of an attention block, with LoRA where the configuration wants it.

    Args:
        config: Its ``apply_lora``, ``lora_r``, ``lora_alpha``, ``lora_dropout`` and the class's ``lora_targets``.
        name: The layer's attribute name in the block, such as ``"query"``.
        in_features: ``I``.
        out_features: ``O``.
        bias: Give the layer a bias.

    Returns:
        A `LoraLinear` where ``apply_lora`` is set and ``name`` is among the targets; else an `nn.Linear`, which
        `place_lora` may replace where the configuration names layers by their paths.

    Raises:
        ValueError: If the LoRA fields are out of range, or not there.
    """
    if not config.apply_lora or name not in config.lora_targets or _chooses_by_path(config):
        return nn.Linear(in_features, out_features, bias=bias)
    r, alpha = config.check_lora()  # fields may have been set since the configuration was made
    return LoraLinear(in_features, out_features, r, alpha, config.lora_dropout, bias, **_form(config))


def place_lora(model: ModelWithBase, adapter_name: str = DEFAULT_ADAPTER) -> list[str]:
    """Put LoRA layers where the configuration names layers by their paths; where it does not they are built already.

    Args:
        model: Its encoder stands.
        adapter_name: Whose parts the layers hold.

    Returns:
        Paths of the layers that were replaced; their new parameters have no values yet.

    Raises:
        ValueError: As of `find_places`. The model is then unchanged.
    """
    config = model.config
    if not config.apply_lora or not _chooses_by_path(config):
        return []
    config.check_lora()
    places = find_places(model, config)
    new = {path: place for path, place in places.items() if not isinstance(model.get_submodule(path), LoraLayer)}
    for path, place in new.items():
        module = model.get_submodule(path)
        fit_layers(model, [path], adapter_name)
        layer = model.get_submodule(path)
        assert isinstance(layer, LoraLayer)
        update = fresh_part(module, place, config).current_update()
        assert update is not None
        layer.enter(adapter_name, update)
    return list(new)


def fit_layers(model: nn.Module, paths: Collection[str], adapter_name: str = DEFAULT_ADAPTER) -> None:
    """Let layers be LoRA layers, without a part of any adapter yet, around the very same weights, which are frozen.

    Args:
        model: Any module.
        paths: Of linear layers and embeddings; LoRA layers among them stay what they are.
        adapter_name: The active adapter.
    """
    for path in paths:
        plain = model.get_submodule(path)
        if isinstance(plain, LoraLayer):
            continue
        layer: LoraLayer
        with torch.device("meta"):
            if isinstance(plain, nn.Embedding):
                size = plain.num_embeddings, plain.embedding_dim
                layer = LoraEmbedding(*size, r=1, lora_alpha=1, padding_idx=plain.padding_idx)
            else:
                assert isinstance(plain, nn.Linear)
                size = plain.in_features, plain.out_features
                layer = LoraLinear(*size, r=1, lora_alpha=1, bias=plain.bias is not None)
        layer._put_in_place(adapter_name)  # of which nothing waits, so no part is in place
        if isinstance(plain, QuantizedLinear):
            layer.__class__ = QuantizedLoraLinear
            plain.lend_weight_to(cast(QuantizedLoraLinear, layer))
        else:
            layer._parameters.update(plain._parameters)  # the very weight and bias
        layer.train(plain.training)
        where, _, name = path.rpartition(".")
        setattr(model.get_submodule(where), name, layer)


def part_shapes(module: nn.Module, place: LoraPlace, config: MethodFields) -> dict[str, tuple[int, ...]]:
    """Give the shapes of what an adapter holds of one layer, by the parameters' names.

    Args:
        module: The layer, with LoRA or yet without.
        place: What it gets.
        config: Whose options are meant.
    """
    if isinstance(module, nn.Embedding):
        inputs, outputs, names = module.num_embeddings, module.embedding_dim, LoraEmbedding.NAMES
    else:
        assert isinstance(module, nn.Linear)
        inputs, outputs, names = module.in_features, module.out_features, LoraLinear.NAMES
    shapes: dict[str, tuple[int, ...]] = {names["lora_A"]: (place.r, inputs), names["lora_B"]: (outputs, place.r)}
    return shapes | ({names["magnitude"]: (outputs,)} if config.lora_use_dora else {})


def fresh_part(module: nn.Module, place: LoraPlace, config: PretrainedConfig) -> LoraLayer:
    """Give a layer of its own around a layer's very weight, whose parameters have no values yet.

    Args:
        module: The layer, with LoRA or yet without.
        place: What it gets.
        config: Whose options are meant.
    """
    weight = module.base_weight() if isinstance(module, LoraLayer) else module.weight
    if isinstance(module, QuantizedLinear):
        weight = module.dequantized()
    assert isinstance(weight, torch.Tensor)
    made: LoraLayer
    with weight.device:
        if isinstance(module, nn.Embedding):
            size = module.num_embeddings, module.embedding_dim, place.r, place.lora_alpha
            made = LoraEmbedding(*size, config.lora_dropout, module.padding_idx, config.lora_use_rslora)
        else:
            assert isinstance(module, nn.Linear)
            sizes = module.in_features, module.out_features, place.r, place.lora_alpha
            made = LoraLinear(*sizes, config.lora_dropout, False, **_form(config))
    made.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return made


def _form(config: MethodFields) -> dict[str, bool]:
    """Give what sort of `LoraLinear` a configuration asks for."""
    return {
        "use_rslora": config.lora_use_rslora,
        "use_dora": config.lora_use_dora,
        "keeps_start": start_takes_from_base(config.lora_init),
    }


def _chooses_by_path(config: MethodFields) -> bool:
    """Say whether a configuration names layers, ranks or alphas by paths, or must be checked layer by layer."""
    fields = (
        config.lora_target_modules,
        config.lora_exclude_modules,
        config.lora_layers_to_transform,
        config.lora_rank_pattern,
        config.lora_alpha_pattern,
    )
    # what is taken out of a layer must be in it, which is checked by path
    return any(field not in (None, {}) for field in fields) or start_takes_from_base(config.lora_init)


# Which layers ---------------------------------------------------------------------------------------------------


def find_places(model: ModelWithBase, config: PretrainedConfig, *, strict: bool = True) -> dict[str, LoraPlace]:
    """Find the layers of a model that get LoRA.

    Args:
        model: Any; LoRA layers that it has already count as the layers that they were.
        config: Whose fields are meant; not always the model's own.
        strict: Refuse names without an effect; not those of an adapter that somebody trained already.

    Returns:
        Their paths in the model, in its order, each with what it gets.

    Raises:
        ValueError: If a name matches nothing, the head alone, or something that takes no LoRA; if an expression
            matches a head; if nothing is left after exclusions; or if a layer is too small for its rank.
    """
    layers = _layers_for_lora(model)
    targets = list(config.lora_targets) if config.lora_target_modules is None else config.lora_target_modules
    chosen = [name for name in layers if _is_chosen(name, layers[name], targets, config)]
    if strict:
        _refuse_unmatched(model, targets, layers)
    left = [name for name in chosen if not _matches_name(name, config.lora_exclude_modules)]
    if not left:
        raise ValueError(
            f"No layer is left for LoRA: lora_target_modules is {targets!r}, lora_exclude_modules "
            f"{config.lora_exclude_modules!r}, lora_layers_to_transform {config.lora_layers_to_transform!r}, and the "
            f"model has {config.num_hidden_layers} layers, numbered from 0."
        )
    for which in ("lora_rank_pattern", "lora_alpha_pattern"):
        for pattern in getattr(config, which):
            if strict and not any(_matches_pattern(name, pattern) for name in left):
                raise ValueError(f"{which}: {pattern!r} matches no layer with LoRA. {nearest(pattern, left)}")
    places = {}
    for name in left:
        r = int(_by_pattern(name, config.lora_rank_pattern, config.lora_r or 0))
        alpha = _by_pattern(name, config.lora_alpha_pattern, config.lora_alpha or 0)
        _check_rank(name, layers[name], r, config)
        places[_path_in(model, name)] = LoraPlace(r, alpha)
    return places


def saved_module_names(
    model: ModelWithBase, endings: Collection[str] | None, lora_paths: Collection[str] = ()
) -> set[str]:
    """Give the parameters of the modules that are trained in full beside LoRA.

    Args:
        model: Any.
        endings: ``lora_modules_to_save``: ends of paths, as PEFT matches them.
        lora_paths: Of the layers with LoRA.

    Returns:
        Paths in the model.

    Raises:
        ValueError: If one matches nothing, or a module that holds LoRA layers.
    """
    names: set[str] = set()
    modules = {model.name_with_head(path): module for path, module in model.named_modules() if path}
    for ending in endings or ():
        found = [name for name in modules if name.endswith(ending)]
        if not found and may_be_head(ending):
            continue  # a head, which is trained always; the bare encoder has none
        if not found:
            last = {name.rpartition(".")[2] for name in modules if not name.rpartition(".")[2].isdigit()}
            raise ValueError(
                f"lora_modules_to_save: '{ending}' is the end of no module's path. {nearest(ending, last)}"
            )
        for name in found:
            path = _path_in(model, name)
            if any(f"{each}.".startswith(f"{path}.") for each in lora_paths):
                raise ValueError(
                    f"lora_modules_to_save: '{ending}' is {name}, in which LoRA goes in too; a layer is adapted or "
                    "trained in full, not both."
                )
            packed = next((layer for _, layer in quantized_layers(modules[name])), None)
            if packed is not None:
                raise ValueError(
                    f"lora_modules_to_save: '{ending}' is {name}, which is kept in {packed.quantization} and cannot "
                    "be trained in full. Name it in llm_int8_skip_modules too."
                )
            names |= {f"{path}.{each}" for each, _ in modules[name].named_parameters()}
    return names


def _matches_name(name: str, wanted: str | Collection[str] | None) -> bool:
    """Say whether a path is meant: by an expression for all of it, or as one of several names or their ends."""
    if wanted is None:
        return False
    if isinstance(wanted, str):
        return re.fullmatch(wanted, name) is not None
    return any(name == each or name.endswith(f".{each}") for each in wanted)


def _is_chosen(name: str, module: nn.Module, targets: str | Collection[str], config: MethodFields) -> bool:
    found = isinstance(module, nn.Linear) if targets == ALL_LINEAR else _matches_name(name, targets)
    named_in_full = not isinstance(targets, str) and name in targets
    wanted = config.lora_layers_to_transform
    if not found or wanted is None or named_in_full:
        return found
    patterns = config.lora_layers_pattern
    patterns = [patterns] if isinstance(patterns, str) else patterns
    for expression in [rf".*\.{each}\.(\d+)\." for each in patterns] if patterns else [_LAYER_NUMBER]:
        number = re.match(expression, name)
        if number is not None:
            return int(number[1]) in ([wanted] if isinstance(wanted, int) else wanted)
    return False


def _layers_for_lora(model: ModelWithBase) -> dict[str, nn.Module]:
    """Give the layers of the encoder that can take LoRA, by their names in a model with a head."""
    layers = {}
    for path, module in model.named_modules():
        name = model.name_with_head(path)
        is_table = isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _TABLES
        if (isinstance(module, nn.Linear) or is_table) and not is_in_head(model, path):
            layers[name] = module
    return layers


def is_in_head(model: ModelWithBase, path: str) -> bool:
    """Say whether a module belongs to the head: to what is trained in full, a pooler too.

    Args:
        model: Any.
        path: The module's.
    """
    return not model.is_base_parameter(path) or ".pooler." in f".{path}."


def _refuse_unmatched(model: ModelWithBase, targets: str | Collection[str], layers: Mapping[str, nn.Module]) -> None:
    """Refuse a name that means no layer, or what cannot take LoRA."""
    if targets == ALL_LINEAR:
        return
    others = [model.name_with_head(path) for path, _ in model.named_modules() if path]
    others = [name for name in others if name not in layers]
    for target in [targets] if isinstance(targets, str) else targets:
        wanted: str | list[str] = target if isinstance(targets, str) else [target]
        matched = any(_matches_name(name, wanted) for name in layers)
        foreign = [name for name in others if _matches_name(name, wanted)]
        heads = [name for name in foreign if is_in_head(model, _path_in(model, name))]
        if heads and (not matched or isinstance(targets, str)):
            raise ValueError(
                f"lora_target_modules: {target!r} matches {heads[0]}, a part of the head, which is trained in full "
                "and takes no LoRA. Name layers of the encoder."
            )
        if not matched and foreign:
            kind = type(model.get_submodule(_path_in(model, foreign[0]))).__name__
            raise ValueError(
                f"lora_target_modules: {target!r} matches {foreign[0]}, a {kind}, which takes no LoRA; linear layers "
                f"and {', '.join(_TABLES)} do."
            )
        if not matched:
            ends = {name.rpartition(".")[2] for name in layers} if not isinstance(targets, str) else layers
            raise ValueError(
                f"lora_target_modules: {target!r} matches no layer of the encoder (a head is trained in full and "
                f"takes no LoRA). {nearest(target, ends)}"
            )


def may_be_head(name: str) -> bool:
    """Say whether a module's name is that of a head in one of the models, which a bare encoder does not have."""
    return name.partition(".")[0] in ("classifier", "score", "pooler", "lm_head", "cls", "qa_outputs")


def _path_in(model: ModelWithBase, name: str) -> str:
    """Give a layer's path in a model by its name in a model with a head."""
    return name if model.has_head else name.removeprefix(f"{model.base_model_prefix}.")


def _matches_pattern(name: str, pattern: str) -> bool:
    """Say whether a key of a pattern means a layer, as PEFT decides it."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _by_pattern(name: str, patterns: Mapping[str, float], otherwise: float) -> float:
    return next((value for pattern, value in patterns.items() if _matches_pattern(name, pattern)), otherwise)


def _check_rank(name: str, module: nn.Module, r: int, config: MethodFields) -> None:
    """Refuse options that a layer cannot take."""
    if isinstance(module, nn.Embedding) and (config.lora_use_dora or config.lora_init not in ("default", "gaussian")):
        what = "lora_use_dora" if config.lora_use_dora else f"lora_init '{config.lora_init}'"
        raise ValueError(f"{what} is for linear layers, but {name} is an embedding; leave it out of the targets.")
    is_linear = isinstance(module, nn.Linear)
    smallest = min((module.in_features, module.out_features) if is_linear else module.weight.shape)  # type: ignore[arg-type]
    if start_takes_from_base(config.lora_init) and r > smallest:
        raise ValueError(
            f"lora_init '{config.lora_init}' takes {r} directions out of {name}, which has {smallest}; use a smaller "
            "lora_r."
        )
