"""Loading from an adapter folder: a task in a few megabytes that says by itself what it is and what it belongs to.

``adapter_model.safetensors`` and ``adapter_config.json`` are in PEFT's form, ``lora_metadata.json`` holds what PEFT
leaves out. What PEFT's form cannot hold (bottleneck adapters, biases alone) has one of its own (`part_format`).
Reading checks everything first and changes the model last, so a bad file leaves the model as it was. `saving` writes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..configuration.labels import drop_other_labels
from ..configuration_utils import PretrainedConfig
from ..methods.bitfit import bias_parameter_names
from ..methods.bottleneck import bottleneck_parameter_names
from ..methods.lora.layers import DEFAULT_ADAPTER, lora_parameter_names, lora_start_names
from ..utils import logging
from ..utils.hub import split_hub_options
from .fitting import fit, head_buffers
from .interface import AdaptableModel
from .peft_format import classifier_width
from .reading import AdapterContent, read_adapter
from .saving import adapter_tensors
from .started import as_started_in
from .switching import place

__all__ = [
    "adapter_config_overrides",
    "adapter_settings",
    "base_options",
    "load_adapter_weights",
    "load_with_adapter",
    "start_from_adapter",
]

logger = logging.get_logger(__name__)

_CHOICES = ("is_trainable", "allow_other_base", "ignore_mismatched_sizes")  # of who loads an adapter

_STORED = ("dtype", "torch_dtype", "quantization")  # how a base is kept, which is no field of its configuration

ModelType = TypeVar("ModelType", bound=AdaptableModel)


def adapter_config_overrides(
    path_or_repo_id: str | os.PathLike[str], base: str | os.PathLike[str] | None = None, **hub_options: Any
) -> tuple[str, dict[str, Any]]:
    """Give an adapter's base and the configuration fields that it puts over the base's.

    Args:
        path_or_repo_id: The adapter.
        base: Where its base is now; as the adapter says where None.
        **hub_options: See `transformers.utils.hub.cached_file`.

    Raises:
        OSError: If this is no adapter.
        ValueError: If a file of it is damaged or asks for what is not supported, or it names no base.
    """
    return _base_and_fields(read_adapter(path_or_repo_id, **hub_options), base)


def _base_and_fields(content: AdapterContent, base: str | os.PathLike[str] | None) -> tuple[str, dict[str, Any]]:
    base = base or content.base
    if not base:
        raise ValueError(
            f"The adapter '{content.source}' does not say which base it belongs to; pass base_model_name_or_path=…."
        )
    labels = len(content.id2label) if content.id2label is not None else classifier_width(content.tensors)
    fields = content.config_fields(labels or 1)
    if not labels:  # an adapter without a head, or with one that scores no classes
        fields = {name: value for name, value in fields.items() if name not in ("id2label", "label2id")}
    if any(".query_proj." in name for name in content.tensors):  # DeBERTa's alone has two meanings
        fields["lora_position_query"] = content.position_query
    if content.task_type == "CAUSAL_LM" or (content.architecture or "").endswith("ForCausalLM"):
        fields["is_decoder"] = True
    methods = content.methods or {"apply_lora": True, "apply_bitfit": content.all_biases}
    return os.fspath(base), {**fields, **methods}


def load_with_adapter(
    load_base: Callable[..., ModelType],
    config_class: type[PretrainedConfig],
    path_or_repo_id: str | os.PathLike[str],
    *model_args: Any,
    **kwargs: Any,
) -> ModelType:
    """Load the base that an adapter names, and the adapter over it.

    Args:
        load_base: Loads a whole model; its ``coming`` names what need not be reported as new.
        config_class: The configuration's class.
        path_or_repo_id: The adapter.
        *model_args: Further arguments of the model's class.
        **kwargs: As of ``from_pretrained``; ``base_model_name_or_path`` names the base anew where it has moved,
            ``is_trainable`` and ``allow_other_base`` are those of `AdapterMethods.load_adapter`, and with
            ``ignore_mismatched_sizes`` a head of another shape starts anew.

    Returns:
        The model in evaluation mode, with the adapter's labels and head.

    Raises:
        OSError: If adapter or base is not found.
        ValueError: If the base is another than the adapter was trained on, or a file is damaged; if what the caller
            asks for contradicts the adapter; or if ``output_loading_info`` is asked for.
    """
    own_base = kwargs.pop("base_model_name_or_path", None)
    choices = {name: kwargs.pop(name) for name in _CHOICES if name in kwargs}
    if kwargs.pop("output_loading_info", False):
        raise ValueError("output_loading_info is not offered for an adapter's folder; load the base with it.")
    options, rest = split_hub_options(kwargs)
    stored: dict[str, Any] = {name: rest.pop(name) for name in _STORED if name in rest}
    content = read_adapter(path_or_repo_id, **options)
    base, fields = _base_and_fields(content, own_base)
    config = rest.pop("config", None)
    try:
        if not isinstance(config, PretrainedConfig):
            where = base if config is None else config
            drop_other_labels(fields, rest)
            fields = {**fields, **rest, **base_options(options), "return_unused_kwargs": True}
            config, rest = config_class.from_pretrained(where, **fields)  # type: ignore[misc]
        content.check_settings(config)
        content = content.with_fields_of(config)
        keywords: dict[str, Any] = {**base_options(options), **stored, **rest}
        with _plain(config):
            model = load_base(base, *model_args, config=config, coming=content.tensors, **keywords)
    except OSError as error:
        raise OSError(
            f"The adapter '{path_or_repo_id}' belongs to the base '{base}', which cannot be loaded: {error} If it has "
            "moved, pass base_model_name_or_path=…."
        ) from error
    place(model, content, DEFAULT_ADAPTER, **choices, other_head=False)
    return model.eval()


@contextmanager
def _plain(config: PretrainedConfig) -> Iterator[None]:
    """Make a configuration a plain base's, to which the adapter brings LoRA; on an error it is as before."""
    wanted, config.apply_lora = config.apply_lora, False
    try:
        yield
    except BaseException:
        config.apply_lora = wanted
        raise


