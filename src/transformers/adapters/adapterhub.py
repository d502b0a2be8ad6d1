"""Starting from trained bottleneck adapters: folders in AdapterHub's form, or of a run of this package.

AdapterHub's folders hold ``pytorch_adapter.bin`` and ``pytorch_model_head.bin``, with the task's name in every key:
``….output.adapters.<task>.adapter_down.0.weight``, ``….adapter_up.weight``, ``heads.<task>.1.weight``. Both are read
weights-only. ``head_config.json``, where there is one, names the labels.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..methods.bottleneck import bottleneck_parameter_names
from ..modeling.weights import read_tensors
from ..utils.hub import check_inside
from ..utils.json_files import load_json
from ..utils.shapes import shown
from .interface import AdaptableModel
from .part_format import PART_METADATA_NAME
from .reading import read_adapter
from .shapes import HEAD_CONFIG

__all__ = ["BottleneckContent", "read_bottleneck", "start_from_bottleneck"]

ADAPTER_NAME = "pytorch_adapter.bin"
HEAD_NAME = "pytorch_model_head.bin"
HEAD_CONFIG_NAME = "head_config.json"

_ADAPTER_KEY = re.compile(r"(.+)\.(?:\w+_)?adapters\.(\w+)\.adapter_(down\.0|up)\.(weight|bias)")
_HEAD_KEY = re.compile(r"heads\.(\w+)\.([14])\.(weight|bias)")
_MATRICES = {"down.0": "adapter_A", "up": "adapter_B"}
_HEAD_LAYERS = {"1": "classifier.dense", "4": "classifier.out_proj"}


@dataclass(frozen=True)
class BottleneckContent:
    """Trained bottleneck adapters as they were read: whole and finite, but checked against no model yet.

    Attributes:
        source: Where they came from, for messages.
        adapters: Their parameters under this package's names.
        head: The head's, and whatever else was trained; may be empty.
        labels: Names of the classes; None where the folder does not say them.
    """

    source: str
    adapters: dict[str, Tensor]
    head: dict[str, Tensor]
    labels: dict[int, str] | None

    @property
    def adapter_type(self) -> str:
        """``"houlsby"`` where there are adapters behind the attention, else ``"pfeiffer"``."""
        return "houlsby" if any(".attention.output." in name for name in self.adapters) else "pfeiffer"

    @property
    def adapter_size(self) -> int:
        """Width of the bottleneck."""
        return next(t.shape[0] for name, t in self.adapters.items() if name.endswith("adapter_A.weight"))


def read_bottleneck(folder: str | os.PathLike[str]) -> BottleneckContent:
    """Read trained bottleneck adapters.

    Args:
        folder: In AdapterHub's form, or as a run of this package saved them.

    Returns:
        What is in it.

    Raises:
        OSError: If there is no such folder, or none of the files in it.
        ValueError: If a file is damaged, wants to run code, or is not of that form; or a value is not finite.
    """
    path = Path(folder)
    if (path / ADAPTER_NAME).is_file():
        content = _read_adapterhub(path)
    elif (path / PART_METADATA_NAME).is_file():
        own = read_adapter(path)
        adapters = {name: tensor for name, tensor in own.tensors.items() if ".adapter.adapter_" in name}
        rest = {name: tensor for name, tensor in own.tensors.items() if name not in adapters and ".lora_" not in name}
        content = BottleneckContent(os.fspath(folder), adapters, rest, own.id2label)
    else:
        raise OSError(f"'{folder}' holds no bottleneck adapters: {ADAPTER_NAME} or {PART_METADATA_NAME} was expected.")
    if not any(name.endswith("adapter_A.weight") for name in content.adapters):
        raise ValueError(f"'{folder}' holds no bottleneck adapters.")
    for name, tensor in {**content.adapters, **content.head}.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} of '{folder}' holds values that are not finite (NaN or infinity).")
    return content


def _read_adapterhub(path: Path) -> BottleneckContent:
    check_inside(path / ADAPTER_NAME, path)
    adapters: dict[str, Tensor] = {}
    tasks: set[str] = set()
    for key, tensor in read_tensors(path / ADAPTER_NAME).items():
        match = _ADAPTER_KEY.fullmatch(key)
        if match is None:
            raise ValueError(
                f"'{path / ADAPTER_NAME}' holds '{key}'; names like "
                "'….output.adapters.mnli.adapter_down.0.weight' were expected."
            )
        where, task, matrix, kind = match.groups()
        adapters[f"{where}.adapter.{_MATRICES[matrix]}.{kind}"] = tensor
        tasks.add(task)
    if len(tasks) > 1:
        raise ValueError(f"'{path / ADAPTER_NAME}' holds adapters of several tasks: {', '.join(sorted(tasks))}.")
    head_path, config_path = path / HEAD_NAME, path / HEAD_CONFIG_NAME
    for file in (head_path, config_path):
        check_inside(file, path)
    head = _read_head(head_path) if head_path.is_file() else {}
    labels = _read_labels(load_json(config_path, HEAD_CONFIG), config_path) if config_path.is_file() else None
    return BottleneckContent(str(path), adapters, head, labels)


def _read_head(path: Path) -> dict[str, Tensor]:
    head = {}
    for key, tensor in read_tensors(path).items():
        match = _HEAD_KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"'{path}' holds '{key}'; names like 'heads.mnli.1.weight' were expected.")
        head[f"{_HEAD_LAYERS[match[2]]}.{match[3]}"] = tensor
    return head


def _read_labels(content: dict[str, Any], path: Path) -> dict[int, str] | None:
    """Read the labels' names off AdapterHub's description of a head; None where it does not name them."""
    label2id = (content.get("config") or {}).get("label2id")
    if label2id is None:
        return None
    if len(set(label2id.values())) < len(label2id):
        raise ValueError(f"'{path}': label2id is {shown(label2id)}; an id of its own for each name was expected.")
    return {number: name for name, number in sorted(label2id.items(), key=lambda item: item[1])}


def start_from_bottleneck(model: AdaptableModel, folder: str | os.PathLike[str]) -> str:
    """Let a run start from trained bottleneck adapters: these always, the head where shape and labels are the same.

    Args:
        model: A model with bottleneck adapters.
        folder: As of `read_bottleneck`.

    Returns:
        One line that says what was taken.

    Raises:
        OSError: If there are none.
        ValueError: If they do not fit, or a file is damaged. The model is then unchanged.
    """
    content = read_bottleneck(folder)
    own = bottleneck_parameter_names(model)
    if not own:
        raise ValueError(f"'{folder}' holds bottleneck adapters, but this model has none: set apply_adapter.")
    asked = (model.config.adapter_type, model.config.adapter_size)
    if asked != (content.adapter_type, content.adapter_size):
        raise ValueError(
            f"'{folder}' holds adapters of the type {content.adapter_type} and size {content.adapter_size}, but this "
            f"model has type {asked[0]} and size {asked[1]}. Use the folder's."
        )
    foreign, lacking = sorted(set(content.adapters) - own), sorted(own - set(content.adapters))
    if foreign or lacking:
        what = "has no place in this one" if foreign else "is lacking"
        raise ValueError(f"'{folder}' is for another model: its {(foreign or lacking)[0]} {what}.")
    parameters = dict(model.named_parameters())
    for name, tensor in content.adapters.items():
        if tensor.shape != parameters[name].shape:
            raise ValueError(
                f"'{folder}' is for another model: {name} is {tuple(tensor.shape)} there and "
                f"{tuple(parameters[name].shape)} here."
            )
    reason = _why_no_head(model, content)
    taken = content.adapters if reason else {**content.adapters, **_head_of(model, content)}
    with torch.no_grad():
        for name, tensor in taken.items():
            parameters[name].copy_(tensor)
    number = len(content.adapters) // 4
    if reason:
        return f"Started from '{folder}': its {number} bottleneck adapters; {reason}, so the head here is new."
    return f"Started from '{folder}': its {number} bottleneck adapters and its head."


def _head_of(model: AdaptableModel, content: BottleneckContent) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in content.head.items() if not model.is_base_parameter(name)}


def _why_no_head(model: AdaptableModel, content: BottleneckContent) -> str | None:
    """Say why a folder's head cannot be this model's; None where it can."""
    head = _head_of(model, content)
    own = {name: p for name, p in model.named_parameters() if not model.is_base_parameter(name)}
    if set(head) != set(own):
        return "it has no whole head for this model"
    if any(head[name].shape != own[name].shape for name in own):
        return "its head has another shape"
    return None if content.labels in (None, model.config.id2label) else "its labels are others"
