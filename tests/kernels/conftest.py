"""Kernels in use, and their calls counted."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from transformers.kernels import calls
from transformers.kernels.calls import use_kernels


@pytest.fixture
def compiled() -> Iterator[None]:
    """Use kernels; the test skips where there is no compiler."""
    if not use_kernels():
        pytest.skip("needs a C++ compiler")
    yield
    use_kernels(False)


def counted(method: Callable[..., Any], used: Counter[tuple[str, bool]]) -> Callable[..., Any]:
    """Count a method's calls, with and without kernels in use."""

    @functools.wraps(method)
    def wrapped(*args: Any, **options: Any) -> Any:
        used[method.__name__, calls.uses_kernels()] += 1
        return method(*args, **options)

    return wrapped


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, bool]]:
    """Count the kernels' calls, with and without kernels in use."""
    used: Counter[tuple[str, bool]] = Counter()
    for method in ("residual_norm", "attend", "attend_backward", "drop"):
        monkeypatch.setattr(calls.Kernels, method, counted(getattr(calls.Kernels, method), used))
    return used
