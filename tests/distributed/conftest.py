"""Lets the tests of this folder import ``distributed_case`` and ``glue_case``, with ports and checkpoints."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

sys.path.insert(0, str(Path(__file__).parent))

from glue_case import write_mrpc


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
