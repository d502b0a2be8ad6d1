"""The tests of a GPU: each compares it with the CPU, and skips where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> Iterator[torch.device]:
    """The first GPU, with products in full fp32."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield torch.device("cuda", 0)
    torch.set_float32_matmul_precision(before)
