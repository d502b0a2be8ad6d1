"""PEFT's form of an adapter: the names of its tensors and its ``adapter_config.json``.

The format is a fact that both sides keep to; no PEFT is needed here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from ..configuration.lora_options import ALL_LINEAR, PEFT_NAMES, check_lora_options
from ..configuration_utils import PretrainedConfig
from ..methods.lora.config import NOT_OFFERED
from ..methods.lora.layers import lora_layers, lora_parameter_names
from ..methods.lora.places import may_be_head, saved_module_names
from .interface import AdaptableModel
from .shapes import PEFT_CONFIG

__all__ = [
    "architecture_of",
    "beyond_peft",
    "classifier_width",
    "from_peft_names",
    "peft_config",
    "read_peft_config",
    "to_peft_names",
]

PEFT_VERSION = "0.21.2"  # whose form is written
_PREFIX = "base_model.model."

# Fields of PEFT's LoraConfig at the values that switch them off.
_SWITCHED_OFF: dict[str, Any] = {**NOT_OFFERED, "auto_mapping": None, "revision": None}

# Ways of starting an adapter that leave the base's weights alone; the others (PiSSA, OLoRA, CorDA, LoftQ, …) take a
# part out of them, so that the adapter does not belong to the base as it was published.
_HARMLESS_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")

# Those that say nothing about how the weights are to be used.
_HARMLESS = {
    "auto_mapping",
    "init_lora_weights",
    "megatron_core",
    "qalora_group_size",
    "revision",
    "ensure_weight_tying",
}

_CLASSIFIERS = {"classifier", "score"}  # the heads that PEFT trains by itself for SEQ_CLS and TOKEN_CLS


def to_peft_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters from this package's names to PEFT's, which keeps a LoRA layer's own in ``base_layer``."""
    layers = {name.rpartition(".")[0] for name in tensors if name.endswith((".lora_A", ".lora_embedding_A"))}
    renamed = {}
    for name, tensor in tensors.items():
        where, _, last = name.rpartition(".")
        if last in ("lora_A", "lora_B"):
            name = f"{name}.weight"
        elif where in layers and not last.startswith("lora_"):
            name = f"{where}.base_layer.{last}"
        renamed[f"{_PREFIX}{name}"] = tensor
    return renamed


def from_peft_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters from PEFT's names to this package's; copies of a head that PEFT writes beside it go."""
    renamed = {}
    for name, tensor in tensors.items():
        if ".modules_to_save." in name or ".original_module." in name:
            continue
        name = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
        for matrix in (".lora_A", ".lora_B", ".lora_magnitude_vector"):
            name = name.removesuffix(".weight") if name.endswith(f"{matrix}.weight") else name
        renamed[name] = tensor
    return renamed


def classifier_width(tensors: Mapping[str, Tensor]) -> int | None:
    """Read the number of labels off a classifier, as PEFT calls it; None where an adapter has none."""
    widths = [
        tensor.shape[0]
        for name, tensor in tensors.items()
        if tensor.dim() == 1 and not _CLASSIFIERS.isdisjoint(name.split("."))
    ]
    return min(widths, default=None)


def peft_config(
    model: AdaptableModel, config: PretrainedConfig, base: str, trained: Collection[str]
) -> dict[str, Any]:
    """Give the content of ``adapter_config.json``.

    Args:
        model: A LoRA model.
        config: The configuration that it is saved under.
        base: Path or hub id of its base.
        trained: Names of the parameters that the adapter holds.

    Returns:
        What PEFT's own ``save_pretrained`` would write for the same adapter.
    """
    reason = beyond_peft(model, trained)
    return {
        **_SWITCHED_OFF,
        **_places(model, config),
        "base_model_name_or_path": base,
        "bias": _bias(model, trained) or "none",
        "inference_mode": True,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "modules_to_save": _modules_to_save(model, trained),
        "peft_type": "LORA" if reason is None else f"LORA ({reason})",  # PEFT refuses a type that it does not know
        "peft_version": PEFT_VERSION,
        "r": config.lora_r,
        "task_type": model.task_type,
    }


def _places(model: AdaptableModel, config: PretrainedConfig) -> dict[str, Any]:
    """Give PEFT's fields for where LoRA goes in and in which form."""
    fields: dict[str, Any] = {peft: getattr(config, ours) for peft, ours in PEFT_NAMES.items()}
    targets = config.lora_target_modules
    targets = sorted(config.lora_targets) if targets is None else targets
    names_whole_paths = isinstance(targets, str) or any("." in target for target in targets)
    if targets == ALL_LINEAR or (names_whole_paths and not model.has_head):
        # PEFT's own all-linear would reach into the head; the paths of a bare encoder begin otherwise there
        targets = sorted(path for path, layer in lora_layers(model) if layer.current_update() is not None)
        fields.update(exclude_modules=None, layers_to_transform=None, layers_pattern=None)
    start = config.lora_init if config.lora_init in ("gaussian", "orthogonal") else True
    return {**fields, "target_modules": targets, "init_lora_weights": start}


