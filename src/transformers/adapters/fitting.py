"""The one check of an adapter against a model: names, shapes, meaning and base, before anything is changed.

What a model needs of an adapter and the adapter does not hold is the base's where the base provides it, such as the
pooler and classifier of a classifier's checkpoint, or the head of a masked language model. A head that neither has
would be random, and is refused.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..configuration.quantization import BitsAndBytesConfig
from ..configuration_utils import PretrainedConfig
from ..methods.lora.layers import lora_parameter_names, lora_start_names
from ..methods.lora.places import LoraPlace, find_places, part_shapes
from ..methods.trainable import trained_beside_lora
from ..utils import logging
from .interface import AdaptableModel
from .reading import AdapterContent

__all__ = ["Fit", "check_base", "fit", "head_buffers", "log_other_storage", "lora_shapes", "shapes_beside_lora"]

logger = logging.get_logger(__name__)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fit:
    """An adapter as it goes into a model.

    Attributes:
        content: The adapter under the model's names, without what was dropped.
        tensors: All that the model has of an adapter, by name: the adapter's values, else the base's.
        labels: Number of labels.
        dropped: Names that the adapter holds and the model does without: the head, for a bare encoder; what is
            mis-shaped, where the caller wants it to start anew.
        fresh: Names that neither adapter nor base has: a bare encoder's pooler, and what is mis-shaped.
    """

    content: AdapterContent
    tensors: dict[str, Tensor]
    labels: int
    dropped: list[str]
    fresh: list[str]

    def log(self, model: AdaptableModel) -> None:
        """Say what of the adapter was left out, and what starts anew."""
        source, name = self.content.source, type(model).__name__
        if self.dropped:
            logger.warning("'%s' also holds %s, which %s does without.", source, _few(self.dropped), name)
        if self.fresh:
            logger.warning("Neither '%s' nor its base has %s: new values.", source, _few(self.fresh))


def fit(
    model: AdaptableModel, content: AdapterContent, *, in_place: bool = False, ignore_mismatched_sizes: bool = False
) -> Fit:
    """Check an adapter's names, shapes and meaning against a model; its base is `check_base`'s.

    Args:
        model: With or without LoRA layers; it is not changed.
        content: The adapter.
        in_place: Its values are to be copied into the model's parameters, whose shapes must be the same; otherwise it
            brings a head of its own, for as many labels as it has.
        ignore_mismatched_sizes: Let mis-shaped parameters of the head start anew.

    Raises:
        ValueError: If the adapter lacks what the model needs, holds what has no place in it, or a shape or the meaning
            of DeBERTa's position query is another.
    """
    if model.config.apply_lora:
        content.check_position_query(model.config)
    content, dropped = _under_names_of(model, content)
    labels = content.num_labels(model.config.num_labels, model.label_parameters())
    lora, beside = lora_shapes(model, content), shapes_beside_lora(model, content, None if in_place else labels)
    if content.r:
        _check_lora_names(model, content, lora)
    _check_surplus(model, content, {*lora, *beside, *(lora_start_names(model) if in_place else ())})
    mismatched = []
    for name, shape in {**lora, **beside}.items():
        found = content.tensors.get(name)
        if found is None or tuple(found.shape) == shape:
            continue
        if not ignore_mismatched_sizes or name in lora or model.is_base_parameter(name):
            raise ValueError(_other_shape(content.source, name, tuple(found.shape), shape, name in beside))
        mismatched.append(name)
    tensors = {name: tensor for name, tensor in content.tensors.items() if name not in mismatched}
    others = {name: shape for name, shape in beside.items() if name not in tensors}
    of_base, fresh = _values_beside(model, content.source, others, mismatched)
    whole = dataclasses.replace(content, tensors=tensors)
    return Fit(whole, {**tensors, **of_base}, labels, [*dropped, *mismatched], fresh)


def check_base(model: AdaptableModel, content: AdapterContent, *, allow_other_base: bool = False) -> AdapterContent:
    """Refuse a model whose base is another than the adapter was trained on.

    Args:
        model: The model.
        content: The adapter.
        allow_other_base: Take it all the same; the result says so.

    Returns:
        The adapter; where its base is another, with that base among its `AdapterContent.other_bases`.

    Raises:
        ValueError: If the two hashes are known and differ; the message says what differs.
    """
    if content.base_sha256 is None:
        return content
    found = model.base_sha256()
    if found == content.base_sha256:
        return content
    if not allow_other_base:
        raise ValueError(
            f"{_base_difference(model, content, found)} Its results would be wrong, without an error. If it is meant "
            "for these weights all the same, pass allow_other_base=True."
        )
    logger.warning("%s It is loaded all the same (allow_other_base).", _base_difference(model, content, found))
    other = {"base_model_name_or_path": content.base or "", "base_sha256": content.base_sha256}
    return dataclasses.replace(content, other_bases=(*content.other_bases, other))


def log_other_storage(model: AdaptableModel, content: AdapterContent) -> None:
    """Say where a model's base is kept in other bits than the one that an adapter was trained over."""
    ours, theirs = (each or BitsAndBytesConfig() for each in (model.quantization, content.quantization))
    if content.base_sha256 is not None and ours.storage != theirs.storage:  # of the base of others nothing is known
        logger.warning(
            "The adapter '%s' was trained over a base in %s, and this one is in %s: its outputs differ a little.",
            content.source,
            theirs,
            ours,
        )


