"""Running the small training in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import training_case
from forked import forking

IMPORTS = ("torch._dynamo", "accelerate", "transformers.trainer", "transformers.training.parallel")


@pytest.fixture(scope="session")
def run_forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Give `training_case.run_in_process` without interpreter and launcher: in processes that are forked."""
    environment = {**os.environ, "PYTHONPATH": str(training_case.ROOT / "src")}
    with forking(IMPORTS, tmp_path_factory.mktemp("trainings") / "said", environment) as forks:

        def run(folder: Path, *, processes: int = 1, **arguments: Any) -> subprocess.CompletedProcess[str]:
            request = json.dumps({"result": str(folder), **arguments})
            return forks.run(Path(training_case.__file__), request, processes=processes)

        yield run
