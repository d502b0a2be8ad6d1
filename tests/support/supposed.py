"""What some pages suppose that their reader has: adapters trained before, and names of the code at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from served import write_adapter
from snippets import ROOT
from tiny_checkpoint import write_tiny_checkpoint
from tiny_glue import write_tiny_glue

from transformers import AutoModelForSequenceClassification

__all__ = ["SUPPOSED", "prepare"]

Names = dict[str, Any]
_SERVED = {"sst2": "text", "mrpc": "text", "squad": "question", "ner": "token", "films": "words", "swag": "choices"}


def _mrpc(checkout: Path, base: Path, names: Names) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(base, apply_lora=True, lora_r=8, lora_alpha=16)
    model.save_adapter(checkout / "output" / "mrpc")
    rows = ["sentence\tlabel", "the film was good\tLABEL_1", "the film was bad\tLABEL_0"]
    (checkout / "dev.tsv").write_text("\n".join(rows) + "\n")


def _adapters(checkout: Path, base: Path, names: Names) -> None:
    """Write an adapter of each kind, over a base whose mask is RoBERTa's."""
    tiny = write_tiny_checkpoint(checkout / "tiny")
    vocabulary, settings = tiny / "vocab.txt", tiny / "tokenizer_config.json"
    vocabulary.write_text(vocabulary.read_text().replace("[MASK]", "<mask>"))
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"mask_token": "<mask>"}))
    for seed, (name, kind) in enumerate(_SERVED.items()):
        write_adapter(checkout / "output" / "adapters" / name, tiny, kind, seed=seed)


def _readme(checkout: Path, base: Path, names: Names) -> None:
    write_adapter(checkout / "output" / "rte", base, seed=0)
    (checkout / "nyu-mll" / "glue").mkdir(parents=True)
    write_tiny_glue(checkout / "nyu-mll" / "glue")


SUPPOSED: dict[str, Callable[[Path, Path, Names], None]] = {
    "README.md": _readme,
    "docs/export.md": _mrpc,
    "docs/pipelines.md": _mrpc,
    "docs/serving.md": _adapters,
}


def prepare(page: Path, checkout: Path, base: Path, names: Names) -> None:
    """Have ready what a page supposes; most suppose nothing.

    Args:
        page: The page.
        checkout: Where its snippets run.
        base: A model with its tokenizer.
        names: Of its blocks of Python; what they use of earlier code is added.
    """
    found = SUPPOSED.get(str(page.relative_to(ROOT)))
    if found is not None:
        found(checkout, base, names)
