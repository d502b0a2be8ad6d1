"""Running real upstream Transformers and PEFT, in an environment and processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import forking
from parity import Upstream

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMPORTS = ("torch._dynamo", "peft.optimizers", "transformers.trainer")


@pytest.fixture(scope="session")
def reference_python() -> Path:
    """Give the reference environment's interpreter."""
    python = Path(os.environ.get("LORA_REFERENCE_PYTHON", ROOT / ".venv-reference" / "bin" / "python"))
    if not python.is_file():
        pytest.skip(f"needs upstream Transformers and PEFT ({python} is absent; scripts/test.sh makes it)")
    return python


@pytest.fixture(scope="session")
def upstream(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """Give a function that runs one of this folder's ``upstream_*.py`` scripts in the reference environment."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with forking(IMPORTS, tmp_path_factory.mktemp("upstream") / "said", environment, reference_python) as forks:

        def run(script: str, *arguments: str | Path) -> None:
            done = forks.run(HERE / script, *arguments, timeout=600)
            assert done.returncode == 0, f"{script} failed:\n{done.stderr[-6000:]}"

        yield run