def beyond_peft(model: AdaptableModel, trained: Collection[str]) -> str | None:
    """Say why PEFT cannot represent an adapter; None where it can.

    Args:
        model: A LoRA model.
        trained: Names of the parameters that the adapter holds.
    """
    config = model.config
    adapts_query = any(".query_proj.lora_" in name for name in trained)
    if adapts_query and config.shares_position_query and not getattr(config, "lora_position_query", True):
        return "not for PEFT: relative positions go through the base's query projection, lora_position_query=False"
    if _bias(model, trained) is None:
        return "not for PEFT: a part of the encoder's own parameters is trained too"
    return None


def _bias(model: AdaptableModel, trained: Collection[str]) -> str | None:
    """Give PEFT's name for the encoder's biases that are trained; None where it has no name for the choice."""
    base = {name for name, _ in model.named_parameters() if model.is_base_parameter(name)}
    dtypes = model.base_record.dtypes
    provided = base if dtypes is None else base & set(dtypes)
    saved = saved_module_names(model, model.config.lora_modules_to_save)
    extra = (set(trained) & provided) - lora_parameter_names(model) - saved
    paths = {path for path, layer in lora_layers(model) if layer.current_update() is not None}
    choices = {
        "none": set(),
        "all": {name for name in provided if name.endswith(".bias")},
        "lora_only": {f"{path}.bias" for path in paths} & provided,
    }
    return next((choice for choice, names in choices.items() if names - saved == extra), None)


def _modules_to_save(model: AdaptableModel, trained: Collection[str]) -> list[str] | None:
    """Name the modules that are trained in full: the head's, and inside the encoder those that the base lacks."""
    lora, provided = lora_parameter_names(model), model.base_record.dtypes
    modules = set(model.config.lora_modules_to_save or ())
    for name in trained:
        if not model.is_base_parameter(name):
            modules.add(name.partition(".")[0])
        elif name not in lora and provided is not None and name not in provided:
            modules.add(name.rpartition(".")[0])
    return sorted(modules) or None


def architecture_of(content: dict[str, Any]) -> str | None:
    """Read the class of model that PEFT notes of a task that it has no name for; None where there is none.

    Args:
        content: The JSON object.
    """
    noted = content.get("auto_mapping")
    found = noted.get("base_model_class") if isinstance(noted, dict) else None
    return found if isinstance(found, str) else None


def read_peft_config(content: dict[str, Any], source: str) -> dict[str, Any]:
    """Read the LoRA fields out of an ``adapter_config.json``, refusing what cannot be represented here.

    Args:
        content: The file's content.
        source: Its path, for messages.

    Returns:
        ``base`` (path or hub id, or None), ``r``, ``lora_alpha``, ``lora_dropout`` and ``options``, the fields of
        `LORA_OPTIONS` that are set.

    Raises:
        ValueError: If a field has a wrong type or value, or asks for a PEFT feature that is not part of this package.
    """
    if not str(content.get("peft_type")).startswith("LORA"):
        raise ValueError(f"'{source}': peft_type is {content.get('peft_type')!r}; only LORA is supported here.")
    for name, off in _SWITCHED_OFF.items():
        value = content.get(name, off)
        if name not in _HARMLESS and value and value != off:
            raise ValueError(f"'{source}': {name} is {value!r}, a PEFT feature that is not part of this package.")
    if content.get("init_lora_weights") not in _HARMLESS_STARTS:
        raise ValueError(
            f"'{source}': init_lora_weights is {content['init_lora_weights']!r}, which changes the base's weights; "
            "let PEFT save it as a plain adapter (path_initial_model_for_weight_conversion)."
        )
    PEFT_CONFIG.check(content, f"'{source}'")
    return {
        "base": content.get("base_model_name_or_path"),
        "r": content["r"],
        "lora_alpha": content["lora_alpha"],
        "lora_dropout": content.get("lora_dropout", 0.0),
        "options": _read_options(content, source),
    }


def _read_options(content: dict[str, Any], source: str) -> dict[str, Any]:
    """Read the options that both have, of the types that this package takes; `find_places` judges the names."""
    targets = content.get("target_modules")
    as_list = isinstance(targets, list) and targets and all(isinstance(target, str) for target in targets)
    if not as_list and not (isinstance(targets, str) and targets):
        raise ValueError(
            f"'{source}': target_modules is {targets!r}; a list of module names or a regular expression was expected."
        )
    found = {ours: content.get(peft) for peft, ours in PEFT_NAMES.items()}
    options = {name: value for name, value in found.items() if value not in (None, [], {}, "")}
    options["lora_target_modules"] = sorted(targets) if isinstance(targets, list) else targets
    saved = [name for name in content.get("modules_to_save") or [] if not may_be_head(name)]
    options["lora_modules_to_save"] = saved or None
    options["lora_bias"] = content.get("bias", "none")
    config = PretrainedConfig()
    vars(config).update({**options, "apply_lora": True, "lora_r": content["r"]})
    try:  # the very checks that a configuration has
        check_lora_options(config)
    except ValueError as error:
        raise ValueError(f"'{source}': {error}") from error
    return options
