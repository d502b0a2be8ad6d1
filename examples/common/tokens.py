"""What every example needs around its tokenizing: the length that the model reads, and bars that follow the flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

__all__ = ["bars", "max_length"]

logger = logging.get_logger("transformers.examples.tokens")


@contextmanager
def bars(shown: bool) -> Iterator[None]:
    """Let the data sets' progress bars follow --disable_tqdm, as the Trainer's do."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    if not shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def max_length(wanted: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """Give the number of tokens to cut at; a warning says so where the model reads fewer than were wanted."""
    if wanted > tokenizer.model_max_length:
        logger.warning(
            "--max_seq_length %d is more than the model's %d tokens; using %d.",
            wanted,
            tokenizer.model_max_length,
            tokenizer.model_max_length,
        )
    return min(wanted, tokenizer.model_max_length)
