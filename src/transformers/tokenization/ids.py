"""Rows made of ids or tokens that the caller has already, not of text: cut, special tokens put around, padded."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from ..utils.generic import PaddingStrategy, TensorType
from .batch import BatchEncoding
from .calling import TextEncoder, warn_of_unknown
from .limits import Limits, TruncationStrategy, read_old_strategies
from .padding import PaddingPlan, pad_columns
from .texts import Texts

__all__ = ["IdEncoder"]

# What follows the two texts in a call, for callers of encode_plus that do not name it.
_CALL = inspect.signature(TextEncoder.__call__)
_OPTIONS = _CALL.replace(parameters=list(_CALL.parameters.values())[3:])


class IdEncoder(TextEncoder):
    """The part of a tokenizer that works on ids."""

    @abstractmethod
    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Count the special tokens that are put around a text, or around a pair."""

    @abstractmethod
    def convert_tokens_to_ids(self, tokens: str | Sequence[str] | None) -> Any:
        """Give the id of a token, or of each token of a list."""

    # -- one row from a text, tokens or ids

    def encode(
        self,
        text: Texts | Sequence[int],
        text_pair: Texts | Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> Any:
        """Give only the ids; the arguments are those of `encode_plus`.

        Returns:
            A list of ids, or with ``return_tensors`` a tensor of shape (1, tokens).

        Raises:
            TypeError: As `encode_plus` does.
            ValueError: As `encode_plus` does.
        """
        options = {**kwargs, "return_tensors": return_tensors}
        rest = (add_special_tokens, padding, truncation, max_length, stride)
        return self.encode_plus(text, text_pair, *rest, **options)["input_ids"]

    def encode_plus(
        self, text: Texts | Sequence[int], text_pair: Texts | Sequence[int] | None = None, *args: Any, **kwargs: Any
    ) -> BatchEncoding:
        """Encode one text or pair (4.4.2's name).

        Args:
            text: A text; or its tokens, as `tokenize` gives them; or their ids. With ``is_split_into_words`` a list
                of words. Unlike here, a list of texts is a batch where the tokenizer itself is called.
            text_pair: The second text, in any of these forms.
            *args: As of calling the tokenizer.
            **kwargs: As of calling the tokenizer.

        Returns:
            The row, or with ``return_tensors`` a batch of it.

        Raises:
            TypeError: If there are too many arguments, or one is given twice; or as calling the tokenizer does.
            ValueError: As calling the tokenizer does; or if a list holds texts instead of tokens.
        """
        options = dict(_OPTIONS.bind(*args, **kwargs).arguments)
        options.update(options.pop("kwargs", {}))
        if options.get("is_split_into_words") or not (_is_ready(text) or _is_ready(text_pair)):
            return self(text, text_pair, **options)
        pair_ids = None if text_pair is None else self._ids_of(text_pair)
        is_batch = options.get("return_tensors") is not None
        return self.prepare_for_model(self._ids_of(text), pair_ids, prepend_batch_axis=is_batch, **options)

    def _ids_of(self, text: Any) -> list[int]:
        """Give the ids of a text, of a list of tokens, or of a list of ids."""
        if isinstance(text, str):
            return list(self(text, add_special_tokens=False, verbose=False)["input_ids"])
        if all(isinstance(item, Integral) for item in text):
            return list(map(int, text))
        for token in text:
            if not isinstance(token, str):
                raise TypeError(
                    f"{token!r} is a {type(token).__name__}; a list of tokens, or one of ids, was expected."
                )
            if len(token.split()) > 1 and self._token_to_id(token) is None:
                raise ValueError(
                    f"{token!r} is a text and no token, of which encode and encode_plus take a list; for a batch of "
                    "texts call the tokenizer itself: tokenizer(texts)."
                )
        return list(self.convert_tokens_to_ids(text))

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[Any], *args: Any, **kwargs: Any) -> BatchEncoding:
        """Encode a list of texts or of pairs, as calling the tokenizer does (4.4.2's name)."""
        if kwargs.get("is_split_into_words") and batch_text_or_text_pairs:
            first = batch_text_or_text_pairs[0]
            if isinstance(first, tuple) and len(first) == 2 and isinstance(first[0], list | tuple):
                texts, pairs = map(list, zip(*batch_text_or_text_pairs, strict=True))
                return self(texts, pairs, *args, **kwargs)
        return self(batch_text_or_text_pairs, None, *args, **kwargs)

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        prepend_batch_axis: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Make a row of ids that have no special tokens yet.

        Args:
            ids: The ids of the (first) text.
            pair_ids: The ids of the second text.
            add_special_tokens: Put the model's special tokens around the ids.
            padding: As of calling the tokenizer.
            truncation: As of calling the tokenizer.
            max_length: In tokens, special ones included.
            stride: How many ids that remain are given with those cut off.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            return_tensors: ``"pt"`` or ``"np"``; lists by default.
            return_token_type_ids: Whether to give ``token_type_ids``; as ``model_input_names`` says by default.
            return_attention_mask: Whether to give ``attention_mask``; as ``model_input_names`` says by default.
            return_overflowing_tokens: Give the ids that were cut off as ``overflowing_tokens`` (see
                `truncate_sequences`), and their number as ``num_truncated_tokens``.
            return_special_tokens_mask: Give 1 for special tokens and padding, 0 for the rest.
            return_offsets_mapping: Not possible here.
            return_length: Give the row's length in tokens, padding included.
            verbose: Warn of rows that are longer than the model takes.
            prepend_batch_axis: Give tensors of shape (1, tokens) instead of (tokens,).
            **kwargs: ``padding_side``, and what calling the tokenizer takes there.

        Returns:
            The row.

        Raises:
            ValueError: As calling the tokenizer does; or if offsets are asked for, which ids do not have.
        """
        if return_offsets_mapping:
            raise ValueError("Ids do not say where in a text they stand: give the text itself for an offset_mapping.")
        padding, truncation = read_old_strategies(padding, truncation, max_length, kwargs)
        limits = self._limits(
            padding, truncation, max_length, stride, pad_to_multiple_of, kwargs.pop("padding_side", None)
        )
        warn_of_unknown({name: value for name, value in kwargs.items() if name != "is_split_into_words"})
        entries = self._entries(
            token_type_ids=return_token_type_ids,
            attention_mask=return_attention_mask,
            special_tokens_mask=return_special_tokens_mask,
        )
        excess = self._excess(ids, pair_ids, limits, add_special_tokens)
        first, second, overflowing = self.truncate_sequences(ids, pair_ids, excess, limits.truncation, stride)
        columns = {
            name: [row] for name, row in self._row(first, second, add_special_tokens).items() if name in entries
        }
        if verbose and max_length is None:
            self._warn_if_too_long(columns["input_ids"])
        padded = pad_columns(columns, "input_ids", self._padding_plan(limits, "input_ids"), as_arrays=False)
        data: dict[str, Any] = {name: rows[0] for name, rows in padded.items()}
        if return_overflowing_tokens:
            data.update(overflowing_tokens=overflowing, num_truncated_tokens=excess)
        if return_length:
            data["length"] = len(data["input_ids"])
        return BatchEncoding(data, tensor_type=return_tensors, prepend_batch_axis=prepend_batch_axis)

    def _excess(
        self, ids: Sequence[int], pair_ids: Sequence[int] | None, limits: Limits, add_special_tokens: bool
    ) -> int:
        """Count the tokens that must go."""
        if limits.truncation is TruncationStrategy.DO_NOT_TRUNCATE or limits.max_length is None:
            return 0
        special = self.num_special_tokens_to_add(pair_ids is not None) if add_special_tokens else 0
        return max(0, len(ids) + len(pair_ids or ()) + special - limits.max_length)

    def _row(self, ids: list[int], pair_ids: list[int] | None, add_special_tokens: bool) -> dict[str, list[int]]:
        """Give all entries of a row by name."""
        if add_special_tokens:
            whole = self.build_inputs_with_special_tokens(ids, pair_ids)
            types = self.create_token_type_ids_from_sequences(ids, pair_ids)
            special = self.get_special_tokens_mask(ids, pair_ids)
        else:
            whole = [*ids, *(pair_ids or [])]
            types = special = [0] * len(whole)
        return {
            "input_ids": whole,
            "token_type_ids": types,
            "special_tokens_mask": special,
            "attention_mask": [1] * len(whole),
        }

    def truncate_sequences(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str | TruncationStrategy = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Take tokens from a text or a pair, at the side that ``truncation_side`` says.

        Args:
            ids: The ids of the (first) text.
            pair_ids: The ids of the second text.
            num_tokens_to_remove: How many; nothing happens for 0 or less.
            truncation_strategy: From which of the two; ``"longest_first"`` takes them one by one from the text that is
                longer then, from the second one where they are equally long.
            stride: How many of the tokens that remain stand beside those removed in the third result.

        Returns:
            Both texts, and the tokens removed; the latter are empty for a pair cut by ``"longest_first"``.

        Raises:
            ValueError: If the strategy is unknown, or the text that it names has too few tokens.
        """
        first, second = list(ids), None if pair_ids is None else list(pair_ids)
        strategy = TruncationStrategy(truncation_strategy)
        if num_tokens_to_remove <= 0 or strategy is TruncationStrategy.DO_NOT_TRUNCATE:
            return first, second, []
        if second is not None and strategy is TruncationStrategy.LONGEST_FIRST:
            from_first = _share_of_first(len(first), len(second), num_tokens_to_remove)
            first, _ = self._cut(first, from_first, 0)
            second, _ = self._cut(second, num_tokens_to_remove - from_first, 0)
            return first, second, []
        if strategy is TruncationStrategy.ONLY_SECOND:
            second, removed = self._cut(second or [], num_tokens_to_remove, stride)
        else:
            first, removed = self._cut(first, num_tokens_to_remove, stride)
        return first, second, removed

    def _cut(self, ids: list[int], count: int, stride: int) -> tuple[list[int], list[int]]:
        """Give what remains, and what goes with ``stride`` tokens that remain."""
        remaining = len(ids) - count
        if remaining < 0:
            raise ValueError(
                f"{count} tokens are to be removed from a text of {len(ids)}. Choose 'longest_first', or a larger "
                "max_length."
            )
        if self.truncation_side == "left":
            return ids[count:], ids[: count + stride]
        return ids[:remaining], ids[max(0, remaining - stride) :]

    def _padding_plan(self, limits: Limits, main: str) -> PaddingPlan:
        fill = {main: self.pad_token_id or 0, "attention_mask": 0, "special_tokens_mask": 1}
        fill["token_type_ids"] = self.pad_token_type_id
        return PaddingPlan(limits.padding, limits.max_length, limits.pad_to_multiple_of, limits.padding_side, fill)

    # -- special tokens around ids

    @abstractmethod
    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Put the model's special tokens around one or two lists of ids.

        Args:
            token_ids_0: Ids of the text.
            token_ids_1: Ids of a second one.
        """

    @abstractmethod
    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Give the token types of one or two lists of ids with their special tokens.

        Args:
            token_ids_0: Ids of the text.
            token_ids_1: Ids of a second one.
        """

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Mark special tokens with 1.

        Args:
            token_ids_0: The ids of the (first) text.
            token_ids_1: The ids of the second text.
            already_has_special_tokens: ``token_ids_0`` is a whole row with its special tokens.

        Returns:
            One number per token of the whole row.

        Raises:
            ValueError: If a second text is given with ``already_has_special_tokens``.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError(
                    "With already_has_special_tokens the whole row is token_ids_0; leave token_ids_1 out."
                )
            special = set(self.all_special_ids)
            return [int(token in special) for token in token_ids_0]
        # Ids that no vocabulary has stand for the text, so that only what is put around them counts.
        first = [-1] * len(token_ids_0)
        second = None if token_ids_1 is None else [-1] * len(token_ids_1)
        return [int(token != -1) for token in self.build_inputs_with_special_tokens(first, second)]


def _is_ready(text: Any) -> bool:
    """Tell a list of ids or of tokens, of which it may hold none."""
    return isinstance(text, list | tuple) and (len(text) == 0 or isinstance(text[0], str | Integral))


def _share_of_first(first: int, second: int, count: int) -> int:
    """Say how many of ``count`` tokens the first of two texts loses where each is taken from the longer one."""
    before = first
    for _ in range(count):
        if first > second:
            first -= 1
        else:
            second -= 1
    return before - first
