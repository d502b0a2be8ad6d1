"""One folder of adapters for all tests of the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import write_adapters


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of all kinds over the base beside their folder; not to be changed."""
    return write_adapters(tmp_path_factory.mktemp("served"))
