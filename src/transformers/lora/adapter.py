"""The adapter folder: a task in a few megabytes that says by itself what it is and what it belongs to.

``adapter_model.safetensors`` and ``adapter_config.json`` are in PEFT's form, ``lora_metadata.json`` holds what PEFT
leaves out. Reading checks everything first and changes the model last, so a bad file leaves the model as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..configuration_utils import split_hub_options
from ..hub import cached_file, load_json
from ..utils import logging
from ..weights import read_tensors
from .layers import lora_parameter_names
from .legacy import read_legacy_adapter
from .metadata import adapter_metadata, file_sha256, hash_base, read_metadata
from .peft_format import from_peft_names, peft_config, read_peft_config, to_peft_names

if TYPE_CHECKING:
    from ..configuration_utils import PretrainedConfig
    from ..modeling_utils import PreTrainedModel

__all__ = [
    "adapter_config_overrides",
    "adapter_settings",
    "adapter_tensors",
    "base_options",
    "hash_base",
    "is_adapter",
    "load_adapter_weights",
    "load_with_adapter",
    "save_adapter",
    "start_from_adapter",
]

logger = logging.get_logger(__name__)

WEIGHTS_NAME = "adapter_model.safetensors"
CONFIG_NAME = "adapter_config.json"
METADATA_NAME = "lora_metadata.json"


def is_adapter(path_or_repo_id: str | os.PathLike[str], **hub_options: Any) -> bool:
    """Say whether a folder or hub repository is an adapter rather than a whole model."""
    if Path(path_or_repo_id).is_file():
        return False
    if cached_file(path_or_repo_id, "config.json", **hub_options) is not None:
        return False
    return cached_file(path_or_repo_id, CONFIG_NAME, **hub_options) is not None


# Saving -------------------------------------------------------------------------------------------------------


def adapter_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Give what a LoRA run trains, under the model's names: matrices, head, and what the base did not provide."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_adapter(
    model: PreTrainedModel,
    folder: str | os.PathLike[str],
    *,
    tokenizer: Any = None,
    training_args: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter's folder.

    Each file is written beside its place and then renamed, the metadata with its hash of the weights last.

    Args:
        model: A LoRA model.
        folder: Made where it does not exist.
        tokenizer: Described in the metadata (and saved by whoever calls, where wanted).
        training_args: The run's arguments, JSON-ready, kept in the metadata.

    Raises:
        ValueError: If the model has no LoRA layers, or a value is not finite.
        OSError: If the folder cannot be written.
    """
    from safetensors.torch import save_file

    if not model.config.apply_lora:
        raise ValueError("This model has no LoRA layers, so there is no adapter; save it with save_pretrained.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = adapter_tensors(model)
    _check_finite(tensors, "the model")
    base = _base_name(model)
    contiguous = {name: tensor.contiguous().cpu() for name, tensor in to_peft_names(tensors).items()}
    weights = folder / WEIGHTS_NAME
    _replace(weights, lambda path: save_file(contiguous, path, metadata={"format": "pt"}))
    trained = list(tensors)
    _write_json(folder / CONFIG_NAME, peft_config(model, base, trained))
    metadata = adapter_metadata(
        model, base=base, weights=weights, trained=trained, tokenizer=tokenizer, training_args=training_args
    )
    _write_json(folder / METADATA_NAME, metadata)


def _base_name(model: PreTrainedModel) -> str:
    """Give the base's hub id, or its folder's full path, so that the adapter finds it from anywhere.

    A model whose weights were made here, not loaded, has no base that anybody could find.
    """
    if model.base_hash is None:
        logger.warning("This model's base was not loaded, so nobody else has it: keep it with save_pretrained too.")
        return ""
    name = model.name_or_path
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


def _read_folder(
    path_or_repo_id: str | os.PathLike[str], **hub_options: Any
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Read an adapter's two JSON files and find its weights.

    Returns:
        The fields of `read_peft_config`, the metadata (empty where PEFT wrote the folder), and the weights' path.
    """
    config_path = cached_file(path_or_repo_id, CONFIG_NAME, **hub_options)
    if config_path is None:
        raise OSError(f"'{path_or_repo_id}' is no adapter: it holds no {CONFIG_NAME}.")
    fields = read_peft_config(load_json(config_path), str(config_path))
    weights = cached_file(path_or_repo_id, WEIGHTS_NAME, **hub_options)
    if weights is None:
        raise OSError(f"'{path_or_repo_id}' holds {CONFIG_NAME} but no {WEIGHTS_NAME}.")
    metadata_path = cached_file(path_or_repo_id, METADATA_NAME, **hub_options)
    metadata = {} if metadata_path is None else read_metadata(metadata_path)
    if metadata:
        _check_agreement(fields, metadata, weights)
    return fields, metadata, weights


def _check_agreement(fields: dict[str, Any], metadata: dict[str, Any], weights: Path) -> None:
    """Refuse a folder whose three files were not written together."""
    if metadata["weights_sha256"] != file_sha256(weights):
        raise ValueError(
            f"'{weights}' is not the file that the {METADATA_NAME} beside it describes (its sha256 differs): it was "
            "damaged or replaced. Copy the whole folder again."
        )
    for name, value in (("r", metadata["lora_r"]), ("lora_alpha", metadata["lora_alpha"])):
        if fields[name] != value:
            raise ValueError(
                f"'{weights.parent}': {name} is {fields[name]} in {CONFIG_NAME}, but {value} in {METADATA_NAME}. "
                "One of them was changed by hand; another value than in training gives wrong results."
            )


def adapter_config_overrides(
    path_or_repo_id: str | os.PathLike[str], base: str | os.PathLike[str] | None = None, **hub_options: Any
) -> tuple[str, dict[str, Any]]:
    """Give an adapter's base and the configuration fields that it puts over the base's.

    Args:
        path_or_repo_id: The adapter.
        base: Where its base is now; as the adapter says where None.
        **hub_options: See `transformers.hub.cached_file`.

    Raises:
        OSError: If this is no adapter.
        ValueError: If a file of it is damaged or asks for what is not supported, or it names no base.
    """
    fields, metadata, weights = _read_folder(path_or_repo_id, **hub_options)
    base = base or fields["base"]
    if not base:
        raise ValueError(
            f"The adapter '{path_or_repo_id}' does not say which base it belongs to; pass base_model_name_or_path=…."
        )
    overrides: dict[str, Any] = {
        "apply_lora": True,
        "lora_r": fields["r"],
        "lora_alpha": fields["lora_alpha"],
        "lora_dropout": fields["lora_dropout"],
    }
    if metadata:
        overrides["id2label"] = metadata["id2label"]
        overrides["problem_type"] = metadata["problem_type"]
        if metadata.get("lora_position_query") is not None:
            overrides["lora_position_query"] = metadata["lora_position_query"]
        overrides["finetuning_task"] = metadata["finetuning_task"]
    else:
        overrides["num_labels"] = _head_width(read_tensors(weights))
    return os.fspath(base), overrides


def _head_width(tensors: dict[str, Tensor]) -> int:
    """Read the number of labels off the last bias of the head."""
    widths = [tensor.shape[0] for name, tensor in tensors.items() if "classifier" in name and tensor.dim() == 1]
    return min(widths, default=2)


def load_with_adapter(
    model_class: type[PreTrainedModel], path_or_repo_id: str | os.PathLike[str], **kwargs: Any
) -> PreTrainedModel:
    """Load the base that an adapter names, and the adapter over it.

    Args:
        model_class: The model's class.
        path_or_repo_id: The adapter.
        **kwargs: As of `PreTrainedModel.from_pretrained`; ``base_model_name_or_path`` names the base anew where it
            has moved.

    Returns:
        The model in evaluation mode, with the adapter's labels and head.

    Raises:
        OSError: If adapter or base is not found.
        ValueError: If the base is another than the adapter was trained on, or a file is damaged.
    """
    own_base = kwargs.pop("base_model_name_or_path", None)
    if kwargs.get("output_loading_info"):
        raise ValueError("output_loading_info is not offered for an adapter's folder; load the base with it.")
    options, rest = split_hub_options(kwargs)
    base, overrides = adapter_config_overrides(path_or_repo_id, own_base, **options)
    _, metadata, _ = _read_folder(path_or_repo_id, **options)
    if rest.get("config") is not None:
        overrides = {}  # the caller's configuration is AutoConfig's, which has the adapter's fields
    try:
        model = model_class.from_pretrained(base, **base_options(options), **{**overrides, **rest})
    except OSError as error:
        raise OSError(
            f"The adapter '{path_or_repo_id}' belongs to the base '{base}', which cannot be loaded: {error} If it has "
            "moved, pass base_model_name_or_path=…."
        ) from error
    assert not isinstance(model, tuple)  # no output_loading_info
    expected = metadata.get("base_sha256")
    if expected and model.base_hash != expected:
        raise ValueError(
            f"The adapter '{path_or_repo_id}' was trained on '{metadata.get('base_model_name_or_path')}' (content "
            f"{str(expected)[:12]}…), but '{base}' holds other weights ({str(model.base_hash)[:12]}…)."
        )
    load_adapter_weights(model, path_or_repo_id, **options)
    model.eval()
    return model


def base_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the hub options that hold for an adapter's base too: not its own revision and subfolder."""
    return {name: value for name, value in options.items() if name not in ("revision", "subfolder")}


def load_adapter_weights(model: PreTrainedModel, path_or_repo_id: str | os.PathLike[str], **hub_options: Any) -> None:
    """Put an adapter's values, matrices and head, into a model in place.

    Args:
        model: A LoRA model of the adapter's shapes.
        path_or_repo_id: The adapter.
        **hub_options: See `transformers.hub.cached_file`.

    Raises:
        OSError: If this is no adapter.
        ValueError: If names, shapes, r or alpha do not fit, or a value is not finite. The model is then unchanged.
    """
    fields, metadata, weights = _read_folder(path_or_repo_id, **hub_options)
    source = os.fspath(path_or_repo_id)
    _check_settings(model.config, source, fields["r"], fields["lora_alpha"])
    _check_position_query(model.config, source, _position_query(metadata))
    tensors = from_peft_names(read_tensors(weights))
    expected = adapter_tensors(model)
    lacking = sorted(set(expected) - set(tensors))
    foreign = sorted(set(tensors) - set(expected))
    if lacking or foreign:
        raise ValueError(
            f"The adapter '{source}' does not fit this model: "
            + "; ".join(
                f"{len(names)} tensors {what}, such as {names[0]}"
                for names, what in ((lacking, "are lacking"), (foreign, "have no place here"))
                if names
            )
            + "."
        )
    _check_shapes(tensors, expected, source)
    _check_finite(tensors, f"'{source}'")
    _copy(model, tensors)


def adapter_settings(path: str | os.PathLike[str]) -> tuple[int, float | None]:
    """Give an adapter's r and alpha; alpha is None for an original file that was not published.

    Args:
        path: An adapter's folder, or an original ``.bin`` file.

    Raises:
        OSError: If there is no such adapter.
        ValueError: If it is damaged.
    """
    adapter = _read_any(path)
    return adapter.r, adapter.lora_alpha


class _Adapter(NamedTuple):
    """What an adapter's folder or an original file says; alpha and labels are None where it does not."""

    tensors: dict[str, Tensor]
    r: int
    lora_alpha: float | None
    labels: dict[int, str] | None
    position_query: bool


def _read_any(path: str | os.PathLike[str]) -> _Adapter:
    """Read an adapter's folder or an original file."""
    if Path(path).is_dir():
        fields, metadata, weights = _read_folder(path)
        tensors = from_peft_names(read_tensors(weights))
        return _Adapter(
            tensors, fields["r"], fields["lora_alpha"], metadata.get("id2label"), _position_query(metadata)
        )
    legacy = read_legacy_adapter(path)
    labels = dict(enumerate(legacy.labels)) if legacy.labels else None
    return _Adapter(legacy.tensors, legacy.r, legacy.lora_alpha, labels, position_query=False)


def _position_query(metadata: Mapping[str, Any]) -> bool:
    """Say what LoRA means for DeBERTa's position query in a folder; without metadata it is PEFT's."""
    return bool(metadata.get("lora_position_query")) if metadata else True


def start_from_adapter(model: PreTrainedModel, path: str | os.PathLike[str]) -> str:
    """Let a run start from another task's adapter: the LoRA part always, the head where its shape is the same.

    Args:
        model: A LoRA model.
        path: An adapter's folder, or an original ``.bin`` file.

    Returns:
        One line that says what was taken.

    Raises:
        OSError: If there is no such adapter.
        ValueError: If r or alpha contradict the adapter's, its matrices do not fit, or a value is not finite. The
            model is then unchanged.
    """
    source = os.fspath(path)
    tensors, r, alpha, labels, position_query = _read_any(path)
    if alpha is None:
        logger.warning(
            "'%s' does not say its alpha; it is used with lora_alpha %s. Another alpha than it was trained with gives "
            "wrong results without an error.",
            source,
            model.config.lora_alpha,
        )
    _check_settings(model.config, source, r, alpha)
    _check_position_query(model.config, source, position_query)
    expected = adapter_tensors(model)
    lora_names = lora_parameter_names(model)
    lora = {name: tensor for name, tensor in tensors.items() if name in lora_names}
    foreign = sorted(name for name in tensors if ".lora_" in name and name not in lora_names)
    lacking = sorted(lora_names - set(lora))
    if foreign or lacking:
        raise ValueError(
            f"The adapter '{source}' is for another model: its {(foreign or lacking)[0]} "
            f"{'has no place in this one' if foreign else 'is lacking'}."
        )
    _check_shapes(lora, expected, source)
    head = {name: tensor for name, tensor in tensors.items() if name in expected and name not in lora_names}
    whole = bool(head) and set(head) == set(expected) - lora_names
    same_shape = whole and all(tensor.shape == expected[name].shape for name, tensor in head.items())
    same_head = same_shape and labels in (None, model.config.id2label)
    taken = {**lora, **head} if same_head else lora
    _check_finite(taken, f"'{source}'")
    _copy(model, taken)
    if same_head:
        return f"Started from '{source}': its {len(lora)} LoRA matrices and its head."
    other = "its labels are others" if same_shape else "its head has another shape"
    reason = other if whole else "it has no whole head"
    return f"Started from '{source}': its {len(lora)} LoRA matrices; {reason}, so the head here is new."


# Checks -------------------------------------------------------------------------------------------------------


def _check_settings(config: PretrainedConfig, source: str, r: int, alpha: float | None) -> None:
    """Refuse r or alpha that contradict the adapter's."""
    if not config.apply_lora:
        raise ValueError(f"'{source}' is an adapter, but this model has no LoRA layers: set apply_lora.")
    if config.lora_r != r or (alpha is not None and config.lora_alpha != alpha):
        raise ValueError(
            f"The adapter '{source}' was made with lora_r {r} and lora_alpha {'unknown' if alpha is None else alpha}, "
            f"but this run asks for lora_r {config.lora_r} and lora_alpha {config.lora_alpha}. Use the adapter's."
        )


def _check_position_query(config: PretrainedConfig, source: str, position_query: bool) -> None:
    """Refuse an adapter that means something else by LoRA in DeBERTa's shared position query."""
    shared = getattr(config, "share_att_key", False) and "p2c" in (getattr(config, "pos_att_type", None) or ())
    if shared and getattr(config, "lora_position_query", position_query) != position_query:
        raise ValueError(
            f"The adapter '{source}' was trained with lora_position_query={position_query} "
            f"({'as in PEFT, the position query is adapted' if position_query else 'as in the original, it is not'}), "
            f"but this model has {not position_query}: its outputs would be wrong. Set lora_position_query to the "
            "adapter's."
        )


def _check_shapes(tensors: dict[str, Tensor], expected: dict[str, Tensor], source: str) -> None:
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"The adapter '{source}' does not fit this model: {name} is {tuple(tensor.shape)} there and "
                f"{tuple(expected[name].shape)} here."
            )


def _check_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} of {source} holds values that are not finite (NaN or infinity).")


def _copy(model: PreTrainedModel, tensors: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
