"""A PEFT that is installed beside this package wraps, trains, saves and reloads our models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_models import KINDS, write_base
from tiny import tiny_config

from transformers import RobertaForMaskedLM

pytestmark = pytest.mark.reference

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def only_peft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with real PEFT alone, taken out of the reference environment, for the path of our own."""
    packages = list((ROOT / ".venv-reference").glob("lib/python*/site-packages"))
    if not packages:
        pytest.skip("needs .venv-reference (scripts/test.sh makes it)")
    folder = tmp_path_factory.mktemp("peft")
    for name in ("peft", *(path.name for path in packages[0].glob("peft-*.dist-info"))):
        (folder / name).symlink_to(packages[0] / name)
    return folder


OPTIONS = (
    {"target_modules": "all-linear"},
    {"use_dora": True, "use_rslora": True},
    {"modules_to_save": ["LayerNorm"], "bias": "lora_only"},
    {"target_modules": ["word_embeddings", "output.dense"], "rank_pattern": {"output.dense": 2}},
    {"init_lora_weights": "orthogonal", "layers_to_transform": [1], "alpha_pattern": {"query": 16}},
    {"init_lora_weights": "gaussian", "exclude_modules": ["layer.0.attention.self.query"], "lora_dropout": 0.1},
)
WITH_OPTIONS = (
    *(f"SEQ_CLS:{json.dumps(options)}" for options in OPTIONS),
    # what takes a part of the base: PEFT's conversion leaves out what is trained beside LoRA, so without a head
    *(f"FEATURE_EXTRACTION:{json.dumps({'init_lora_weights': start})}" for start in ("pissa", "olora")),
)
TASKS = {
    "roberta": ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "CAUSAL_LM", "FEATURE_EXTRACTION", *WITH_OPTIONS),
    "deberta-adapted-positions": ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION", *WITH_OPTIONS),
}


@pytest.mark.parametrize("name", TASKS)
def test_peft_wraps_trains_saves_and_reloads(name: str, only_peft: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    if name == "roberta":  # with the head that scores words, which PEFT leaves to the base
        RobertaForMaskedLM(tiny_config()).save_pretrained(base)
    else:
        write_base(KINDS[name], base)
    script = Path(__file__).parent / "peft_beside.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(only_peft)])}
    command = [sys.executable, str(script), str(base), str(tmp_path), *TASKS[name]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("roberta", "plain"), ("roberta", "dora"), ("deberta-adapted-positions", "rslora"), ("roberta", "all-linear")],
)
def test_the_trainer_keeps_the_weights_of_a_peft_model(name: str, kind: str, only_peft: Path, tmp_path: Path) -> None:
    base = write_base(KINDS[name], tmp_path / "base")
    script = Path(__file__).parent / "peft_trainer.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(only_peft)])}
    command = [sys.executable, str(script), str(base), str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
