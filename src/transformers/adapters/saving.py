"""Writing an adapter's folder: checked by the reader's own rules before it replaces anything.

The files are written into a folder of their own first, read back with the very reader, checked against the model, and
only then put in place. What cannot be loaded again is so never written, and what was there before stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..methods.lora.layers import lora_layers
from ..methods.lora.places import find_places
from ..methods.trainable import trainable_names
from ..utils import logging
from ..utils.writing import flush, scratch_beside, write_bytes, write_text
from .fitting import fit, head_buffers
from .interface import AdaptableModel
from .metadata import adapter_metadata
from .part_format import PART_METADATA_NAME, PART_WEIGHTS_NAME, methods_of, peft_holds
from .peft_format import peft_config, to_peft_names
from .reading import CONFIG_NAME, LEGACY_WEIGHTS_NAME, METADATA_NAME, WEIGHTS_NAME, read_adapter
from .started import as_started_in, for_published_base, published_config

__all__ = ["adapter_tensors", "refuse_adapter_in", "refuse_model_in", "save_adapter"]

logger = logging.get_logger(__name__)

# The last file of each form is the one by which a folder is an adapter.
_ADAPTER_FILES = (LEGACY_WEIGHTS_NAME, WEIGHTS_NAME, METADATA_NAME, CONFIG_NAME)
_PART_FILES = (PART_WEIGHTS_NAME, PART_METADATA_NAME)
_WHOLE_MODEL = ("model*.safetensors", "pytorch_model*.bin")


def adapter_tensors(model: AdaptableModel) -> dict[str, Tensor]:
    """Give what a run on a frozen base trains, under the model's names.

    That is the choice of `transformers.methods.trainable`, what the active adapter holds, what was unfrozen by hand,
    such as the biases of loralib's ``mark_only_lora_as_trainable(model, "all")``, and the buffers of a head, such as
    the running statistics of a BatchNorm.
    """
    state = model.adapter_state
    chosen = trainable_names(model)
    if state.active is not None:
        chosen |= set(state.loaded[state.active].parameters)
    trained = {name: p.detach() for name, p in model.named_parameters() if name in chosen or p.requires_grad}
    return trained | head_buffers(model)


def save_adapter(
    model: AdaptableModel,
    folder: str | os.PathLike[str],
    *,
    tokenizer: Any = None,
    training_args: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter's folder, or in a form of its own what PEFT's cannot hold.

    Args:
        model: A LoRA model, or another one whose base is frozen.
        folder: Made where it does not exist.
        tokenizer: Described in the metadata (and saved by whoever calls, where wanted).
        training_args: The run's arguments, JSON-ready, kept in the metadata.

    Raises:
        ValueError: If the model trains everything, a value is not finite, or the folder could not be loaded again:
            the configuration's LoRA fields or labels are not the model's, or labels are not named from 0 on. Nothing
            is changed then.
        OSError: If the folder cannot be written. What was in it stays.
    """
    if model.is_headless:
        raise ValueError(
            "An adapter without a head cannot be saved from a model that holds others: load it by itself, with "
            "AutoModel, and save it there."
        )
    if not model.config.freezes_base:
        raise ValueError("This model has no LoRA layers, so there is no adapter; save it with save_pretrained.")
    tensors = adapter_tensors(model)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} of the model holds values that are not finite; the adapter is not saved.")
    _check_lora_fields(model)
    _check_labels(model, tensors)
    folder = Path(folder)
    with scratch_beside(folder / folder.name if folder.is_dir() else folder) as scratch:  # it may be a mount
        names = _write(model, scratch, tensors, tokenizer, training_args)
        _read_back(model, scratch, tensors)
        _put_in_place(scratch, folder, names)


# Checks -------------------------------------------------------------------------------------------------------


def _check_lora_fields(model: AdaptableModel) -> None:
    """Refuse a configuration whose LoRA fields are not those of the layers, which are what is computed with."""
    config = model.config
    places = find_places(model, config, strict=False) if config.apply_lora else {}
    for path, layer in lora_layers(model):
        update, place = layer.current_update(), places.get(path)
        if (update is None) is not (place is None):
            what = "no LoRA" if update is None else "LoRA, which the configuration's targets leave out"
            raise ValueError(f"{path} has {what}: config.lora_target_modules is not the layers'. It is not saved.")
        if update is None or place is None:
            continue
        for field, asked, found in (
            ("lora_r", place.r, update.r),
            ("lora_alpha", place.lora_alpha, update.lora_alpha),
        ):
            if asked != found:
                raise ValueError(
                    f"config.{field} is {asked!r}, but {path} computes with {found!r}: loaded again, the adapter "
                    f"would be another one. It is not saved; set config.{field} to what the layers have."
                )


