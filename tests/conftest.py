"""What all tests share: where the real data lies, and tiny configurations."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # with more, two processes may differ in the last bit
os.environ.setdefault("TRANSFORMERS_NO_REPORT", "1")  # each takes half a second; their tests ask for them
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ROOT = Path(__file__).resolve().parent.parent
_SETTINGS = ("TRANSFORMERS_", "OMP_", "GOMP_", "HF_", "TOKENIZERS_", "LORA_")


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}


_AT_THE_START = _settings()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run where importing a test or a script has changed a setting: all other tests would run with it."""
    changed = sorted(dict(_settings().items() ^ _AT_THE_START.items()))
    if changed:
        raise pytest.UsageError(f"An import of a test has changed {', '.join(changed)}: no test is run.")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with GLUE and the released adapter; the test skips where it is absent."""
    folder = Path(os.environ.get("LORA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the shared data ({folder} does not exist; LORA_SHARED_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """MiniLM in RoBERTa layout, which scripts/quickstart.sh makes; the test skips where it is absent."""
    folder = Path(os.environ.get("LORA_MINILM", ROOT / "models" / "minilm-roberta"))
    if not (folder / "config.json").is_file():
        pytest.skip(f"needs the converted MiniLM ({folder}; scripts/minilm.sh makes it)")
    return folder


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Let every test start from the same random numbers, and with plain operations: a Trainer uses kernels."""
    torch.manual_seed(0)
    if calls := sys.modules.get("transformers.kernels.calls"):
        calls.use_kernels(False)
