"""What a checkpoint holds, and how it comes back: the model in place, and the state of the training."""

from __future__ import annotations

import logging as python_logging
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..modeling.weights import let_umask_decide
from ..modeling_utils import PreTrainedModel
from ..utils import logging
from ..utils.writing import is_machine_fault, not_written, replacing, write_text
from .checkpoint import MANIFEST_NAME, TornCheckpointError, is_of_transformers, verify_checkpoint
from .checkpoint_state import load_tree, save_tree
from .foreign_models import (
    MODULE_STATE_NAME,
    check_fit,
    is_peft_model,
    read_module_state,
    read_peft_weights,
    saves_itself,
)
from .shapes import OPTIMIZER, RANDOM_STATES, SCHEDULER

if TYPE_CHECKING:
    from ..training_args import TrainingArguments
    from .parallel import Parallel

__all__ = ["holds_adapter", "is_training_checkpoint", "load_training_state", "read_model", "save_training_state"]

TRAINER_STATE_NAME = "trainer_state.json"
TRAINING_ARGS_NAME = "training_args.json"

STATE_NAMES = ("optimizer.json", "scheduler.json", "rng_state.json")
"""What a checkpoint holds beside them, unless it is one of the model only."""

_WHOLE_MODEL = ("config.json", "model*.safetensors*", "pytorch_model*.bin*")
_ADAPTER = ("adapter_config.json", "adapter_model.*", "lora_metadata.json", "trained_model.*")

logger = logging.get_logger(__name__)


def holds_adapter(model: nn.Module) -> bool:
    """Say whether a model is saved as what it trains (an adapter, biases, the head), without the frozen base."""
    own = not is_peft_model(model) and not saves_itself(model)
    return own and bool(getattr(getattr(model, "config", None), "freezes_base", False))


def write_model(model: nn.Module, folder: str | Path, tokenizer: Any, args: TrainingArguments) -> None:
    """Write a model, its tokenizer and the arguments of its training into a folder.

    A model on a frozen base gives its adapter folder, another one with ``save_pretrained`` what that writes, and any
    other module ``model.safetensors``.

    Args:
        model: The model, with whole values.
        folder: Made where it does not exist.
        tokenizer: Saved too, where it can be.
        args: The arguments of the training.

    Raises:
        ValueError: If an adapter holds values that are not finite.
        NotWrittenError: If something could not be written (a full disk).
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _files_in(folder)
        _write_weights(model, folder, tokenizer, args)
        _remove_obsolete(model, folder, before)
        if hasattr(tokenizer, "save_pretrained"):
            tokenizer.save_pretrained(folder)
        write_arguments(args, folder)
    except Exception as error:
        if not is_machine_fault(error):
            raise
        raise not_written(f"The model in '{folder}'", error, "The training's checkpoints are untouched.") from error


def write_arguments(args: TrainingArguments, folder: Path) -> None:
    """Write the arguments of a training beside its model."""
    write_text(folder / TRAINING_ARGS_NAME, args.to_json_string() + "\n")


def _write_weights(model: nn.Module, folder: Path, tokenizer: Any, args: TrainingArguments) -> None:
    if holds_adapter(model):
        from ..adapters.saving import save_adapter

        save_adapter(model, folder, tokenizer=tokenizer, training_args=args.to_dict())  # type: ignore[arg-type]
    elif isinstance(model, PreTrainedModel) and not saves_itself(model):
        model.save_pretrained(folder, replaces_adapter=True)
    elif hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)  # type: ignore[operator]
    else:
        from safetensors.torch import save_model

        with replacing(folder / "model.safetensors") as beside:
            save_model(model, str(beside))
    for path in folder.glob("*.safetensors"):  # other libraries leave theirs to the owner alone
        let_umask_decide(path)


def _files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Give what tells a file that is written anew from the one that was there: its inode and the time of writing."""
    found = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def _remove_obsolete(model: nn.Module, folder: Path, before: dict[str, tuple[int, int]]) -> None:
    """Take an earlier save in another form away, which loading would take in the place of this one.

    Only what was there before and was not written now goes, and only where what was written is of one form.
    """
    now = _files_in(folder)
    written = {name for name, state in now.items() if before.get(name) != state}
    wrote_adapter, wrote_whole = _some_match(written, _ADAPTER), _some_match(written, _WHOLE_MODEL)
    if wrote_adapter is wrote_whole or folder.resolve() in _bases_of(model):
        return
    for name in now.keys() - written:
        if _some_match([name], _WHOLE_MODEL if wrote_adapter else _ADAPTER):
            logger.info("Replacing %s of an earlier run.", folder / name)
            (folder / name).unlink()


