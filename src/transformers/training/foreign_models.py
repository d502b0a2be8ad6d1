"""Models that save themselves in a way of their own: PEFT's, wrappers, classes with their own ``save_pretrained``.

What such a class writes is for it to decide. A checkpoint must also come back exactly: PEFT reads what it wrote, and
for any other class the checkpoint holds every tensor of the module beside that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..utils.json_files import parse_json
from ..utils.writing import replacing
from .parallel import whole_size

__all__ = [
    "MODULE_STATE_NAME",
    "check_fit",
    "check_holds_trained",
    "is_peft_model",
    "read_module_state",
    "read_peft_weights",
    "saves_itself",
    "write_module_state",
]

MODULE_STATE_NAME = "module_state.safetensors"

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz")


def is_peft_model(model: nn.Module) -> bool:
    """Say whether a model is wrapped by real PEFT (which is not imported to find out)."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)


def saves_itself(model: nn.Module) -> bool:
    """Say whether a model has a ``save_pretrained`` of its own, neither this package's nor PEFT's."""
    from ..modeling_utils import PreTrainedModel

    own = getattr(type(model), "save_pretrained", None)
    return own not in (None, PreTrainedModel.save_pretrained) and not is_peft_model(model)


def write_module_state(model: nn.Module, folder: Path) -> None:
    """Write every tensor of a module under its own name; tied ones once."""
    from safetensors.torch import save_model

    with replacing(folder / MODULE_STATE_NAME) as beside:
        save_model(model, str(beside))


def read_module_state(model: nn.Module, folder: Path) -> None:
    """Put back, in place, what ``write_module_state`` wrote.

    Raises:
        ValueError: If a tensor is missing, unknown, or of another shape.
    """
    from safetensors.torch import load_file

    tensors, own = load_file(folder / MODULE_STATE_NAME), model.state_dict()
    check_fit(own, tensors, folder)
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def read_peft_weights(model: nn.Module, folder: Path) -> None:
    """Put the weights that a PEFT model wrote back into its adapters: the default one's folder, and others' below it.

    Raises:
        ValueError: If an adapter was not saved there, or holds other tensors than the model has.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from peft.utils import load_peft_weights

    for name in model.peft_config:  # type: ignore[union-attr]
        place = folder if name == "default" else folder / name
        if not (place / "adapter_config.json").is_file():
            raise ValueError(f"'{folder}' does not hold the adapter '{name}' of this PEFT model.")
        tensors = load_peft_weights(str(place), device="cpu")
        check_fit(get_peft_model_state_dict(model, adapter_name=name), tensors, place)
        set_peft_model_state_dict(model, tensors, adapter_name=name)


def check_holds_trained(model: nn.Module, folder: Path) -> None:
    """Refuse to seal a checkpoint that cannot hold what was trained.

    Args:
        model: The model whose weights the folder should hold.
        folder: The checkpoint that is being written.

    Raises:
        ValueError: If no file of weights is there, or all of them together hold fewer values than are trained.
    """
    files = [path for path in folder.rglob("*") if path.suffix in _WEIGHTS]
    if not files:
        raise ValueError(
            f"What saves {type(model).__name__} wrote no weights into its checkpoint, only "
            f"{', '.join(sorted(path.name for path in folder.iterdir())) or 'nothing'}: training could not go on from "
            "it. Let its save_pretrained (or your save_model) write them."
        )
    trained = sum(whole_size(parameter) for parameter in model.parameters() if parameter.requires_grad)
    if all(path.suffix == ".safetensors" for path in files) and (found := _count_values(files)) < trained:
        raise ValueError(
            f"What saves {type(model).__name__} wrote {found:,} values into its checkpoint, and {trained:,} are "
            "trained: training could not go on from it. Let its save_pretrained (or your save_model) write them all."
        )


def _count_values(files: Iterable[Path]) -> int:
    """Count the values in safetensors files by their headers."""
    count = 0
    for path in files:
        with path.open("rb") as file:
            text = file.read(int.from_bytes(file.read(8), "little")).decode("utf-8")
        header = parse_json(text, f"The header of '{path}'")
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        count += sum(int(torch.Size(shape).numel()) for shape in shapes)
    return count


def check_fit(own: dict[str, Tensor], tensors: dict[str, Tensor], folder: Path) -> None:
    """Refuse saved tensors that are not exactly those of a model.

    Args:
        own: The model's tensors by name.
        tensors: The saved ones by name; of tied ones, one.
        folder: Where they were saved, for the message.

    Raises:
        ValueError: If a tensor is missing, unknown, or of another shape.
    """
    present = {own[name].data_ptr() for name in tensors if name in own}  # a tied tensor is saved under one name
    missing = [name for name, value in own.items() if name not in tensors and value.data_ptr() not in present]
    unknown = [name for name in tensors if name not in own]
    other = [name for name, value in tensors.items() if name in own and own[name].shape != value.shape]
    for names, what in (
        (missing, "lacks {}"),
        (unknown, "has {}, unlike the model"),
        (other, "has {} in another shape"),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(
                f"'{folder}' is not of this model: it {what.format(shown)}. Build the model as that run did."
            )
