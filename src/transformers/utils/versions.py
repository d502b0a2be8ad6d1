"""Checks that an installed library has the version that a script needs."""

from __future__ import annotations

import importlib.metadata
import platform

from packaging.requirements import InvalidRequirement, Requirement

__all__ = ["require_version", "require_version_core", "require_version_examples"]


def require_version(requirement: str, hint: str | None = None) -> None:
    """Check that a distribution is installed in a fitting version.

    Args:
        requirement: In pip's form, such as ``"datasets>=1.1.3"``; ``"python>=3.6"`` asks for Python itself.
        hint: What to do where the check fails; printed behind the error.

    Raises:
        ValueError: If ``requirement`` is not in pip's form.
        ImportError: If the distribution is missing or has another version.
    """
    try:
        wanted = Requirement(requirement)
    except InvalidRequirement as error:
        raise ValueError(f"'{requirement}' is not a requirement in pip's form, such as 'datasets>=1.1.3'.") from error
    advice = f" {hint}" if hint else f" Install it with: pip install '{requirement}'"
    try:
        found = platform.python_version() if wanted.name == "python" else importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(f"'{requirement}' is needed, but {wanted.name} is not installed.{advice}") from error
    if not wanted.specifier.contains(found, prereleases=True):
        raise ImportError(f"'{requirement}' is needed, but {wanted.name} {found} is installed.{advice}")


def require_version_core(requirement: str) -> None:
    """Check a library that this package itself needs; see `require_version`."""
    require_version(requirement, "Install this package again: pip install -e .")


def require_version_examples(requirement: str) -> None:
    """Check a library that an example needs; see `require_version`."""
    require_version(requirement, "Install what the examples need: pip install -e '.[demo]'")
