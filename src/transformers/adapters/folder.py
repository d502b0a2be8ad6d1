"""The adapter folder: a task in a few megabytes that says by itself what it is and what it belongs to.

``adapter_model.safetensors`` and ``adapter_config.json`` are in PEFT's form, ``lora_metadata.json`` holds what PEFT
leaves out. What PEFT's form cannot hold (bottleneck adapters, biases alone) has one of its own (`part_format`).
Reading checks everything first and changes the model last, so a bad file leaves the model as it was.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..methods.bitfit import bias_parameter_names
from ..methods.bottleneck import bottleneck_parameter_names
from ..methods.lora.layers import lora_parameter_names
from ..methods.trainable import trainable_names
from ..modeling.load_report import rest_follows
from ..utils import logging
from ..utils.hub import split_hub_options
from .interface import AdaptableModel
from .metadata import adapter_metadata
from .part_format import PART_METADATA_NAME, PART_WEIGHTS_NAME, methods_of, peft_holds
from .peft_format import peft_config, to_peft_names
from .reading import CONFIG_NAME, METADATA_NAME, WEIGHTS_NAME, AdapterContent, read_adapter

__all__ = [
    "adapter_config_overrides",
    "adapter_settings",
    "adapter_tensors",
    "base_options",
    "load_adapter_weights",
    "load_with_adapter",
    "save_adapter",
    "start_from_adapter",
]

logger = logging.get_logger(__name__)

ADAPTER_FILES = (WEIGHTS_NAME, CONFIG_NAME, METADATA_NAME)
PART_FILES = (PART_WEIGHTS_NAME, PART_METADATA_NAME)


# Saving -------------------------------------------------------------------------------------------------------


def adapter_tensors(model: AdaptableModel) -> dict[str, Tensor]:
    """Give what a run on a frozen base trains, under the model's names.

    That is the choice of `transformers.methods.trainable`, what was unfrozen by hand, such as the biases of loralib's
    ``mark_only_lora_as_trainable(model, "all")``, and the buffers of a head, such as the running statistics of a
    BatchNorm.
    """
    chosen = trainable_names(model)
    trained = {name: p.detach() for name, p in model.named_parameters() if name in chosen or p.requires_grad}
    return trained | _head_buffers(model)


def _head_buffers(model: AdaptableModel) -> dict[str, Tensor]:
    """Give the buffers outside of the encoder that a checkpoint holds."""
    kept = model.state_dict().keys()
    return {n: buffer for n, buffer in model.named_buffers() if n in kept and not model.is_base_parameter(n)}


def save_adapter(
    model: AdaptableModel,
    folder: str | os.PathLike[str],
    *,
    tokenizer: Any = None,
    training_args: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter's folder, or in a form of its own what PEFT's cannot hold.

    Each file is written beside its place and then renamed, the metadata with its hash of the weights last.

    Args:
        model: A LoRA model, or another one whose base is frozen.
        folder: Made where it does not exist.
        tokenizer: Described in the metadata (and saved by whoever calls, where wanted).
        training_args: The run's arguments, JSON-ready, kept in the metadata.

    Raises:
        ValueError: If the model trains everything, or a value is not finite.
        OSError: If the folder cannot be written.
    """
    from safetensors.torch import save_file

    if not model.config.freezes_base:
        raise ValueError("This model has no LoRA layers, so there is no adapter; save it with save_pretrained.")
    for_peft = peft_holds(model.config)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = adapter_tensors(model)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} of the model holds values that are not finite; the adapter is not saved.")
    base = _base_name(model)
    named = to_peft_names(tensors) if for_peft else tensors
    contiguous = {name: tensor.contiguous().cpu() for name, tensor in named.items()}
    weights = folder / (WEIGHTS_NAME if for_peft else PART_WEIGHTS_NAME)
    _replace(weights, lambda path: save_file(contiguous, path, metadata={"format": "pt"}))
    trained = list(tensors)
    metadata = adapter_metadata(
        model, base=base, weights=weights, trained=trained, tokenizer=tokenizer, training_args=training_args
    )
    if for_peft:
        _write_json(folder / CONFIG_NAME, peft_config(model, base, trained))
        _write_json(folder / METADATA_NAME, metadata)
    else:
        _write_json(folder / PART_METADATA_NAME, {**metadata, "methods": methods_of(model.config)})
    for stale in PART_FILES if for_peft else ADAPTER_FILES:  # of another run into the same folder
        (folder / stale).unlink(missing_ok=True)


