"""Reading an adapter of any kind into one form: this package's folder, PEFT's, or an original ``.bin``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..weights import read_tensors
from .legacy import read_legacy_adapter
from .metadata import hash_loaded_base
from .peft_format import from_peft_names

if TYPE_CHECKING:
    from ..configuration_utils import PretrainedConfig
    from ..modeling_utils import PreTrainedModel

__all__ = ["AdapterContent", "read_adapter"]


@dataclass(frozen=True)
class AdapterContent:
    """An adapter as it was read, checked in itself but against no model yet.

    Attributes:
        source: Where it came from, for messages.
        tensors: Matrices, head and other trained parameters under this package's names.
        r: The rank.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Dropout in front of ``lora_A``.
        id2label: Names of the classes; None where the adapter does not say them.
        problem_type: See `transformers.losses`.
        finetuning_task: The task's name, where known.
        position_query: DeBERTa's meaning of a shared position query (``lora_position_query``); None where the adapter
            does not say it.
        base: Path or hub id of its base, where known.
        base_sha256: Hash of its base, where known.
    """

    source: str
    tensors: dict[str, Tensor]
    r: int
    lora_alpha: float
    lora_dropout: float = 0.0
    id2label: dict[int, str] | None = None
    problem_type: str | None = None
    finetuning_task: str | None = None
    position_query: bool | None = None
    base: str | None = None
    base_sha256: str | None = None

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
        return {
            "lora_r": self.r,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": self.lora_dropout,
            "id2label": id2label,
            "label2id": {name: number for number, name in id2label.items()},
            "problem_type": self.problem_type,
            "finetuning_task": self.finetuning_task,
        }

    def check_base(self, model: PreTrainedModel) -> None:
        """Refuse a model whose base is another than the adapter was trained on.

        Raises:
            ValueError: If the two hashes are known and differ; the message names both.
        """
        if self.base_sha256 is None:
            return
        if model.base_hash is None:
            model.base_hash = hash_loaded_base(model)
        if model.base_hash != self.base_sha256:
            raise ValueError(
                f"The adapter '{self.source}' was trained on '{self.base}' (content {self.base_sha256[:12]}…), but "
                f"this model's base is '{model.name_or_path}' ({str(model.base_hash)[:12]}…). Load that one, without "
                "a smaller dtype."
            )

    def check_position_query(self, config: PretrainedConfig) -> None:
        """Refuse the other meaning of DeBERTa's shared position query.

        Raises:
            ValueError: If both meanings are known and differ.
        """
        meaning = getattr(config, "lora_position_query", None)
        if self.position_query is None or meaning is None or self.position_query == meaning:
            return
        explained = {True: "the adapted projection (PEFT's meaning)", False: "the base's (the original's meaning)"}
        raise ValueError(
            f"The adapter '{self.source}' was trained with relative positions that go through "
            f"{explained[self.position_query]}, but this model sends them through {explained[meaning]}. Its outputs "
            f"would be wrong; load the base with lora_position_query={self.position_query}."
        )


def read_adapter(
    path: str | os.PathLike[str], *, lora_alpha: float | None = None, **hub_options: Any
) -> AdapterContent:
    """Read an adapter of any kind.

    Args:
        path: A folder or hub id, of this package or of PEFT, or an original ``.bin`` file.
        lora_alpha: The alpha of an original file that was not published.
        **hub_options: See `transformers.hub.cached_file`.

    Returns:
        What it holds.

    Raises:
        OSError: If there is no such adapter.
        ValueError: If it is damaged, not supported, holds values that are not finite, or has no known alpha.
    """
    source = os.fspath(path)
    if source.endswith(".bin") or Path(path).is_file():
        return _read_legacy(source, lora_alpha)
    content = _read_folder(path, **hub_options)
    if lora_alpha is not None and lora_alpha != content.lora_alpha:
        raise ValueError(f"lora_alpha is {lora_alpha}, but the adapter '{source}' says {content.lora_alpha}.")
    return content


def _read_folder(path: str | os.PathLike[str], **hub_options: Any) -> AdapterContent:
    """Read a folder, of this package or of PEFT."""
    from .adapter import _position_query, _read_folder

    fields, metadata, weights = _read_folder(path, **hub_options)
    return AdapterContent(
        os.fspath(path),
        from_peft_names(read_tensors(weights)),
        fields["r"],
        fields["lora_alpha"],
        fields["lora_dropout"],
        id2label=metadata.get("id2label"),
        problem_type=metadata.get("problem_type"),
        finetuning_task=metadata.get("finetuning_task"),
        position_query=_position_query(metadata),
        base=fields["base"],
        base_sha256=metadata.get("base_sha256"),
    )


def _read_legacy(source: str, lora_alpha: float | None) -> AdapterContent:
    """Read an original file; its name tells the rest where it was published."""
    legacy = read_legacy_adapter(source)
    if legacy.lora_alpha is not None and lora_alpha not in (None, legacy.lora_alpha):
        raise ValueError(f"lora_alpha is {lora_alpha}, but '{source}' was published with {legacy.lora_alpha}.")
    alpha = lora_alpha if legacy.lora_alpha is None else legacy.lora_alpha
    if alpha is None:
        raise ValueError(
            f"'{source}' does not say its alpha and is none of the published files: pass the lora_alpha that it was "
            "trained with. Another one gives wrong results without an error."
        )
    return AdapterContent(
        source,
        legacy.tensors,
        legacy.r,
        alpha,
        id2label=None if legacy.labels is None else dict(enumerate(legacy.labels)),
        position_query=False,
        base=legacy.base,
    )