def base_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the hub options that hold for an adapter's base too: not its own revision and subfolder."""
    return {name: value for name, value in options.items() if name not in ("revision", "subfolder")}


def load_adapter_weights(model: AdaptableModel, path_or_repo_id: str | os.PathLike[str], **hub_options: Any) -> None:
    """Put an adapter's values, matrices and head, into a model in place.

    Args:
        model: A model of the adapter's shapes, with the same choice of what is trained.
        path_or_repo_id: The adapter.
        **hub_options: See `transformers.utils.hub.cached_file`.

    Raises:
        OSError: If this is no adapter.
        ValueError: If names, shapes, r or alpha do not fit, or a value is not finite. The model is then unchanged.
    """
    _put(model, as_started_in(model, read_adapter(path_or_repo_id, **hub_options)))


def _put(model: AdaptableModel, content: AdapterContent) -> None:
    """Check an adapter against a model, then copy its values; what it trains of the encoder is trained here too."""
    content.check_settings(model.config)
    adapter = fit(model, content, in_place=True)
    parameters, starts = dict(model.named_parameters()), lora_start_names(model)
    model.keep_base_values(adapter.tensors)
    for name in adapter.content.tensors:
        if name in parameters and model.is_base_parameter(name):
            if model.base_record.provides(name):
                model.base_record.adapted.add(name)
            parameters[name].requires_grad_(name not in starts)
            parameters[name].data = parameters[name].data.to(torch.get_default_dtype())
    _copy(model, adapter.tensors)


def adapter_settings(path: str | os.PathLike[str]) -> tuple[int, float | None]:
    """Give an adapter's r and alpha; alpha is None for an original file that was not published.

    Args:
        path: An adapter's folder, or an original ``.bin`` file.

    Raises:
        OSError: If there is no such adapter.
        ValueError: If it is damaged.
    """
    content = read_adapter(path)
    _require_lora(content)
    return content.r, content.lora_alpha