def _base_name(model: AdaptableModel) -> str:
    """Give the base's hub id, or its folder's full path, so that the adapter finds it from anywhere.

    A model whose weights were made here, not loaded, has no base that anybody could find.
    """
    record = model.base_record
    if not record.source or model.base_sha256() != record.sha256:
        logger.warning(
            "This model's base was not loaded, or was changed since, so nobody else has it: keep it with "
            "save_pretrained too, and pass base_model_name_or_path=… where the adapter is loaded."
        )
        return ""
    name = record.source
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name


def _replace(path: Path, write: Any) -> None:
    """Write a file under a temporary name, then put it in place in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


# Loading ------------------------------------------------------------------------------------------------------


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
    fields = content.config_fields(_head_width(content.tensors))
    if any(".query_proj." in name for name in content.tensors):  # DeBERTa's alone has two meanings
        fields["lora_position_query"] = content.position_query
    methods = content.methods or {"apply_lora": True, "apply_bitfit": content.all_biases}
    return os.fspath(base), {**fields, **methods}


def _head_width(tensors: Mapping[str, Tensor]) -> int:
    """Read the number of labels off the last bias of the head."""
    widths = [tensor.shape[0] for name, tensor in tensors.items() if "classifier" in name and tensor.dim() == 1]
    return min(widths, default=2)


def load_with_adapter(
    load_base: Callable[..., AdaptableModel | tuple[AdaptableModel, Any]],
    path_or_repo_id: str | os.PathLike[str],
    *model_args: Any,
    **kwargs: Any,
) -> AdaptableModel:
    """Load the base that an adapter names, and the adapter over it.

    Args:
        load_base: The ``from_pretrained`` of the model's class.
        path_or_repo_id: The adapter.
        *model_args: Further arguments of the model's class.
        **kwargs: As of `AdaptableModel.from_pretrained`; ``base_model_name_or_path`` names the base anew where it
            has moved.

    Returns:
        The model in evaluation mode, with the adapter's labels and head.

    Raises:
        OSError: If adapter or base is not found.
        ValueError: If the base is another than the adapter was trained on, or a file is damaged; or if
            ``output_loading_info`` is asked for.
    """
    own_base = kwargs.pop("base_model_name_or_path", None)
    if kwargs.get("output_loading_info"):
        raise ValueError("output_loading_info is not offered for an adapter's folder; load the base with it.")
    options, rest = split_hub_options(kwargs)
    content = read_adapter(path_or_repo_id, **options)
    base, overrides = _base_and_fields(content, own_base)
    if rest.get("config") is not None:
        overrides = {}  # the caller's configuration is AutoConfig's, which has the adapter's fields
    try:
        with rest_follows():
            model = load_base(base, *model_args, **base_options(options), **{**overrides, **rest})
    except OSError as error:
        raise OSError(
            f"The adapter '{path_or_repo_id}' belongs to the base '{base}', which cannot be loaded: {error} If it has "
            "moved, pass base_model_name_or_path=…."
        ) from error
    assert not isinstance(model, tuple)  # no output_loading_info
    content.check_base(model)
    _put(model, content)
    return model.eval()


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
    _put(model, read_adapter(path_or_repo_id, **hub_options))


def _put(model: AdaptableModel, content: AdapterContent) -> None:
    """Check an adapter against a model, then copy its values; what it trains of the encoder is trained here too."""
    content.check_settings(model.config)
    buffers = _head_buffers(model)
    parameters = dict(model.named_parameters())
    lacking = sorted({*trainable_names(model), *buffers} - set(content.tensors))
    foreign = sorted(set(content.tensors) - {*parameters, *buffers})
    for names, what in ((lacking, "are lacking"), (foreign, "have no place here")):
        if names:
            raise ValueError(
                f"The adapter '{content.source}' does not fit this model: {len(names)} tensors {what}, such as "
                f"{names[0]}."
            )
    _check_shapes(content.tensors, {**parameters, **buffers}, content.source)
    model.keep_base_values(content.tensors)
    for name in content.tensors:
        if model.is_base_parameter(name):
            if model.base_record.provides(name):
                model.base_record.adapted.add(name)
            parameters[name].requires_grad_(True)
            parameters[name].data = parameters[name].data.to(torch.get_default_dtype())
    _copy(model, content.tensors)


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
    other = "its labels are others" if same_shape else "its head has another shape"
    reason = other if whole else "it has no whole head"
    line = f"Started from '{source}': its {len(lora)} LoRA matrices; {reason}, so the head here is new."
    return StartReport(line, False)


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
    own = {**dict(model.named_parameters()), **_head_buffers(model)}
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
