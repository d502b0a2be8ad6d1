"""The example's modules, a tiny checkpoint and a tiny GLUE."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint
from tiny_glue import write_tiny_glue


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the data sets' cache away from the user's, and from other tests'."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


@pytest.fixture(scope="session")
def tiny_glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_glue(tmp_path_factory.mktemp("glue"))