class StartReport(NamedTuple):
    """What a run took of another task's adapter.

    Attributes:
        line: One line that says it.
        head_taken: Whether the head was taken too; otherwise it has new values.
    """

    line: str
    head_taken: bool


def start_from_adapter(model: AdaptableModel, path: str | os.PathLike[str]) -> StartReport:
    """Let a run start from another task's adapter: the LoRA part always, the head where its shape is the same.

    Args:
        model: A LoRA model.
        path: An adapter's folder, or an original ``.bin`` file.

    Returns:
        What was taken.

    Raises:
        OSError: If there is no such adapter.
        ValueError: If r or alpha contradict the adapter's, its matrices do not fit, or a value is not finite. The
            model is then unchanged.
    """
    content = read_adapter(path)
    _require_lora(content)
    source = content.source
    if content.lora_alpha is None:
        logger.warning(
            "'%s' does not say its alpha; it is used with lora_alpha %s. Another alpha than it was trained with gives "
            "wrong results without an error.",
            source,
            model.config.lora_alpha,
        )
    dataclasses.replace(content, methods={}).check_settings(model.config)
    expected = _lora_run_tensors(model)
    lora_names = lora_parameter_names(model)
    lora = {name: tensor for name, tensor in content.tensors.items() if name in lora_names}
    foreign = sorted(name for name in content.tensors if ".lora_" in name and name not in lora_names)
    lacking = sorted(lora_names - set(lora))
    if foreign or lacking:
        raise ValueError(
            f"The adapter '{source}' is for another model: its {(foreign or lacking)[0]} "
            f"{'has no place in this one' if foreign else 'is lacking'}."
        )
    _check_shapes(lora, expected, source)
    head = {name: tensor for name, tensor in content.tensors.items() if name in expected and name not in lora_names}
    whole = bool(head) and set(head) == set(expected) - lora_names
    same_shape = whole and all(tensor.shape == expected[name].shape for name, tensor in head.items())
    same_head = same_shape and content.id2label in (None, model.config.id2label)
    _copy(model, {**lora, **head} if same_head else lora)
    if same_head:
        return StartReport(f"Started from '{source}': its {len(lora)} LoRA matrices and its head.", True)
    reason = _why_the_head_is_new(content, expected, whole, same_shape)
    line = f"Started from '{source}': its {len(lora)} LoRA matrices; {reason}, so the head here is new."
    return StartReport(line, False)


def _why_the_head_is_new(
    content: AdapterContent, expected: Mapping[str, Tensor], whole: bool, same_shape: bool
) -> str:
    if whole:
        return "its labels are others" if same_shape else "its head has another shape"
    foreign = any(name not in expected and ".lora_" not in name for name in content.tensors)
    return "its head is another task's" if foreign else "it has no whole head"


def _require_lora(content: AdapterContent) -> None:
    if not content.r:
        raise ValueError(f"'{content.source}' holds no LoRA adapter, but bottleneck adapters or biases alone.")


def _lora_run_tensors(model: AdaptableModel) -> dict[str, Tensor]:
    """Give what LoRA alone would train: not the bottleneck adapters, nor biases of the base, that may be beside it."""
    beside = bottleneck_parameter_names(model)
    if model.config.apply_bitfit:
        beside |= {name for name in bias_parameter_names(model) if model.is_base_parameter(name)}
    return {name: tensor for name, tensor in adapter_tensors(model).items() if name not in beside}


def _check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"The adapter '{source}' does not fit this model: {name} is {tuple(tensor.shape)} there and "
                f"{tuple(expected[name].shape)} here."
            )


def _copy(model: AdaptableModel, tensors: Mapping[str, Tensor]) -> None:
    own = {**dict(model.named_parameters()), **head_buffers(model)}
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
