"""Matching a checkpoint's keys with a model's parameters and buffers, and saying what did not match.

An attribute path is a checkpoint key: ``roberta.encoder.layer.0.attention.self.query.weight`` is both. Only three
things stand between the two: old names of LayerNorm parameters, the base model's prefix (a checkpoint of the bare
encoder has none), and tied tensors, which a file holds once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..base.model import ModelWithBase
from ..methods.trainable import added_parameter_names
from ..utils import logging

__all__ = [
    "LoadReport",
    "MismatchedShapesError",
    "drop_position_ids",
    "match_state_dict",
    "named_tensors",
]

logger = logging.get_logger(__name__)

# Checkpoints converted from TensorFlow name LayerNorm's weight and bias as the paper does.
LEGACY_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}

# Files written before 4.31 hold the range 0 … max_position_embeddings - 1 under this name; it is no parameter.
IGNORED_ENDING = "embeddings.position_ids"


class MismatchedShapesError(ValueError, RuntimeError):
    """A checkpoint holds tensors of another shape than the model's (4.4.2 raised `RuntimeError`)."""


@dataclass
class LoadReport:
    """What a checkpoint had for a model.

    Attributes:
        loaded: Names of the model's tensors that the checkpoint provided.
        missing_base: Encoder parameters that it did not provide.
        missing_adapter: LoRA matrices and bottleneck adapters that it did not provide.
        missing_head: Parameters outside the encoder that it did not provide.
        unexpected: Names in the checkpoint, as they stand there, that the model does not have.
        mismatched: Name, the checkpoint's shape and the model's, where the two differ.
    """

    loaded: list[str] = field(default_factory=list)
    missing_base: list[str] = field(default_factory=list)
    missing_adapter: list[str] = field(default_factory=list)
    missing_head: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    @property
    def missing(self) -> list[str]:
        """All parameters that start with new values."""
        return self.missing_base + self.missing_adapter + self.missing_head

    def to_dict(self) -> dict[str, list[object]]:
        """Give the report under upstream's names, as ``output_loading_info=True`` returns it."""
        return {
            "missing_keys": list(self.missing),
            "unexpected_keys": list(self.unexpected),
            "mismatched_keys": list(self.mismatched),
            "error_msgs": [],
        }

    def check(self, source: str, ignore_mismatched_sizes: bool) -> None:
        """Refuse a checkpoint that does not fit.

        Args:
            source: Where the checkpoint came from, for the message.
            ignore_mismatched_sizes: Let mis-shaped tensors start with new values instead.

        Raises:
            MismatchedShapesError: If shapes differ and that is not ignored.
            ValueError: If nothing of the model is in the checkpoint.
        """
        if self.mismatched and not ignore_mismatched_sizes:
            rows = "".join(f"\n  {name}: {found} there, {wanted} here" for name, found, wanted in self.mismatched)
            raise MismatchedShapesError(
                f"'{source}' holds tensors of another shape than the model's:{rows}\nCheck the configuration (number "
                "of labels, vocabulary, sizes), or pass ignore_mismatched_sizes=True to start these anew."
            )
        if not self.loaded:
            raise ValueError(
                f"'{source}' holds none of this model's parameters; its names begin "
                f"{', '.join(self.unexpected[:3]) or '(there are none)'}. Is it a checkpoint of another model type?"
            )

    def log(self, source: str, without: Collection[str] = ()) -> None:
        """Say in the log what starts anew and what was left out.

        Args:
            source: Where the checkpoint came from.
            without: What need not be said to start anew: an adapter brings it.
        """
        missing = (self.missing_base, self.missing_head, self.missing_adapter)
        base, head, adapter = ([name for name in names if name not in without] for names in missing)
        if base:
            logger.warning("Not in '%s', so the encoder's start anew: %s", source, _listing(base))
        if head:
            names = _listing(head)
            logger.info("Not in '%s', so the head's are new until they are trained or loaded: %s", source, names)
        if adapter:
            logger.info("Adapters at their starting values until they are trained or loaded: %d tensors", len(adapter))
        if self.unexpected:
            logger.info("In '%s', but not part of this model: %s", source, _listing(self.unexpected))
        for name, found, wanted in self.mismatched:
            logger.warning("'%s' has %s for %s, not %s: it starts anew.", source, found, name, wanted)


