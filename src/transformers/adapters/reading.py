"""Reading what a run trained, of any kind, into one form: this package's folders, PEFT's, or an original ``.bin``."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configuration.lora_options import LORA_OPTIONS, MEANING_OPTIONS
from ..configuration.quantization import BitsAndBytesConfig
from ..configuration_utils import PretrainedConfig
from ..modeling.weights import read_tensors
from ..utils.hub import cached_file
from ..utils.json_files import load_json
from .legacy import read_legacy_adapter
from .metadata import file_sha256, read_metadata
from .part_format import PART_METADATA_NAME, PART_WEIGHTS_NAME, methods_of, read_part_metadata
from .peft_format import architecture_of, from_peft_names, read_peft_config

__all__ = [
    "CONFIG_NAME",
    "LEGACY_WEIGHTS_NAME",
    "METADATA_NAME",
    "WEIGHTS_NAME",
    "AdapterContent",
    "is_adapter",
    "read_adapter",
]

WEIGHTS_NAME = "adapter_model.safetensors"
LEGACY_WEIGHTS_NAME = "adapter_model.bin"  # PEFT's before safetensors: a pickle, read weights-only
CONFIG_NAME = "adapter_config.json"
METADATA_NAME = "lora_metadata.json"


@dataclass(frozen=True)
class AdapterContent:
    """An adapter as it was read: whole and finite, but checked against no model yet.

    Attributes:
        source: Where it came from, for messages.
        tensors: Matrices, head and other trained parameters under this package's names.
        r: The rank; 0 without LoRA.
        lora_alpha: Numerator of the scaling; None for an original file that was not published, and without LoRA.
        lora_dropout: Dropout in front of ``lora_A``.
        id2label: Names of the classes; None where the adapter does not say them.
        problem_type: See `transformers.layers.losses`.
        finetuning_task: The task's name, where known.
        position_query: DeBERTa's meaning of a shared position query (``lora_position_query``).
        base: Path or hub id of its base, where known.
        base_sha256: Hash of its base, where known.
        peft_type: PEFT's word for it, which says so where PEFT cannot represent it.
        methods: The fields of `part_format.methods_of`, in this package's own form; empty in the others.
        all_biases: Whether all biases were trained beside LoRA, as PEFT calls it and BitFit does.
        label2id: The reverse of ``id2label``, where it was another than that.
        options: LoRA's options (`transformers.configuration.lora_options`); those that are not in it are off.
        other_bases: Bases of other weights that it was trained on before it was loaded over this one on purpose, each
            with ``base_model_name_or_path`` and ``base_sha256``.
        architecture: Name of the class of model that it was trained with, where known.
        task_type: PEFT's name for what its head does, where known.
        quantization: How its base was kept in few bits when it was saved; None for in full precision.
    """

    source: str
    tensors: dict[str, Tensor]
    r: int
    lora_alpha: float | None
    lora_dropout: float = 0.0
    id2label: dict[int, str] | None = None
    problem_type: str | None = None
    finetuning_task: str | None = None
    position_query: bool = False
    base: str | None = None
    base_sha256: str | None = None
    peft_type: str | None = None
    methods: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    all_biases: bool = False
    label2id: dict[str, int] | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    other_bases: tuple[Mapping[str, str], ...] = ()
    architecture: str | None = None
    task_type: str | None = None
    quantization: BitsAndBytesConfig | None = None

    @property
    def alpha(self) -> float:
        """The alpha, settled.

        Raises:
            ValueError: If the adapter does not say it; see `with_alpha`.
        """
        return self._settled(self.lora_alpha)

    def _settled(self, alpha: float | None) -> float:
        if alpha is None:
            raise ValueError(
                f"'{self.source}' does not say its alpha and is none of the published files: give the lora_alpha that "
                "it was trained with. Another one gives wrong results without an error."
            )
        return alpha

    def with_alpha(self, lora_alpha: float | None) -> AdapterContent:
        """Give the adapter with its alpha settled.

        Args:
            lora_alpha: What the caller says; None for nothing.

        Raises:
            ValueError: If the caller contradicts the adapter, or neither says it; or if it is more than LoRA.
        """
        if self.methods:
            raise ValueError(
                f"'{self.source}' holds more than a LoRA adapter (bottleneck adapters, or biases alone); load it with "
                "from_pretrained."
            )
        if None not in (lora_alpha, self.lora_alpha) and lora_alpha != self.lora_alpha:
            raise ValueError(f"lora_alpha is {lora_alpha}, but the adapter '{self.source}' has {self.lora_alpha}.")
        alpha = lora_alpha if self.lora_alpha is None else self.lora_alpha
        return dataclasses.replace(self, lora_alpha=self._settled(alpha))

    def num_labels(self, otherwise: int, scores: list[str]) -> int:
        """Give the number of labels: as named, else read off the head, else the caller's.

        Args:
            otherwise: What holds without a head.
            scores: Names of the parameters whose first dimension it is.
        """
        if self.id2label is not None:
            return len(self.id2label)
        return next((self.tensors[name].shape[0] for name in scores if name in self.tensors), otherwise)

    def config_fields(self, num_labels: int) -> dict[str, Any]:
        """Give what the adapter puts into a configuration."""
        id2label = self.id2label or {number: f"LABEL_{number}" for number in range(num_labels)}
        lora = self.lora_fields()
        return {
            **(lora if self.r else {}),
            "id2label": id2label,
            "label2id": self.label2id or {name: number for number, name in id2label.items()},
            "problem_type": self.problem_type,
            "finetuning_task": self.finetuning_task,
        }

    def lora_fields(self) -> dict[str, Any]:
        """Give the fields of a configuration that say what LoRA layers it has."""
        lora = {"lora_r": self.r, "lora_alpha": self.lora_alpha, "lora_dropout": self.lora_dropout}
        return {**copy.deepcopy(LORA_OPTIONS), **self.options, **lora}

    def with_fields_of(self, config: PretrainedConfig) -> AdapterContent:
        """Give the adapter with what a caller may choose otherwise: names of labels, the problem, the dropout."""
        return dataclasses.replace(
            self,
            id2label=dict(config.id2label),
            label2id=dict(config.label2id),
            problem_type=config.problem_type,
            finetuning_task=config.finetuning_task,
            lora_dropout=config.lora_dropout,
            options={**self.options, "lora_plus_lr_ratio": config.lora_plus_lr_ratio},
        )

    def check_settings(self, config: PretrainedConfig) -> None:
        """Refuse a configuration that trains something else, whose r or alpha are others, or that means other things.

        Raises:
            ValueError: If it is so.
        """
        if self.methods and self.methods != methods_of(config):
            raise ValueError(f"'{self.source}' holds {dict(self.methods)}, but this model has {methods_of(config)}.")
        if not self.r:
            return
        if not config.apply_lora:
            raise ValueError(f"'{self.source}' is an adapter, but this model has no LoRA layers: set apply_lora.")
        if config.lora_r != self.r or self.lora_alpha not in (None, config.lora_alpha):
            alpha = "unknown" if self.lora_alpha is None else self.lora_alpha
            raise ValueError(
                f"The adapter '{self.source}' was made with lora_r {self.r} and lora_alpha {alpha}, but this run asks "
                f"for lora_r {config.lora_r} and lora_alpha {config.lora_alpha}. Use the adapter's."
            )
        for name in MEANING_OPTIONS:
            found, asked = self.options.get(name, LORA_OPTIONS[name]), getattr(config, name)
            if found != asked:
                raise ValueError(
                    f"The adapter '{self.source}' was made with {name} {found!r}, but this run asks for {asked!r}. "
                    "Use the adapter's."
                )
        self.check_position_query(config)

    def check_position_query(self, config: PretrainedConfig) -> None:
        """Refuse the other meaning of DeBERTa's shared position query.

        Raises:
            ValueError: If the two differ.
        """
        meaning = getattr(config, "lora_position_query", self.position_query)
        if not any(".query_proj.lora_" in name for name in self.tensors):
            return  # the two meanings differ in what that layer's update does
        if config.shares_position_query and meaning != self.position_query:
            explained = "as in PEFT, it is adapted" if self.position_query else "as in the original, it is not"
            raise ValueError(
                f"The adapter '{self.source}' was trained with lora_position_query={self.position_query} (the "
                f"position query: {explained}), but this model has {meaning}: its outputs would be wrong. Set "
                "lora_position_query to the adapter's."
            )


def is_adapter(path_or_repo_id: str | os.PathLike[str], **hub_options: Any) -> bool:
    """Say whether a folder or hub repository is an adapter, or another trained part, rather than a whole model.

    Where a whole model lies beside the adapter, as in PEFT's folders over their own base, it is the adapter, as to
    upstream.
    """
    if Path(path_or_repo_id).is_file():
        return False
    names = (CONFIG_NAME, PART_METADATA_NAME)
    return any(cached_file(path_or_repo_id, name, **hub_options) is not None for name in names)


def read_adapter(path: str | os.PathLike[str], **hub_options: Any) -> AdapterContent:
    """Read an adapter of any kind.

    Args:
        path: A folder or hub id, of this package or of PEFT, or an original ``.bin`` file.
        **hub_options: See `transformers.utils.hub.cached_file`.

    Returns:
        What it holds.

    Raises:
        OSError: If there is no such adapter.
        ValueError: If it is damaged, not supported, or holds values that are not finite.
    """
    source = os.fspath(path)
    is_file = source.endswith(".bin") or Path(path).is_file()
    content = _read_legacy(source) if is_file else _read_folder(source, **hub_options)
    for name, tensor in content.tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} of '{source}' holds values that are not finite (NaN or infinity).")
    return content


def _read_folder(source: str, **hub_options: Any) -> AdapterContent:
    """Read a folder, of this package or of PEFT, which writes no metadata."""
    config_path = cached_file(source, CONFIG_NAME, **hub_options)
    part_path = cached_file(source, PART_METADATA_NAME, **hub_options) if config_path is None else None
    if part_path is not None:
        return _read_part(source, part_path, **hub_options)
    if config_path is None:
        raise OSError(f"'{source}' is no adapter: it holds neither {CONFIG_NAME} nor {PART_METADATA_NAME}.")
    raw = load_json(config_path)
    fields = read_peft_config(raw, str(config_path))
    files = (cached_file(source, name, **hub_options) for name in (WEIGHTS_NAME, LEGACY_WEIGHTS_NAME))
    weights = next((path for path in files if path is not None), None)
    if weights is None:
        raise OSError(f"'{source}' holds {CONFIG_NAME} but no {WEIGHTS_NAME}.")
    metadata_path = cached_file(source, METADATA_NAME, **hub_options)
    metadata = {} if metadata_path is None else read_metadata(metadata_path)
    if metadata:
        _check_agreement(fields, metadata, weights)
    return AdapterContent(
        source,
        from_peft_names(read_tensors(weights, mapped=False)),
        fields["r"],
        fields["lora_alpha"],
        fields["lora_dropout"],
        id2label=metadata.get("id2label"),
        problem_type=metadata.get("problem_type"),
        finetuning_task=metadata.get("finetuning_task"),
        position_query=bool(metadata.get("lora_position_query")) if metadata else True,  # PEFT's meaning
        base=fields["base"],
        base_sha256=metadata.get("base_sha256"),
        peft_type=raw["peft_type"],
        architecture=metadata.get("architecture") or architecture_of(raw),
        task_type=raw.get("task_type"),
        all_biases=raw.get("bias") == "all",
        label2id=metadata.get("label2id"),
        options={**fields["options"], **metadata.get("lora_options", {})},
        other_bases=tuple(metadata.get("other_bases", ())),
        quantization=metadata.get("quantization"),
    )


def _read_part(source: str, metadata_path: Path, **hub_options: Any) -> AdapterContent:
    """Read a folder of this package's own form."""
    metadata = read_part_metadata(metadata_path)
    weights = cached_file(source, PART_WEIGHTS_NAME, **hub_options)
    if weights is None:
        raise OSError(f"'{source}' holds {PART_METADATA_NAME} but no {PART_WEIGHTS_NAME}.")
    _check_hash(metadata, weights, PART_METADATA_NAME)
    return AdapterContent(
        source,
        read_tensors(weights, mapped=False),
        metadata["lora_r"] if metadata["methods"]["apply_lora"] else 0,
        metadata["lora_alpha"],
        metadata["lora_dropout"],
        id2label=metadata["id2label"],
        problem_type=metadata["problem_type"],
        finetuning_task=metadata["finetuning_task"],
        position_query=bool(metadata["lora_position_query"]),
        base=metadata["base_model_name_or_path"] or None,
        base_sha256=metadata["base_sha256"],
        methods=metadata["methods"],
        architecture=metadata.get("architecture"),
        label2id=metadata["label2id"],
        options=metadata["lora_options"],
        other_bases=tuple(metadata["other_bases"]),
        quantization=metadata["quantization"],
    )