def head_buffers(model: AdaptableModel) -> dict[str, Tensor]:
    """Give the buffers outside of the encoder that a checkpoint holds, such as a BatchNorm's statistics."""
    kept = model.state_dict().keys()
    return {n: buffer for n, buffer in model.named_buffers() if n in kept and not model.is_base_parameter(n)}


def _base_difference(model: AdaptableModel, content: AdapterContent, found: str | None) -> str:
    """Say in one sentence what is different about a base."""
    record = model.base_record
    trained_on = f"The adapter '{content.source}' was trained on '{content.base}' (content {_short(content)}…)"
    if found is None:
        return f"{trained_on}, but this model was made without a checkpoint, so it holds other weights."
    if record.sha256 == content.base_sha256:
        changed = record.changed(model.base_tensors())
        return f"{trained_on}, whose weights were changed in this model since: other weights in {_few(changed)}."
    here = f"holds other weights ({found[:12]}…)"
    where = record.source or model.name_or_path
    if _same_place(where, content.base):
        return f"{trained_on}, but that now {here}: it was replaced since, or is changed in this model."
    return f"{trained_on}, but '{where}' {here}."


def _same_place(first: str, second: str | None) -> bool:
    return first == second or (bool(second) and Path(first).resolve() == Path(str(second)).resolve())


def _short(content: AdapterContent) -> str:
    return str(content.base_sha256)[:12]


# Names --------------------------------------------------------------------------------------------------------


def _under_names_of(model: AdaptableModel, content: AdapterContent) -> tuple[AdapterContent, list[str]]:
    """Rename an adapter of a bare encoder for a model with a head, or the reverse; then the head is dropped."""
    prefix = f"{model.base_model_prefix}."
    prefixed = any(name.startswith(prefix) for name in content.tensors)
    if prefixed is model.has_head or not model.base_model_prefix or not content.tensors:
        return content, []
    if model.has_head:
        renamed = {f"{prefix}{name}": tensor for name, tensor in content.tensors.items()}
        without = [name for name in renamed if model.is_headless and not model.identifies_base(name)]  # a pooler
        kept = {name: tensor for name, tensor in renamed.items() if name not in without}
        return dataclasses.replace(content, tensors=kept), without
    dropped = sorted(name for name in content.tensors if not name.startswith(prefix))
    kept = {n.removeprefix(prefix): tensor for n, tensor in content.tensors.items() if n.startswith(prefix)}
    return dataclasses.replace(content, tensors=kept), dropped


def _check_lora_names(model: AdaptableModel, content: AdapterContent, lora: Collection[str]) -> None:
    """Refuse LoRA at other places than a model has it."""
    found = {name for name in content.tensors if ".lora_" in name and ".lora_start_" not in name}
    lacking, surplus = sorted(set(lora) - found), sorted(found - set(lora))
    if not lacking and not surplus:
        return
    wanted = sorted({name.split(".")[-2] for name in lora})
    theirs = sorted({name.split(".")[-2] for name in found})
    what = "are lacking" if lacking else "have no place here"
    same = " in every layer" if theirs == wanted else ""
    raise ValueError(
        f"The adapter '{content.source}' does not fit this model: {len(lacking or surplus)} tensors {what}, such as "
        f"{(lacking or surplus)[0]}. Its target_modules are {theirs}, this model's LoRA layers are {wanted}{same}. "
        f"Train it with target_modules={wanted}."
    )


