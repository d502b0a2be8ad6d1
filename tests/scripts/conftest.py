"""The scripts' modules, and tiny checkpoints and data for the launchers."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
sys.path[:0] = [str(SCRIPTS), str(ROOT / "examples"), str(ROOT / "examples" / "text-classification")]

from tiny_glue import write_tiny_glue  # noqa: E402 (needs the example's modules, found through the line above)

from transformers import DebertaV2Config, DebertaV2Model  # noqa: E402

Launch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny-roberta") / "roberta-tiny")


@pytest.fixture(scope="session")
def tiny_deberta(tiny_roberta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DeBERTa-V2 like the XXL one in kind, with the tiny RoBERTa's tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-deberta") / "deberta-tiny"
    vocabulary = json.loads((tiny_roberta / "config.json").read_text())["vocab_size"]
    config = DebertaV2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=8,
        max_position_embeddings=64,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        conv_kernel_size=3,
        tokenizer_class="BertTokenizer",
    )
    DebertaV2Model(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(tiny_roberta / name, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_glue(tmp_path_factory.mktemp("glue"))


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """A function that runs a launcher in a folder of its own, with this Python and no GPU unless told otherwise."""
    cache = tmp_path_factory.mktemp("datasets-cache")

    def run(name: str, *words: object, cwd: Path, **variables: object) -> subprocess.CompletedProcess[str]:
        named = {
            "MODEL",
            "GLUE_DATASET",
            "TASKS",
            "SQUAD",
            "NUM_GPUS",
            "SEEDS",
            "OUTPUT_DIR",
            "LORA_ADAPTERS",
            "DRY_RUN",
        }
        environment = {key: value for key, value in os.environ.items() if key not in named}
        environment |= {
            "LORA_PYTHON": sys.executable,
            "NUM_GPUS": "0",
            "OUTPUT_DIR": str(cwd / "output"),
            "HF_DATASETS_CACHE": str(cache),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            **{key: str(value) for key, value in variables.items()},
        }
        command = ["bash", str(SCRIPTS / f"{name}.sh"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)

    return run


def command_of(output: str) -> tuple[list[str], dict[str, str | bool]]:
    """Read the command that a launcher prints.

    Returns:
        What starts the script, and the script's flags; True for one without a value.
    """
    line = next(line for line in output.splitlines() if line.startswith("  command"))
    words = shlex.split(line.removeprefix("  command"))
    script = next(index for index, word in enumerate(words) if word.endswith("run_glue.py"))
    flags: dict[str, str | bool] = {}
    rest = words[script + 1 :]
    for index, word in enumerate(rest):
        if word.startswith("--"):
            value = rest[index + 1] if index + 1 < len(rest) else "--"
            flags[word[2:]] = True if value.startswith("--") else value
    return words[:script], flags
