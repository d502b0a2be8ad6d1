"""Running real upstream Transformers and PEFT, in an environment and processes of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from parity import Upstream

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def upstream() -> Upstream:
    """Give a function that runs one of this folder's ``upstream_*.py`` scripts in the reference environment."""
    python = Path(os.environ.get("LORA_REFERENCE_PYTHON", ROOT / ".venv-reference" / "bin" / "python"))
    if not python.is_file():
        pytest.skip(f"needs upstream Transformers and PEFT ({python} is absent; scripts/test.sh makes it)")

    def run(script: str, *arguments: str | Path) -> None:
        command = [str(python), str(Path(__file__).parent / script), *map(str, arguments)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, f"{script} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    return run