def _check_surplus(model: AdaptableModel, content: AdapterContent, expected: Collection[str]) -> None:
    surplus = sorted(name for name in content.tensors if name not in expected)
    if surplus:
        raise ValueError(
            f"The adapter '{content.source}' does not fit this {type(model).__name__}: {len(surplus)} tensors have no "
            f"place here, such as {surplus[0]}. Load it with the class that it was trained with."
        )


# Shapes -------------------------------------------------------------------------------------------------------


def lora_shapes(model: AdaptableModel, content: AdapterContent) -> dict[str, Shape]:
    """Give the shapes that the adapter's LoRA matrices have for this model."""
    config = config_of(model, content)
    shapes: dict[str, Shape] = {}
    for path, place in places_of(model, content).items():
        module = model.get_submodule(path)
        shapes |= {f"{path}.{name}": shape for name, shape in part_shapes(module, place, config).items()}
    return shapes


def places_of(model: AdaptableModel, content: AdapterContent) -> dict[str, LoraPlace]:
    """Give the layers of a model that an adapter targets, each with its rank and alpha; none without LoRA."""
    return find_places(model, config_of(model, content), strict=False) if content.r else {}


def config_of(model: AdaptableModel, content: AdapterContent) -> PretrainedConfig:
    """Give a model's configuration as it is when an adapter is the active one."""
    config = copy.copy(model.config)
    for name, value in (content.lora_fields() if content.r else {}).items():
        setattr(config, name, value)
    return config


def shapes_beside_lora(model: AdaptableModel, content: AdapterContent, labels: int | None) -> dict[str, Shape]:
    """Give the shapes of what an adapter with that many labels, or the model's, has beside LoRA, buffers included."""
    needed = trained_beside_lora(model, config_of(model, content), places_of(model, content))
    scores, lora = model.label_parameters(), lora_parameter_names(model) | lora_start_names(model)
    shapes: dict[str, Shape] = {}
    for name, parameter in model.named_parameters():
        if name not in lora and (name in needed or name in content.tensors):  # or: biases that were trained too
            shape = tuple(parameter.shape)
            shapes[name] = (labels, *shape[1:]) if name in scores and labels else shape
    return shapes | {name: tuple(buffer.shape) for name, buffer in head_buffers(model).items()}


def _values_beside(
    model: AdaptableModel, source: str, others: Mapping[str, Shape], mismatched: Collection[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Give what an adapter does not hold from the base, and the names of what even that does not have.

    Raises:
        ValueError: If a part of the head is nowhere.
    """
    record = model.base_record
    current: dict[str, Tensor] = {**dict(model.named_parameters()), **head_buffers(model)}
    values, fresh, nowhere = {}, [], []
    for name, shape in others.items():
        value = record.kept.get(name, current[name]).detach()
        provided = record.provides(name) and tuple(value.shape) == shape
        of_head = model.has_head and not model.identifies_base(name)
        if not provided and name not in mismatched and of_head:
            nowhere.append(name)
        elif not provided:
            fresh.append(name)
        values[name] = value
    if nowhere:
        modules = sorted({name.partition(".")[0] for name in trained_beside_lora(model) - set(record.dtypes or {})})
        raise ValueError(
            f"The adapter '{source}' does not fit this {type(model).__name__}: {len(nowhere)} tensors are lacking, "
            f"such as {min(nowhere)}, which the base does not provide either, so they would be random. Train it with "
            f"the head; in PEFT's words, modules_to_save={modules}."
        )
    return values, fresh


def _other_shape(source: str, name: str, found: Shape, shape: Shape, beside: bool) -> str:
    remedy = " Ask for the adapter's labels, or pass ignore_mismatched_sizes=True to start it anew." if beside else ""
    return f"The adapter '{source}' does not fit this model: {name} is {found} there and {shape} here.{remedy}"


def _few(names: Collection[str], limit: int = 4) -> str:
    """Name the first few of many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(sorted(names)[:limit]) + more
