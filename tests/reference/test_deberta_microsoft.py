"""DeBERTa here equals Microsoft's own ``deberta`` package of 2021, in evaluation.

The package (0.1.12) still runs, given back three names that Python and NumPy have dropped, but its dependencies cannot
be installed today (``sklearn`` and ``laser`` among them). So it is fetched without them into a folder, which
``LORA_MICROSOFT_DEBERTA`` names::

    pip install --no-deps --target FOLDER DeBERTa==0.1.12 regex requests six urllib3 idna certifi charset-normalizer
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import assert_close, make_inputs
from safetensors.torch import load_file, save_file

from transformers import DebertaV2Config, DebertaV2Model

pytestmark = pytest.mark.reference

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
}
CASES: dict[str, dict[str, Any]] = {
    "v3": {},
    "v2": {"conv_kernel_size": 3, "conv_act": "gelu"},
    "own-projections": {"share_att_key": False},
    "c2p": {"pos_att_type": "c2p"},
    "p2c": {"pos_att_type": "p2c"},
    "no-buckets": {"position_buckets": -1, "norm_rel_ebd": "none"},
    "both-positions": {"position_biased_input": True, "type_vocab_size": 2},
}


def _case(name: str) -> tuple[DebertaV2Model, dict[str, torch.Tensor]]:
    torch.manual_seed(len(name))
    model = DebertaV2Model(DebertaV2Config(**{**TINY, **CASES[name]})).eval()
    inputs = {key: torch.cat([value, value.flip(1)]) for key, value in make_inputs(61, 0).items()}
    return model, inputs


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = os.environ.get("LORA_MICROSOFT_DEBERTA")
    if not package:
        pytest.skip("needs Microsoft's deberta package (this file's first lines say how to get it)")
    folder = tmp_path_factory.mktemp("microsoft")
    for name in CASES:
        model, inputs = _case(name)
        model.save_pretrained(folder / name)
        model.config.to_json_file(folder / name / "config.json", use_diff=False)
        save_file(inputs, folder / name / "inputs.safetensors")
    command = [sys.executable, str(Path(__file__).parent / "microsoft_model.py"), str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": package}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("name", CASES)
def test_every_layer_equals_microsofts(cases: Path, name: str) -> None:
    model, inputs = _case(name)
    theirs = load_file(cases / name / "outputs.safetensors")
    with torch.no_grad():
        ours = model(**inputs, output_hidden_states=True).hidden_states[1:]
    assert len(ours) == len(theirs)
    for number, layer in enumerate(ours):
        assert_close(layer, theirs[f"layer.{number}"], inputs["attention_mask"].bool(), f"layer {number}")
