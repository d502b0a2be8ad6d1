"""Runs Microsoft's own ``deberta`` package on the cases that a test has laid out; runs in a process of its own.

Each case is a folder with ``config.json``, ``model.safetensors`` (an encoder's) and ``inputs.safetensors``; every
layer's output goes to ``outputs.safetensors``. The package is of 2021: three names that Python and NumPy have dropped
since are given back to it here.
"""

from __future__ import annotations

import collections
import collections.abc
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
np.int = int  # type: ignore[attr-defined]
np.float = float  # type: ignore[attr-defined]


def run_case(folder: Path) -> None:
    """Run one case in evaluation."""
    from DeBERTa import deberta

    stated = json.loads((folder / "config.json").read_text())
    content = {name: value for name, value in stated.items() if value is not None}
    content["pos_att_type"] = "|".join(content["pos_att_type"])
    model = deberta.DeBERTa(config=deberta.ModelConfig.from_dict(content))
    lacking = model.load_state_dict(load_file(folder / "model.safetensors"))
    assert not lacking.missing_keys
    assert not lacking.unexpected_keys
    model.eval()
    inputs = load_file(folder / "inputs.safetensors")
    with torch.no_grad():
        layers = model(inputs["input_ids"], inputs["attention_mask"], inputs.get("token_type_ids"))
    outputs = {f"layer.{number}": layer.contiguous() for number, layer in enumerate(layers)}
    save_file(outputs, folder / "outputs.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_folder in sorted(Path(sys.argv[1]).iterdir()):
        run_case(case_folder)
