"""What a tokenizer gives back: lists or tensors by name, and the way from tokens to words and characters and back."""

from __future__ import annotations

from collections import UserDict
from collections.abc import ItemsView, KeysView, Sequence, ValuesView
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Encoding

from ..utils.generic import TensorType

__all__ = ["BatchEncoding", "CharSpan", "TokenSpan", "to_tensor"]


class CharSpan(NamedTuple):
    """Characters ``start`` to ``end - 1`` of the original text.

    Attributes:
        start: The first character.
        end: The one behind the last.
    """

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens ``start`` to ``end - 1`` of an encoded sequence.

    Attributes:
        start: The first token.
        end: The one behind the last.
    """

    start: int
    end: int


def to_tensor(value: Any, tensor_type: str | TensorType) -> Any:
    """Turn nested lists, NumPy arrays or a list of tensors into one tensor.

    Args:
        value: A number, a rectangular nested list, an array, a tensor, or a list of arrays or tensors of one shape.
        tensor_type: ``"pt"`` or ``"np"``.

    Returns:
        A ``torch.Tensor`` or ``numpy.ndarray``: whole numbers as int64, fractions as float32, truth values as bool;
        arrays and tensors keep their dtype.

    Raises:
        ValueError: If the value is not rectangular, or the tensor type is unknown.
    """
    kind = TensorType(tensor_type)
    if isinstance(value, list | tuple) and value and isinstance(value[0], torch.Tensor):
        value = torch.stack(list(value))
    if isinstance(value, torch.Tensor):
        return value if kind is TensorType.PYTORCH else value.detach().cpu().numpy()
    given_dtype = isinstance(value, np.ndarray) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], np.ndarray | np.generic)
    )
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"values of type {array.dtype} cannot be held by a tensor of numbers.")
    if not given_dtype and array.size == 0:
        array = array.astype(np.int64)
    elif not given_dtype and array.dtype.kind == "f":
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array)) if kind is TensorType.PYTORCH else array


class BatchEncoding(UserDict[str, Any]):
    """The result of calling a tokenizer.

    A dictionary of model inputs (``batch["input_ids"]`` or ``batch.input_ids``) that also remembers how each text was
    split, so that positions can be mapped: *token* positions count in the encoded sequence with its special tokens,
    *words* and *characters* count in the text. Where a method takes a batch index and a position, the batch index may
    be left out if there is one text: ``encoding.char_to_token(5)``; ``sequence_index`` is 1 for the second text of a
    pair.

    Args:
        data: The lists or tensors by name.
        encoding: The ``tokenizers.Encoding`` of the text, or one per text.
        tensor_type: Turn ``data`` into tensors: ``"pt"`` or ``"np"``.
        prepend_batch_axis: Add a first axis of length one while doing so.
        n_sequences: How many sequences a text consists of (2 for pairs); read from ``encoding`` by default.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | TensorType | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data or {})
        self._encodings = [encoding] if isinstance(encoding, Encoding) else list(encoding) if encoding else None
        if n_sequences is None and self._encodings:
            n_sequences = self._encodings[0].n_sequences
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    # -- the dictionary

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is None:
            raise KeyError(
                f"{item!r}: this BatchEncoding holds no encodings to count; ask for one of {list(self.data)}."
            )
        return self._encodings[item]

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that are no attributes; "data" itself is missing while an object is being unpickled.
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(f"BatchEncoding has neither an attribute nor an entry {name!r}.")

    def keys(self) -> KeysView[str]:
        """Give the names of the entries."""
        return self.data.keys()

    def values(self) -> ValuesView[Any]:
        """Give the entries."""
        return self.data.values()

    def items(self) -> ItemsView[str, Any]:
        """Give the names and entries."""
        return self.data.items()

    @property
    def n_sequences(self) -> int | None:
        """How many sequences each text consists of: 1, or 2 for pairs; None if unknown."""
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether the positions of tokens, words and characters are known."""
        return self._encodings is not None

    @property
    def encodings(self) -> list[Encoding] | None:
        """The encodings that the positions come from, one per row; None if they are unknown."""
        return self._encodings

    # -- positions

    def _encoding(self, batch_index: int) -> Encoding:
        if self._encodings is None:
            raise ValueError(
                "Positions are unknown: this BatchEncoding was not made by calling a tokenizer on text "
                "(padding and collating keep only the numbers)."
            )
        return self._encodings[batch_index]

    def _locate(self, first: int, second: int | None) -> tuple[Encoding, int]:
        """Read ``(position)`` or ``(batch index, position)``."""
        return (self._encoding(0), first) if second is None else (self._encoding(first), second)

    def _locate_token(self, first: int, second: int | None) -> tuple[Encoding, int]:
        """Like ``_locate``, with negative token positions counted from the end."""
        encoding, index = self._locate(first, second)
        return encoding, index if index >= 0 else index + len(encoding)

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Give the tokens of one row as strings.

        Raises:
            ValueError: If positions are unknown.
        """
        return list(self._encoding(batch_index).tokens)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Say for each token of a row which sequence it comes from: 0, 1, or None for special tokens and padding.

        Raises:
            ValueError: If positions are unknown.
        """
        return list(self._encoding(batch_index).sequence_ids)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Say for each token of a row which word of its sequence it belongs to; None for special tokens and padding.

        Raises:
            ValueError: If positions are unknown.
        """
        return list(self._encoding(batch_index).word_ids)

    def words(self, batch_index: int = 0) -> list[int | None]:
        """Give ``word_ids``, under 4.4.2's name."""
        return self.word_ids(batch_index)

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Say which sequence (0 or 1) a token comes from; None for a special token.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate_token(batch_or_token_index, token_index)
        sequence: int | None = encoding.token_to_sequence(index)
        return sequence

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Say which word of its sequence a token belongs to; None for a special token.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate_token(batch_or_token_index, token_index)
        found = encoding.token_to_word(index)
        # Some versions of the library answer with (sequence, word).
        return found[1] if isinstance(found, tuple) else found

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Give the tokens that a word was split into; None if it has none.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate(batch_or_word_index, word_index)
        span = encoding.word_to_tokens(index, sequence_index)
        return None if span is None else TokenSpan(*span)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Give the characters of its sequence that a token stands for; None for a special token.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate_token(batch_or_token_index, token_index)
        span = encoding.token_to_chars(index)
        if span is None:
            return None
        return CharSpan(*(span[1] if isinstance(span[1], tuple) else span))

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Give the token that holds a character; None for a character that no token stands for, such as a space.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate(batch_or_char_index, char_index)
        token: int | None = encoding.char_to_token(index, sequence_index)
        return token

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Give the characters of a word; None if there is no such word.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate(batch_or_word_index, word_index)
        span = encoding.word_to_chars(index, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Give the word that holds a character; None for a character between words.

        Raises:
            ValueError: If positions are unknown.
        """
        encoding, index = self._locate(batch_or_char_index, char_index)
        word: int | None = encoding.char_to_word(index, sequence_index)
        return word

    # -- tensors

    def convert_to_tensors(
        self, tensor_type: str | TensorType | None = None, prepend_batch_axis: bool = False
    ) -> BatchEncoding:
        """Turn the entries into tensors, in place.

        Args:
            tensor_type: ``"pt"`` or ``"np"``; None leaves everything as it is.
            prepend_batch_axis: Add a first axis of length one.

        Returns:
            This object.

        Raises:
            ValueError: If an entry's rows differ in length, or the tensor type is unknown; the message names it.
        """
        if tensor_type is None:
            return self
        kind = TensorType(tensor_type)
        for name, value in self.data.items():
            try:
                self.data[name] = to_tensor([value] if prepend_batch_axis else value, kind)
            except (ValueError, RuntimeError, TypeError) as error:
                raise ValueError(
                    f"'{name}' cannot become one tensor. If its rows differ in length, use padding=True (and "
                    f"truncation=True for a longest length); otherwise remove this entry. ({error})"
                ) from error
        return self

    def to(self, device: str | torch.device | int, non_blocking: bool = False) -> BatchEncoding:
        """Move the tensors to a device, in place; entries that are no tensors stay.

        Args:
            device: Where to.
            non_blocking: Let copies from pinned memory overlap with computation.

        Returns:
            This object.
        """
        for name, value in self.data.items():
            if isinstance(value, torch.Tensor):
                self.data[name] = value.to(device, non_blocking=non_blocking)
        return self
