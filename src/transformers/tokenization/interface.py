"""What reading and writing a tokenizer's files needs of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

__all__ = ["TokenizerWithFiles"]


class TokenizerWithFiles(Protocol):
    """A tokenizer as its files see it; `PreTrainedTokenizerBase` documents each member."""

    vocab_files_names: ClassVar[dict[str, str]]
    model_input_names: Any
    init_kwargs: Any
    clean_up_tokenization_spaces: Any
    model_max_length: Any
    padding_side: Any
    truncation_side: Any
    split_special_tokens: Any

    def __init__(self, **settings: Any) -> None:
        """Make a tokenizer of files and settings."""

    @property
    def all_special_tokens(self) -> Sequence[str]:
        """The special tokens' texts."""

    @property
    def additional_special_tokens(self) -> Sequence[str]:
        """Those without a role."""

    @property
    def special_tokens_map(self) -> Mapping[str, Any]:
        """The special tokens' texts by their roles."""

    @property
    def special_tokens_map_extended(self) -> Mapping[str, Any]:
        """The special tokens with their flags by their roles."""

    def get_vocab(self) -> Mapping[str, int]:
        """Give the ids of all tokens."""

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens to the vocabulary."""

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabulary in its own format."""

    def _save_backend(self, path: str) -> None:
        """Write ``tokenizer.json``."""

    def _own_settings(self) -> Mapping[str, Any]:
        """Give the settings of the class's own."""
