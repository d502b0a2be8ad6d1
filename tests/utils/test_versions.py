"""Version checks that scripts begin with."""

from __future__ import annotations

import platform

import pytest

from transformers.utils.versions import require_version, require_version_core


def test_what_is_there_passes() -> None:
    require_version("python>=3.6")
    require_version("torch")
    require_version_core("tokenizers>=0.10.1")


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("python>=99", f"python {platform.python_version()} is installed"),
        ("torch>=99", r"torch [0-9.+a-z]+ is installed. Do this"),
        ("no-such-library", "not installed. Do this"),
    ],
)
def test_what_is_not_there_is_said(requirement: str, message: str) -> None:
    with pytest.raises(ImportError, match=message):
        require_version(requirement, "Do this.")


def test_a_requirement_that_is_none() -> None:
    with pytest.raises(ValueError, match="not a requirement in pip's form"):
        require_version("datasets => 1")
