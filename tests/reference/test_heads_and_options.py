"""Every head with LoRA options in turn against real PEFT over real upstream: outputs, gradients, fifty steps.

A third of the table's cells, so that each head meets a third of the options and each option a third of the heads, and
training in every fourth of these; ``benchmarks/heads_and_options.py`` runs all of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from parity import Upstream

from heads_and_options import OPTIONS, ROWS, Case, compare, write_table

pytestmark = pytest.mark.reference

CASES = [
    Case(family, row, option, 50 if (number + place) % 12 == 0 else 0)
    for number, (family, row) in enumerate(ROWS)
    for place, option in enumerate(OPTIONS)
    if (number + place) % 3 == 0
]


@pytest.fixture(scope="module")
def folder(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("table")
    upstream("upstream_heads_and_options.py", write_table(CASES, place))
    return place


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_peft(case: Case, folder: Path) -> None:
    found = compare(case, folder)
    assert found["outputs"] <= 1e-5
    assert found["gradients"] <= 1e-5
    if case.steps:
        assert found["losses"] <= 1e-4
        assert found["trained"] <= 1e-3