def _check_labels(model: AdaptableModel, tensors: Mapping[str, Tensor]) -> None:
    """Refuse labels that are not named from 0 on, or are not as many as the head scores."""
    id2label = model.config.id2label
    if not id2label or set(id2label) != set(range(len(id2label))):
        raise ValueError(
            f"config.id2label is {id2label!r}; the adapter is not saved: a name for each class id from 0 on was "
            "expected."
        )
    if not all(isinstance(label, str) for label in id2label.values()):
        raise ValueError(f"config.id2label is {id2label!r}; the adapter is not saved: texts were expected as names.")
    for name in model.label_parameters():
        if name in tensors and tensors[name].shape[0] != len(id2label):
            raise ValueError(
                f"config.num_labels is {len(id2label)}, but {name} scores {tensors[name].shape[0]} labels; the "
                "adapter is not saved. Set config.id2label to the names of the model's labels."
            )


def _read_back(model: AdaptableModel, scratch: Path, tensors: Mapping[str, Tensor]) -> None:
    """Read a written folder as any reader does, and compare it with the model.

    Raises:
        ValueError: If it could not be loaded, or is not what was written.
    """
    try:
        content = as_started_in(model, read_adapter(scratch))
        content.check_settings(model.config)
        found = fit(model, content, in_place=True).tensors
    except ValueError as error:
        raise ValueError(f"This adapter could not be loaded again, so it is not saved: {error}") from error
    different = [n for n, tensor in tensors.items() if n not in found or not torch.equal(found[n], tensor.cpu())]
    if different or content.id2label != dict(sorted(model.config.id2label.items())):
        what = different[0] if different else "id2label"
        raise ValueError(f"{what} came back as something else, so the adapter is not saved.")


# Writing ------------------------------------------------------------------------------------------------------


def _write(
    model: AdaptableModel,
    scratch: Path,
    tensors: Mapping[str, Tensor],
    tokenizer: Any,
    training_args: Mapping[str, Any] | None,
) -> tuple[str, ...]:
    """Write the files and give their names, the one by which the folder is an adapter last."""
    from safetensors.torch import save

    for_peft, base, trained = peft_holds(model.config), _base_name(model), list(tensors)
    config, saved = published_config(model.config), for_published_base(model, tensors)
    named = to_peft_names(saved) if for_peft else saved
    weights = scratch / (WEIGHTS_NAME if for_peft else PART_WEIGHTS_NAME)
    contiguous = {name: tensor.contiguous().cpu() for name, tensor in named.items()}
    write_bytes(weights, save(contiguous, metadata={"format": "pt"}))
    metadata = adapter_metadata(
        model,
        config,
        base=base,
        weights=weights,
        trained=trained,
        tokenizer=tokenizer,
        training_args=training_args,
    )
    if not for_peft:
        _write_json(scratch / PART_METADATA_NAME, {**metadata, "methods": methods_of(model.config)})
        return _PART_FILES
    for_others = peft_config(model, config, base, trained)
    _write_json(scratch / CONFIG_NAME, for_others)
    _write_json(scratch / METADATA_NAME, {**metadata, "target_modules": for_others["target_modules"]})
    return (WEIGHTS_NAME, METADATA_NAME, CONFIG_NAME)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    try:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be written, so the adapter is not saved: {error}") from error
    write_text(path, text + "\n")


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


def _put_in_place(scratch: Path, folder: Path, names: Collection[str]) -> None:
    """Move written files into a folder: in one step where it is new, else together or not at all.

    The file by which the folder is an adapter goes first and comes last: whatever stops this in between, a mixture of
    two adapters is none.
    """
    if not folder.exists():
        scratch.rename(folder)
        flush(folder.parent)
        return
    before = scratch / "before"
    before.mkdir()
    replaced = [name for name in (*_ADAPTER_FILES[::-1], *_PART_FILES[::-1]) if (folder / name).is_file()]
    try:
        for name in replaced:
            (folder / name).rename(before / name)
        for name in names:
            (scratch / name).rename(folder / name)
        flush(folder)
    except BaseException:
        for name in names:
            if not (scratch / name).exists():  # it is in place already
                (folder / name).unlink(missing_ok=True)
        for name in replaced[::-1]:
            if (before / name).exists():
                (before / name).rename(folder / name)
        raise


# Folders that hold something else -----------------------------------------------------------------------------


def refuse_model_in(folder: str | os.PathLike[str]) -> None:
    """Refuse to put an adapter beside a whole model: readers would not agree on which of the two is meant.

    Raises:
        ValueError: If the folder holds a whole model's weights.
    """
    found = [path.name for pattern in _WHOLE_MODEL for path in Path(folder).glob(pattern)]
    if found:
        raise ValueError(
            f"'{os.fspath(folder)}' holds a whole model ({min(found)}); a folder means one thing. Save the adapter "
            "into another folder."
        )


def refuse_adapter_in(folder: str | os.PathLike[str]) -> None:
    """Refuse to put a whole model beside an adapter, which readers would take instead of it.

    Raises:
        ValueError: If the folder holds an adapter.
    """
    found = [name for name in (CONFIG_NAME, PART_METADATA_NAME) if (Path(folder) / name).is_file()]
    if found:
        raise ValueError(
            f"'{os.fspath(folder)}' holds an adapter ({found[0]}), which would be read instead of the model; a folder "
            "means one thing. Save the model into another folder."
        )