def named_tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Give what a checkpoint of a model holds: parameters and persistent buffers.

    Args:
        model: Any module.

    Returns:
        The tensors, each under its first name; and further names of one tensor, each with the first.
    """
    tensors: dict[str, Tensor] = {}
    others: dict[str, str] = {}
    first_names: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            continue  # a module's extra state
        if id(tensor) in first_names:
            others[name] = first_names[id(tensor)]
        else:
            first_names[id(tensor)] = name
            tensors[name] = tensor
    return tensors, others


def match_state_dict(model: ModelWithBase, state_dict: dict[str, Tensor]) -> tuple[dict[str, Tensor], LoadReport]:
    """Find the model's tensor for each of a checkpoint's.

    Args:
        model: The model; only its names and shapes are read.
        state_dict: The checkpoint under its own names.

    Returns:
        The tensors that fit, under the model's names, and the report, without what the model's class wants ignored.
    """
    expected, others = named_tensors(model)
    report = LoadReport()
    fitting: dict[str, Tensor] = {}
    renamed = _rename(model, state_dict, {*expected, *others})
    present = set(renamed.values())
    for own_name, name in renamed.items():
        if name in others and others[name] in present:
            continue  # the tensor stands there under its first name too
        name, tensor = others.get(name, name), state_dict[own_name]
        if name not in expected:
            report.unexpected.append(own_name)
        elif tensor.shape != expected[name].shape:
            report.mismatched.append((name, tuple(tensor.shape), tuple(expected[name].shape)))
        else:
            fitting[name] = tensor
    report.loaded = list(fitting)
    report.unexpected = _not_ignored(report.unexpected, model._keys_to_ignore_on_load_unexpected)
    added = added_parameter_names(model)
    for name in _not_ignored(expected, model._keys_to_ignore_on_load_missing):
        if name in fitting:
            continue
        if name in added:
            report.missing_adapter.append(name)
        elif model.is_base_parameter(name):
            report.missing_base.append(name)
        else:
            report.missing_head.append(name)
    return fitting, report


def _rename(model: ModelWithBase, names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Give the model's name for each of a checkpoint's, without those that are no tensors of a model."""
    names = list(names)
    prefix = f"{model.base_model_prefix}."
    has_prefix = any(name.startswith(prefix) for name in names)
    renamed: dict[str, str] = {}
    for own_name in names:
        name = own_name
        if model.has_head and not has_prefix:
            name = prefix + name
        elif not model.has_head:
            name = name.removeprefix(prefix)
        for old, new in LEGACY_ENDINGS.items():
            if name.endswith(old) and name not in known:
                name = name.removesuffix(old) + new
        if not name.endswith(IGNORED_ENDING) or name in known:
            renamed[own_name] = name
    return renamed


def _not_ignored(names: Iterable[str], patterns: Collection[str] | None) -> list[str]:
    """Leave out the names in which one of some regular expressions is found."""
    return [name for name in names if not any(re.search(pattern, name) for pattern in patterns or ())]


def drop_position_ids(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Forget what `IGNORED_ENDING` names, before `torch.nn.Module.load_state_dict` calls it unexpected.

    Args:
        module: The embeddings, which register this as a hook.
        state_dict: What is loaded; changed in place.
        prefix: The embeddings' path in it.
        *_: What else `torch` hands to such a hook.
    """
    state_dict.pop(f"{prefix}position_ids", None)


def _listing(names: list[str], limit: int = 8) -> str:
    """Name the first few of many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
