"""The model: one base, and the adapters in memory with their heads. The compute thread alone calls it, but for `read`.

A small adapter that changes nothing is always the active one, so that no adapter is ever switched to: which adapter a
row has is said with the row. Adapters that change more than LoRA layers and their heads are computed by themselves.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

import torch

from ..adapters.mixing import shares_base
from ..adapters.reading import AdapterContent, read_adapter
from ..adapters.switching import adapter_view, head_view, place
from ..heads.head import Head
from ..heads.mixed import encode_for
from ..layers.inputs import EncoderInputs
from ..methods.lora.config import LoraConfig
from ..modeling_utils import PreTrainedModel
from ..models.auto.configuration_auto import AutoConfig, model_class
from ..models.auto.saved_task import task_of
from ..models.auto.tokenization_auto import TOKENIZER_FILES, TOKENIZER_PARTS, AutoTokenizer
from ..pipelines.base import Asked, Pipeline
from ..pipelines.computing import Batch, Row, padded
from ..pipelines.factory import PIPELINES
from ..tokenization_utils_fast import PreTrainedTokenizerFast
from .catalog import Entry, Identity, identity_of, labels_of
from .refusal import Refusal, one_line

__all__ = ["Engine", "Read", "Served", "Unit", "tokenizer_digest"]

_PIPELINES: Mapping[str, type[Pipeline]] = {each.head: each for each in PIPELINES}
_RESIDENT = "resident"
_SETTLED_SECONDS = 1.0  # what has not changed for so long is as somebody left it
_ATTEMPTS = 10


@dataclass(frozen=True)
class Read:
    """An adapter as it was read from the disk, whole and over the right base.

    Attributes:
        entry: The version that was read.
        content: What it holds.
        tokenizer: Its own, or the base's.
    """

    entry: Entry
    content: AdapterContent
    tokenizer: PreTrainedTokenizerFast


@dataclass(eq=False)
class Served:
    """One version of an adapter in memory.

    Attributes:
        entry: The version.
        key: What the model calls it.
        pipeline: From texts to rows, and from outputs to answers; its model is a view with this adapter's head.
        mixes: Whether its rows may be computed together with those of others.
        pins: How many requests use it.
        left: Whether it is taken out of the model.
    """

    entry: Entry
    key: str
    pipeline: Pipeline
    mixes: bool
    pins: int = 0
    left: bool = False


@dataclass(eq=False)
class Unit:
    """One row of a request.

    Attributes:
        served: Its adapter.
        asked: The request.
        row: Its tokens.
    """

    served: Served
    asked: Asked
    row: Row


class Engine:
    """A base with adapters.

    Args:
        base: A folder or hub id.
        device: Where to compute; the GPU where there is one and None is given.
        position_query: The meaning of DeBERTa's shared position query that its adapters have.
        is_chosen: Whether somebody has said that this is the adapters' base. Else an adapter that tells its base by
            name alone, as PEFT's do, must name this one.

    Attributes:
        base: See there.
        base_sha256: Hash of its weights.
        device: Where it computes.

    Raises:
        OSError: If the base is not found.
        ValueError: If it cannot be loaded.
    """

    def __init__(
        self, base: str, device: str | None = None, *, position_query: bool = False, is_chosen: bool = False
    ) -> None:
        self.base, self._is_chosen = base, is_chosen
        config = AutoConfig.from_pretrained(base)
        found = model_class(config.model_type, "sequence-classification")  # other heads come with their adapters
        fields = {"lora_position_query": position_query} if hasattr(config, "lora_position_query") else {}
        model: PreTrainedModel = found.from_pretrained(base, **fields)
        wanted = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = cast(Head, model.to(torch.device(wanted)).eval())
        self.device = self._model.device
        self.base_sha256 = self._model.base_sha256()
        value = self._model.config.lora_targets[-1]
        self._model.add_adapter(LoraConfig(r=1, lora_alpha=1, target_modules=[value]), _RESIDENT)
        self._entered = 0
        self._tokenizers: WeakValueDictionary[str, PreTrainedTokenizerFast] = WeakValueDictionary()
        self._reading = threading.Lock()
        has_tokenizer = not Path(base).is_dir() or bool(tokenizer_digest(Path(base)))
        self._base_tokenizer = self._tokenizer_of(base) if has_tokenizer else None

    # From the disk: in a reading thread -----------------------------------------------------------------------------

    def read(self, entry: Entry) -> Read:
        """Read an adapter and check what can be checked without the model.

        Args:
            entry: As it was last seen; the result has the version that was read.

        Raises:
            OSError: If it is not there, or changes while it is read.
            ValueError: If it is damaged, belongs to another base, or has a head that is not served.
        """
        identity, content = _read_settled(entry)
        self._check(content)
        tokenizer = self._tokenizer_of(str(entry.path)) if tokenizer_digest(entry.path) else self._base_tokenizer
        if tokenizer is None:
            raise ValueError(f"Neither the adapter '{entry.name}' nor the base '{self.base}' has a tokenizer's files.")
        return Read(dataclasses.replace(entry, identity=identity), content, tokenizer)

    def _check(self, content: AdapterContent) -> None:
        task = task_of([content.architecture], content.task_type)
        if task is not None and task not in _PIPELINES:
            raise ValueError(f"Its task is {task}; adapters for {', '.join(_PIPELINES)} are served.")
        if content.base_sha256 is None and content.base not in (None, self.base) and not self._is_chosen:
            raise ValueError(
                f"It names the base '{content.base}' and not what that holds, and the base here is '{self.base}'. If "
                "both are the same, start with --model."
            )
        if content.base_sha256 not in (None, self.base_sha256):
            raise ValueError(
                f"It was trained on '{content.base}' (content {str(content.base_sha256)[:12]}…), and the base here, "
                f"'{self.base}', holds other weights ({str(self.base_sha256)[:12]}…). Serve it with its own base."
            )

    def _tokenizer_of(self, place: str) -> PreTrainedTokenizerFast:
        """Load a tokenizer; one whose files are the same as another's is the same object."""
        key = tokenizer_digest(Path(place)) or place
        with self._reading:
            tokenizer = self._tokenizers.get(key)
            if tokenizer is None:
                tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(place))
                self._tokenizers[key] = tokenizer
        return tokenizer

    # In the compute thread ------------------------------------------------------------------------------------------

    def enter(self, read: Read) -> Served:
        """Put an adapter into the model.

        Raises:
            ValueError: If it does not fit. The model is then unchanged.
        """
        self._entered += 1
        key = f"version-{self._entered}"
        content = dataclasses.replace(read.content, base_sha256=None)  # `read` has compared it
        place(self._model, content, key, is_trainable=False)
        view = head_view(self._model, key)
        view.config = self._config_of(key)
        task = next(head for head, each in _PIPELINES.items() if isinstance(view, each._heads))
        made = _PIPELINES[task](cast(PreTrainedModel, view), read.tokenizer, self.device)
        entry = dataclasses.replace(
            read.entry, task=task, labels=labels_of(task, view.config.id2label), rank=content.r, problem=None
        )
        return Served(entry, key, made, shares_base(self._model, [key]))

    def _config_of(self, key: str) -> Any:
        """Give the configuration that the model has when an adapter is the active one."""
        config = copy.copy(self._model.config)
        for name, value in self._model.adapter_state.loaded[key].fields.items():
            setattr(config, name, value)
        return config

    def leave(self, served: Served) -> None:
        """Take an adapter out of the model."""
        self._model.delete_adapter(served.key)

    def compute(self, units: Sequence[Unit]) -> list[Any]:
        """Compute some rows in one pass, each with its own adapter.

        Args:
            units: Of one adapter, or of several that mix.

        Returns:
            For each row what its pipeline needs for the answer, or the refusal that its request's choices make.
        """
        pad = units[0].served.pipeline.tokenizer.pad_token_id or 0
        inputs = padded([unit.row for unit in units], pad, self.device)
        groups = _groups(units)
        with torch.inference_mode():
            made = [_copy(units[rows[0]].served.pipeline) for rows in groups]
            if units[0].served.mixes:
                views = [(each.model, rows) for each, rows in zip(made, groups, strict=True)]
                encode_for(self._model, inputs, [unit.served.key for unit in units], views)
            else:
                for each in made:
                    view = adapter_view(self._model, units[0].served.key)
                    view.config = each.model.config
                    each.model = cast(Head, view)
            results: list[Any] = [None] * len(units)
            for each, rows in zip(made, groups, strict=True):
                for row, result in zip(rows, _scored(each, inputs, rows, units), strict=True):
                    results[row] = result
        return results