def _check_hash(metadata: Mapping[str, Any], weights: Path, metadata_name: str) -> None:
    """Refuse tensors that are not those that the metadata were written with."""
    if metadata["weights_sha256"] != file_sha256(weights):
        raise ValueError(
            f"'{weights}' is not the file that the {metadata_name} beside it describes (its sha256 differs): it was "
            "damaged or replaced. Copy the whole folder again."
        )


def _check_agreement(fields: Mapping[str, Any], metadata: Mapping[str, Any], weights: Path) -> None:
    """Refuse a folder whose three files were not written together."""
    _check_hash(metadata, weights, METADATA_NAME)
    for name, value in (("r", metadata["lora_r"]), ("lora_alpha", metadata["lora_alpha"])):
        if fields[name] != value:
            raise ValueError(
                f"'{weights.parent}': {name} is {fields[name]} in {CONFIG_NAME}, but {value} in {METADATA_NAME}. "
                "One of them was changed by hand; another value than in training gives wrong results."
            )
    targets, noted = fields["options"]["lora_target_modules"], metadata.get("target_modules")
    if noted is not None and targets != (sorted(noted) if isinstance(noted, list) else noted):
        raise ValueError(
            f"'{weights.parent}': target_modules is {targets!r} in {CONFIG_NAME}, but {noted!r} in {METADATA_NAME}. "
            "One of them was changed by hand."
        )
    for name in MEANING_OPTIONS:
        found, noted = fields["options"].get(name, LORA_OPTIONS[name]), metadata["lora_options"].get(name)
        if found != (LORA_OPTIONS[name] if noted is None else noted):
            raise ValueError(
                f"'{weights.parent}': {name.removeprefix('lora_')} is {found!r} in {CONFIG_NAME}, but {noted!r} in "
                f"{METADATA_NAME}. One of them was changed by hand."
            )


def _read_legacy(source: str) -> AdapterContent:
    """Read an original file; its name tells the rest where it was published."""
    legacy = read_legacy_adapter(source)
    return AdapterContent(
        source,
        legacy.tensors,
        legacy.r,
        legacy.lora_alpha,
        id2label=None if legacy.labels is None else dict(enumerate(legacy.labels)),
        base=legacy.base,
    )
