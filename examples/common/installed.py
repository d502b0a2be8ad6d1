"""Which `transformers` is installed: this project's, or another that was put over it.

Importing this module is the check. An example imports it before anything else of the package, so that what happened is
said in one line instead of by whatever name the other package lacks first. Nothing but Python itself is needed.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_other_package"]

ROOT = Path(__file__).resolve().parents[2]
_MARK = "+lora"  # in the version of this project's


def describe_other_package() -> str | None:
    """Say what is installed in place of this project's package, and what to do; None where it is this project's."""
    try:
        found = importlib.util.find_spec("transformers")
    except (ImportError, ValueError):
        found = None
    again = f"python -m pip install --no-deps -e {ROOT}"
    if found is None or found.origin is None:
        return f"this project's package is not installed; run: python -m pip install -e '{ROOT}[demo]'"
    folder = Path(found.origin).parent
    version_file = folder / "version.py"  # upstream has none
    if version_file.is_file() and _MARK in version_file.read_text(encoding="utf-8"):
        return None
    try:
        number = f" {version('transformers')}"
    except PackageNotFoundError:
        number = ""
    return (
        f"another transformers{number} stands in place of this project's: {folder}. Packages that depend on upstream "
        f"(setfit, sentence-transformers, adapters) put it there when they are installed. Keep them in an environment "
        f"of their own; to bring this project's back, run: {again}"
    )


_problem = describe_other_package()
if _problem is not None:
    print(f"{Path(sys.argv[0]).name}: error: {_problem}", file=sys.stderr)
    sys.exit(2)
