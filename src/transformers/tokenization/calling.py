"""How a tokenizer is called: from texts, as callers hand them over, to rows of numbers by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding

from ..utils.generic import PaddingStrategy, TensorType
from .batch import BatchEncoding
from .limits import VERY_LARGE_INTEGER, Limits, TruncationStrategy, read_old_strategies, warn_once
from .special import SpecialTokensMixin
from .texts import Texts, texts_and_pairs

__all__ = ["EncodeStyle", "TextEncoder", "warn_of_unknown"]

# What 4.4.2 calls the warning of a text that is too long; deprecation_warnings[this] = True silences it.
_LENGTH_WARNING = "sequence-length-is-longer-than-the-specified-maximum"

_READERS = {
    "input_ids": lambda encodings: [encoding.ids for encoding in encodings],
    "token_type_ids": lambda encodings: [encoding.type_ids for encoding in encodings],
    "attention_mask": lambda encodings: [encoding.attention_mask for encoding in encodings],
    "special_tokens_mask": lambda encodings: [encoding.special_tokens_mask for encoding in encodings],
    "offset_mapping": lambda encodings: [encoding.offsets for encoding in encodings],
    "length": lambda encodings: [len(encoding) for encoding in encodings],
}


@dataclass(frozen=True)
class EncodeStyle:
    """The switches of one call, apart from lengths.

    Attributes:
        words: Texts are split into words already.
        special: Put special tokens around the texts.
        split_special: Take special tokens in the text for plain text.
        overflow: Give what truncation cut off as rows of their own.
        prefix_space: Encode the first word as if a space stood before it, where the tokenizer can.
        entries: The names of the entries to give.
        tensors: The kind of tensors to give, None for lists.
        verbose: Warn of texts that are too long.
    """

    words: bool
    special: bool
    split_special: bool
    overflow: bool
    prefix_space: bool
    entries: tuple[str, ...]
    tensors: str | TensorType | None
    verbose: bool


def warn_of_unknown(arguments: Mapping[str, Any]) -> None:
    """Warn once of arguments that nothing takes."""
    if arguments:
        names = sorted(arguments)
        warn_once(f"arguments {names}", f"The tokenizer ignores the unknown arguments {names}.")


class TextEncoder(SpecialTokensMixin):
    """The calling side of a tokenizer; a subclass encodes the texts.

    One object must not be called from several threads at once.
    """

    # The defaults of attributes that each object may override.
    model_input_names: Sequence[str] = ["input_ids", "token_type_ids", "attention_mask"]
    model_max_length: int = VERY_LARGE_INTEGER
    padding_side: str = "right"
    truncation_side: str = "right"
    split_special_tokens: bool = False
    deprecation_warnings: dict[str, bool]

    @abstractmethod
    def _encode_texts(self, texts: list[Any], style: EncodeStyle, limits: Limits) -> list[Encoding]:
        """Encode texts, or pairs as tuples; each encoding holds its ``overflowing`` parts."""

    def __call__(
        self,
        text: Texts | None = None,
        text_pair: Texts | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        *,
        padding_side: str | None = None,
        split_special_tokens: bool | None = None,
        text_target: Texts | None = None,
        text_pair_target: Texts | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a batch of either.

        Args:
            text: One text; or a list of texts (or of pairs of texts) for a batch. With ``is_split_into_words`` one
                list of words, or a list of such lists.
            text_pair: The second text, or the list of second texts.
            add_special_tokens: Put the model's special tokens around the texts.
            padding: True or ``"longest"``, ``"max_length"``, False or ``"do_not_pad"``.
            truncation: True or ``"longest_first"``, ``"only_first"``, ``"only_second"``, False or
                ``"do_not_truncate"``. By default a text is cut only if ``max_length`` is given and padding is not.
            max_length: In tokens, special ones included; the model's longest input by default.
            stride: How many tokens neighbouring parts share with ``return_overflowing_tokens``.
            is_split_into_words: The texts are lists of words.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            return_tensors: ``"pt"`` or ``"np"``; lists by default.
            return_token_type_ids: Whether to give ``token_type_ids``; as ``model_input_names`` says by default.
            return_attention_mask: Whether to give ``attention_mask``; as ``model_input_names`` says by default.
            return_overflowing_tokens: Give what truncation cut off as rows of their own, and
                ``overflow_to_sample_mapping``: the text that each row comes from.
            return_special_tokens_mask: Give 1 for special tokens and padding, 0 for the rest.
            return_offsets_mapping: Give each token's first character and the one after its last.
            return_length: Give each row's length in tokens.
            verbose: Warn of texts that are longer than the model takes.
            padding_side: Overrides the tokenizer's.
            split_special_tokens: Take special tokens in a text for plain text; overrides the tokenizer's.
            text_target: Texts to encode as ``labels`` (or alone, without ``text``).
            text_pair_target: The second texts of the targets.
            **kwargs: ``add_prefix_space`` for tokenizers that know it; the old ``pad_to_max_length`` and
                ``truncation_strategy``. Others are ignored with a warning.

        Returns:
            Lists (one text: of numbers; a batch: of lists) or tensors, with the positions of tokens in the texts.

        Raises:
            TypeError: If a text is not a text; the message says which one and what it is.
            ValueError: If a strategy is unknown, padding is asked of a tokenizer without padding token, ``max_length``
                leaves no room for the special tokens, or tensors are asked for rows of different lengths.
            ImportError: If what is cut off is asked for and the installed ``tokenizers`` loses it.
        """
        padding, truncation = read_old_strategies(padding, truncation, max_length, kwargs)
        prefix_space = bool(kwargs.pop("add_prefix_space", False))
        warn_of_unknown(kwargs)
        limits = self._limits(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side)
        entries = self._entries(
            token_type_ids=return_token_type_ids,
            attention_mask=return_attention_mask,
            special_tokens_mask=return_special_tokens_mask,
            offset_mapping=return_offsets_mapping,
            length=return_length,
        )
        style = EncodeStyle(
            words=is_split_into_words,
            special=add_special_tokens,
            split_special=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            overflow=return_overflowing_tokens,
            prefix_space=prefix_space,
            entries=entries,
            tensors=return_tensors,
            verbose=verbose and max_length is None,
        )
        return self._encode_with_targets((text, text_pair), (text_target, text_pair_target), style, limits)

    def _limits(
        self,
        padding: bool | str | PaddingStrategy,
        truncation: bool | str | TruncationStrategy | None,
        max_length: int | None,
        stride: int,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
    ) -> Limits:
        """Resolve lengths for one call.

        Raises:
            ValueError: If padding is asked for and there is no padding token, or an argument is unknown.
        """
        limits = Limits.resolve(
            padding,
            truncation,
            max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side or self.padding_side,
            model_max_length=self.model_max_length,
        )
        if limits.padding is not PaddingStrategy.DO_NOT_PAD and self.pad_token_id is None:
            raise ValueError(
                "This tokenizer has no padding token. Give it one that the vocabulary has "
                "(tokenizer.pad_token = tokenizer.eos_token), or add one (tokenizer.add_special_tokens({'pad_token': "
                "'<pad>'})) and resize the model's embeddings."
            )
        return limits

    def _entries(self, **wanted: bool | None) -> tuple[str, ...]:
        """Choose the entries of the result; None means: if the model takes it."""
        chosen = (
            name for name, value in wanted.items() if (name in self.model_input_names if value is None else value)
        )
        return ("input_ids", *chosen)

    def _encode_with_targets(
        self,
        texts: tuple[Texts | None, Texts | None],
        targets: tuple[Texts | None, Texts | None],
        style: EncodeStyle,
        limits: Limits,
    ) -> BatchEncoding:
        """Encode texts, and targets as their labels; or targets alone."""
        if texts[0] is None and targets[0] is None:
            raise ValueError("There is nothing to encode: give `text` (or `text_target`).")
        if texts[0] is None:
            return self._encode(targets[0] or "", targets[1], style, limits)
        encoded = self._encode(texts[0], texts[1], style, limits)
        if targets[0] is not None:
            encoded["labels"] = self._encode(targets[0], targets[1], style, limits)["input_ids"]
        return encoded

    def _encode(self, text: Texts, text_pair: Texts | None, style: EncodeStyle, limits: Limits) -> BatchEncoding:
        """Encode one text or a batch."""
        texts, is_batch = texts_and_pairs(text, text_pair, style.words)
        encodings = self._encode_texts(texts, style, limits) if texts else []
        origins = list(range(len(encodings)))
        if style.overflow:
            parts = [[encoding, *encoding.overflowing] for encoding in encodings]
            origins = [index for index, rows in enumerate(parts) for _ in rows]
            encodings = [encoding for rows in parts for encoding in rows]
        data: dict[str, Any] = {name: _READERS[name](encodings) for name in style.entries}
        if style.overflow:
            data["overflow_to_sample_mapping"] = origins
        if style.verbose:
            self._warn_if_too_long(data["input_ids"])
        if not is_batch and style.tensors is None and not style.overflow:
            # Upstream leaves "length" a list of one.
            data = {name: rows if name == "length" else rows[0] for name, rows in data.items()}
        return BatchEncoding(data, encodings, tensor_type=style.tensors)

    def _warn_if_too_long(self, rows: Sequence[Sequence[int]]) -> None:
        longest = max(map(len, rows), default=0)
        if longest > self.model_max_length and not self.deprecation_warnings.get(_LENGTH_WARNING):
            warn_once(
                "longer than the model's input",
                f"A text has {longest} tokens but the model takes at most {self.model_max_length}: running the model "
                "on it will fail. Cut it with truncation=True.",
            )

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Split a text, or a pair, into tokens as strings.

        Args:
            text: The text.
            pair: A second one.
            add_special_tokens: Put the model's special tokens around them.
            **kwargs: What else calling the tokenizer takes.

        Raises:
            TypeError: As calling the tokenizer does.
            ValueError: As calling the tokenizer does.
        """
        return self(text, pair, add_special_tokens, verbose=False, **kwargs).tokens()
