"""What some pages suppose that their reader has: adapters trained before, and names of the code at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from served import write_adapter
from snippets import ROOT

__all__ = ["SUPPOSED", "prepare"]

Names = dict[str, Any]


def _mrpc(checkout: Path, base: Path, names: Names) -> None:
    write_adapter(checkout / "output" / "mrpc", base, seed=0)
    rows = ["sentence\tlabel", "the film was good\tLABEL_1", "the film was bad\tLABEL_0"]
    (checkout / "dev.tsv").write_text("\n".join(rows) + "\n")


def _adapters(checkout: Path, base: Path, names: Names) -> None:
    for seed, (name, kind) in enumerate({"sst2": "text", "mrpc": "text", "squad": "question", "ner": "token"}.items()):
        write_adapter(checkout / "output" / "adapters" / name, base, kind, seed=seed)


SUPPOSED: dict[str, Callable[[Path, Path, Names], None]] = {
    "export.md": _mrpc,
    "pipelines.md": _mrpc,
    "serving.md": _adapters,
}


def prepare(page: Path, checkout: Path, base: Path, names: Names) -> None:
    """Have ready what a page supposes; most suppose nothing.

    Args:
        page: The page.
        checkout: Where its snippets run.
        base: A model with its tokenizer.
        names: Of its blocks of Python; what they use of earlier code is added.
    """
    found = SUPPOSED.get(str(page.relative_to(ROOT / "docs")))
    if found is not None:
        found(checkout, base, names)