def _read_settled(entry: Entry) -> tuple[Identity, AdapterContent]:
    """Read an adapter of which no file changes meanwhile; one that is just being written is given a little time.

    Raises:
        OSError: If it is not there, or goes on changing.
        ValueError: If it is damaged.
    """
    for attempt in range(_ATTEMPTS):
        identity = identity_of(entry.path)
        try:
            content = read_adapter(entry.path).with_alpha(None)
        except (OSError, ValueError):
            age = time.time() - max((changed for _, _, changed, _ in identity), default=0) / 1e9
            if age > _SETTLED_SECONDS or attempt == _ATTEMPTS - 1:
                raise
        else:
            if identity_of(entry.path) == identity:
                return identity, content
        time.sleep(_SETTLED_SECONDS / _ATTEMPTS)
    raise OSError(f"The adapter '{entry.name}' is being written; ask again when it is there.")


def _groups(units: Sequence[Unit]) -> list[list[int]]:
    """Give the rows of each adapter with the same choices, which are scored together."""
    groups: list[list[int]] = []
    for place_, unit in enumerate(units):
        for rows in groups:
            first = units[rows[0]]
            if first.served is unit.served and first.asked.options == unit.asked.options:
                rows.append(place_)
                break
        else:
            groups.append([place_])
    return groups


def _copy(pipeline: Pipeline) -> Pipeline:
    """Copy a pipeline and the outermost module of its model, so that a pass may leave something there."""
    result = copy.copy(pipeline)
    result.model = copy.copy(pipeline.model)
    return result


def _scored(pipeline: Pipeline, inputs: EncoderInputs, rows: list[int], units: Sequence[Unit]) -> Sequence[Any]:
    """Score some rows; what their request's choices make impossible is its own refusal, not the batch's fault."""
    own = inputs.map_rows(lambda value: value[rows])
    try:
        return pipeline.score(Batch(own, [units[row].row for row in rows]), units[rows[0]].asked.options)
    except ValueError as error:
        return [Refusal(422, one_line(error))] * len(rows)


def tokenizer_digest(folder: Path) -> str:
    """Hash all that makes a folder's tokenizer; empty where there is none."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return ""
    found = [(name, (folder / name).read_bytes()) for name in TOKENIZER_PARTS if (folder / name).is_file()]
    digest = hashlib.sha256()
    for name, content in found:
        digest.update(f"{name}|{len(content)}|".encode())
        digest.update(content)
    return digest.hexdigest()