def _some_match(names: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _bases_of(model: nn.Module) -> set[Path]:
    """Give the folders that the model was made from: they are another model's, and stay as they are."""
    names = [getattr(model, "name_or_path", None)]
    if is_peft_model(model):
        names += [getattr(each, "base_model_name_or_path", None) for each in model.peft_config.values()]  # type: ignore
    return {Path(str(name)).resolve() for name in names if name}


def read_model(model: nn.Module, folder: str | Path, *, only_fitting: bool = False) -> None:
    """Put saved values into a model, in place and exactly.

    Args:
        model: The model that wrote them, or one just like it.
        folder: What ``write_model`` wrote.
        only_fitting: Take the tensors whose name and shape fit, and leave the rest of the model as it is.

    Raises:
        OSError: If the folder holds no weights.
        ValueError: If a tensor is missing, unknown, or of another shape.
    """
    folder = Path(folder)
    if (folder / MODULE_STATE_NAME).is_file() and saves_itself(model):
        read_module_state(model, folder)
        return
    if is_peft_model(model) and (folder / "adapter_config.json").is_file():
        read_peft_weights(model, folder)
        return
    forms = ("adapter_config.json", "trained_model.json")
    if holds_adapter(model) and any((folder / name).is_file() for name in forms):
        from ..adapters.folder import load_adapter_weights

        load_adapter_weights(model, folder)  # type: ignore[arg-type]
        return
    from ..modeling.weights import load_weights

    tensors = load_weights(folder)
    own: dict[str, Tensor] = model.state_dict()
    if not only_fitting:
        check_fit(own, tensors, folder)
    fitting = [name for name, value in tensors.items() if name in own and own[name].shape == value.shape]
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(tensors[name])
    if only_fitting:
        level = python_logging.INFO if fitting else python_logging.WARNING
        logger.log(level, "Took %d of %d tensors from '%s'.", len(fitting), len(own), folder)


def save_training_state(
    folder: Path, *, optimizer_state: dict[str, Any], scheduler: Any, scaler: Any, rng_states: list[dict[str, Any]]
) -> None:
    """Write what a run needs, beside the model and ``trainer_state.json``, to go on exactly where it stands.

    Args:
        folder: The checkpoint that is being written.
        optimizer_state: What ``Parallel.optimizer_state`` gives.
        scheduler: The schedule.
        scaler: The scaler of the loss.
        rng_states: The random generators of every process.
    """
    save_tree(optimizer_state, folder, "optimizer")
    save_tree({"scheduler": scheduler.state_dict(), "scaler": scaler.state_dict()}, folder, "scheduler")
    save_tree(rng_states, folder, "rng_state")


def load_training_state(
    folder: Path, *, optimizer: Any, parallel: Parallel, scheduler: Any, scaler: Any
) -> list[dict[str, Any]]:
    """Put the optimizer, the schedule and the scaler back, and give the random generators of every process.

    Args:
        folder: What ``save_training_state`` wrote.
        optimizer: Over the same parameters as then.
        parallel: How the processes share the optimizer's state.
        scheduler: The schedule.
        scaler: The scaler of the loss.

    Raises:
        ValueError: If the checkpoint was written without them (``save_only_model``), or for other parameters.
    """
    if not (folder / "optimizer.json").is_file():
        raise ValueError(
            f"'{folder}' holds a model only (save_only_model): training cannot go on from it, only start with it."
        )
    saved = load_tree(folder, "optimizer", OPTIMIZER)
    before, now = _parameter_names(saved["param_groups"]), _parameter_names(optimizer.param_groups)
    if before and now and before != now:
        different = sorted(set(before) ^ set(now))
        raise ValueError(
            f"'{folder}' trained other parameters than this run does ({len(before)} there, {len(now)} here); they "
            f"differ in {', '.join(different[:3]) or 'their order'}."
        )
    parallel.load_optimizer_state(optimizer, saved)
    rest = load_tree(folder, "scheduler", SCHEDULER)
    scheduler.load_state_dict(rest["scheduler"])
    if rest["scaler"]:
        scaler.load_state_dict(rest["scaler"])
    states: list[dict[str, Any]] = load_tree(folder, "rng_state", RANDOM_STATES)
    return states


def is_training_checkpoint(folder: str | Path) -> bool:
    """Say whether a folder holds a training to go on with, rather than only a model to start from.

    What Transformers itself has written is a model to start from: its state is in pickles.

    Raises:
        ValueError: If it is a checkpoint that is not whole, or there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"There is no checkpoint to go on from at '{folder}': no such folder.")
    if is_of_transformers(folder):
        return False
    if not any((folder / name).is_file() for name in (MANIFEST_NAME, TRAINER_STATE_NAME, *STATE_NAMES)):
        return False
    try:
        verify_checkpoint(folder)
    except TornCheckpointError as error:
        raise ValueError(f"The checkpoint '{folder}' is not whole: {error}. Take an earlier one.") from error
    return True


def _parameter_names(groups: list[dict[str, Any]]) -> list[str]:
    return [name for group in groups for name in group.get("param_names", [])]
