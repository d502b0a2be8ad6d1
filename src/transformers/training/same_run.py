"""Which run a checkpoint belongs to: what it learns from, its base, its labels, its method; one table of verdicts.

A run that goes on from a checkpoint is the same run: with other data, another base or other labels it would give the
old run's weights under the new one's name. `resumed_arguments` has the verdicts on the arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..base.model import ModelWithBase
from ..configuration.lora_options import LORA_OPTIONS
from ..utils import logging
from ..utils.json_files import load_json
from ..utils.shapes import Anything, MapOf, Record, Text, Whole, optional
from ..version import __version__
from .data_identity import data_identity

__all__ = [
    "METHOD",
    "RUN_NAME",
    "VERDICTS",
    "Verdict",
    "check_same_run",
    "describe_model",
    "describe_run",
    "threads_of_run",
    "write_run",
]

logger = logging.get_logger(__name__)

RUN_NAME = "run.json"

METHOD = (
    *("apply_lora", "lora_r", "lora_alpha", "lora_position_query", *LORA_OPTIONS),
    *("apply_adapter", "adapter_type", "adapter_size", "apply_bitfit"),
    *("consistency", "reg_loss_wgt", "masking_prob"),
)
"""Fields of a configuration that say what is trained and how."""

_DROPOUT = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "pooler_dropout"),
    *("cls_dropout", "lora_dropout"),
)


class Verdict(Enum):
    """What becomes of a run one of whose facts is another than the checkpoint's."""

    REFUSED = "refused"
    SAID = "goes on, with a line"


VERDICTS: dict[str, tuple[Verdict, str]] = {
    "data": (Verdict.REFUSED, "the training data"),
    "labels": (Verdict.REFUSED, "the labels"),
    "problem_type": (Verdict.REFUSED, "the kind of labels"),
    "base": (Verdict.REFUSED, "the base model"),
    "architecture": (Verdict.REFUSED, "the class of the model"),
    "method": (Verdict.REFUSED, "what is trained"),
    "storage": (Verdict.REFUSED, "how the base is kept"),
    "dropout": (Verdict.SAID, "the dropout"),
    "versions": (Verdict.SAID, "the versions"),
    "threads": (Verdict.SAID, "the number of threads"),
}
"""By fact of a run: the verdict where it is another, and its name. A fact that one side lacks is passed over."""

_SHAPE = Record(
    {
        "data": Record({"rows": optional(Whole(0)), "sha256": optional(Text())}),
        "labels": optional(MapOf(Text())),
        "problem_type": optional(Text()),
        "base": optional(Text()),
        "architecture": optional(Text()),
        "method": MapOf(Anything()),
        "storage": optional(Text()),
        "dropout": MapOf(Anything()),
        "versions": MapOf(Text()),
        "threads": optional(Whole(1)),
    }
)
"""``run.json``."""


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Say what a run trains, before anything of it is sharded or changed.

    Args:
        model: The model. Of a class without a configuration only its name is known.
    """
    config = getattr(model, "config", None)
    facts: dict[str, Any] = {"architecture": type(model).__name__}
    facts["versions"] = {"transformers": __version__, "torch": version("torch")}
    facts["threads"] = torch.get_num_threads()
    if config is None:
        return facts
    labels = getattr(config, "id2label", None) or {}
    facts["labels"] = {str(number): str(name) for number, name in labels.items()}
    facts["problem_type"] = getattr(config, "problem_type", None)
    facts["method"] = {name: getattr(config, name) for name in METHOD if hasattr(config, name)}
    facts["dropout"] = {name: getattr(config, name) for name in _DROPOUT if hasattr(config, name)}
    if isinstance(model, ModelWithBase) and getattr(config, "freezes_base", False):
        facts["base"] = model.base_sha256()  # a base that is trained comes back from the checkpoint whole
        facts["storage"] = "in full precision" if model.quantization is None else repr(model.quantization)
    return facts


def describe_run(facts: dict[str, Any], dataset: Any) -> dict[str, Any]:
    """Say which run this is.

    Args:
        facts: As of `describe_model`.
        dataset: What it learns from.

    Returns:
        A description as JSON holds it.
    """
    described: dict[str, Any] = json.loads(json.dumps({"data": data_identity(dataset), **facts}, default=str))
    return described


def write_run(folder: Path, run: dict[str, Any]) -> None:
    """Write down in a checkpoint which run it belongs to."""
    (folder / RUN_NAME).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


def check_same_run(checkpoint: Path, describe: Callable[[], dict[str, Any]]) -> None:
    """Refuse to go on from another run's checkpoint, and say aloud what else is not as it was.

    Args:
        checkpoint: The checkpoint; where a script's own saving, or an earlier version, recorded no run, nothing is
            compared.
        describe: Gives this run, by `describe_run`.

    Raises:
        ValueError: Naming what is another, and both values.
    """
    path = checkpoint / RUN_NAME
    if not path.is_file():
        return
    before, now = load_json(path, _SHAPE), describe()
    for fact, (verdict, name) in VERDICTS.items():
        old, new = before.get(fact), now.get(fact)
        if old is None or new is None or old == new or (fact == "data" and not _other_data(old, new)):
            continue
        if verdict is Verdict.REFUSED:
            raise ValueError(
                f"'{checkpoint}' is another run's: {name} {_change(fact, old, new)}. Start anew in another folder, or "
                "go on with what it was trained on. To start a new run from its weights, load the model from there."
            )
        logger.warning("%s of %s: %s; the training goes on.", name.capitalize(), checkpoint, _change(fact, old, new))


def threads_of_run(checkpoint: Path) -> int | None:
    """Give the number of threads that a checkpoint was made with; None where it does not say."""
    path = checkpoint / RUN_NAME
    number: int | None = load_json(path, _SHAPE).get("threads") if path.is_file() else None
    return number


def _other_data(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Say whether two data sets are known to differ."""
    known = [name for name in ("rows", "sha256") if old.get(name) is not None and new.get(name) is not None]
    return any(old[name] != new[name] for name in known)


def _change(fact: str, old: Any, new: Any) -> str:
    """Say what was, and what is."""
    if fact == "data":
        same = "of other content" if old["rows"] == new["rows"] else f"{old['rows']} rows then, {new['rows']} now"
        return f"are {same}" if old["rows"] == new["rows"] else f"had {same}"
    if fact == "base":
        return "has other weights (its hash differs)"
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
        parts = ", ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names[:3])
        return f"differ: {parts}" + (" …" if len(names) > 3 else "")
    return f"was {old!r} and is {new!r}"
