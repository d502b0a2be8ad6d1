"""Lets the tests of this folder import ``distributed_case`` and ``glue_case``; processes, ports and checkpoints."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forked import Forks, forking
from tiny_checkpoint import write_tiny_checkpoint

sys.path.insert(0, str(Path(__file__).parent))

import distributed_case
from glue_case import write_mrpc

IMPORTS = ["torch._dynamo", "datasets", "torch.distributed.fsdp", "accelerate", "transformers.trainer"]
IMPORTS += ["deepspeed"] if importlib.util.find_spec("deepspeed") is not None else []


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Processes without a launcher, which have imported everything."""
    folder = tmp_path_factory.mktemp("forked")
    environment = distributed_case.environment(HF_DATASETS_CACHE=str(folder / "cache"))
    with forking(IMPORTS, folder / "said", environment) as started:
        yield started


@pytest.fixture(scope="session")
def start(forks: Forks) -> Callable[..., None]:
    """Give a function that runs trainings one after the other in several processes; it raises if they fail."""

    def start_some(folder: Path, runs: list[dict[str, Any]], *, processes: int, **variables: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        request = folder / "request.json"
        request.write_text(json.dumps({"runs": runs}))
        ran = forks.run(Path(distributed_case.__file__), request, processes=processes, **variables)
        assert ran.returncode == 0, f"exit code {ran.returncode}\n{ran.stderr[-30000:]}"

    return start_some


@pytest.fixture(scope="session")
def mrpc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mrpc(tmp_path_factory.mktemp("glue") / "data")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def port() -> int:
    """A port that nobody uses right now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
