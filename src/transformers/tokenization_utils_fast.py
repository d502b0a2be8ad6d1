"""Tokenizers whose work is done by the `tokenizers` library."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Encoding, Tokenizer
from tokenizers.decoders import Decoder
from tokenizers.models import WordLevel

from .tokenization.calling import EncodeStyle
from .tokenization.library import check_keeps_overflow
from .tokenization.limits import Limits, TruncationStrategy
from .tokenization.reading import is_of_library, read_tokenizer_json
from .tokenization.special import ROLES, as_added_token, token_list
from .tokenization.texts import explain_bad_text
from .tokenization_utils_base import PreTrainedTokenizerBase
from .utils.generic import PaddingStrategy
from .utils.writing import write_text, writing_into

__all__ = ["PreTrainedTokenizerFast"]


class PreTrainedTokenizerFast(PreTrainedTokenizerBase):
    """A tokenizer over a ``tokenizers.Tokenizer``.

    Args:
        tokenizer_object: The library's object; it is copied.
        tokenizer_file: Or its ``tokenizer.json``.
        additional_special_tokens: Special tokens without a role.
        extra_special_tokens: The same under 5.x's name, where it may also be a dict of names to tokens.
        made_object: The library's object, where it was made for this tokenizer alone: it is not copied.
        **kwargs: Special tokens by role (``pad_token="<pad>"``), and the arguments of `PreTrainedTokenizerBase`.

    Raises:
        ValueError: If neither is given, the file is no tokenizer, or special tokens without a role are no list.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"tokenizer_file": "tokenizer.json"}
    default_roles: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        *,
        tokenizer_object: Tokenizer | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        additional_special_tokens: Sequence[str | AddedToken] | None = None,
        extra_special_tokens: Any = None,
        made_object: Tokenizer | None = None,
        **kwargs: Any,
    ) -> None:
        self._tokenizer = made_object or self._backend(tokenizer_object, tokenizer_file)
        # Length limits are a matter of each call; files of some checkpoints hold those of their training.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        named = {role: kwargs.pop(role, self.default_roles.get(role)) for role in ROLES}
        extra = extra_special_tokens.values() if isinstance(extra_special_tokens, dict) else extra_special_tokens
        listed = [
            *token_list(additional_special_tokens or ()),
            *token_list(extra or (), "extra_special_tokens"),
        ]
        adopted = {role: None if value is None else self._adopt(value) for role, value in named.items()}
        with_role = {token.content for token in adopted.values() if token is not None}
        without = [self._adopt(value) for value in listed]
        # 5.x also lists tokens that have a role.
        additional = [token for token in without if token.content not in with_role]
        super().__init__(roles=adopted, additional=additional, **kwargs)
        self._add_tokens(self.all_special_tokens_extended, special=True)

    def _backend(self, tokenizer_object: Tokenizer | None, tokenizer_file: str | os.PathLike[str] | None) -> Tokenizer:
        """Copy the object given, or read the file."""
        if tokenizer_object is not None:
            return copy.deepcopy(tokenizer_object)
        if tokenizer_file is None:
            raise ValueError(f"{type(self).__name__} needs tokenizer_file= or tokenizer_object=; neither was given.")
        return read_tokenizer_json(tokenizer_file)

    def _adopt(self, value: str | AddedToken) -> AddedToken:
        """Take over the flags of a token that the library's object lists, if only its text is given."""
        if isinstance(value, str):
            for token in self._tokenizer.get_added_tokens_decoder().values():
                if token.content == value:
                    return as_added_token(token)
        return as_added_token(value)

    # -- the vocabulary

    @property
    def is_fast(self) -> bool:
        """Always true: encodings know positions in the text."""
        return True

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's object."""
        return self._tokenizer

    @property
    def decoder(self) -> Decoder:
        """The library's decoder."""
        return self._tokenizer.decoder

    @property
    def vocab_size(self) -> int:
        """The number of tokens without the added ones."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=False)
        return size

    def __len__(self) -> int:
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    def get_vocab(self) -> dict[str, int]:
        """Give token text to id, added tokens included."""
        vocab: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return vocab

    @property
    def vocab(self) -> dict[str, int]:
        """Token text to id, added tokens included."""
        return self.get_vocab()

    @property
    def encoder(self) -> dict[str, int]:
        """``vocab``, under the name of 4.4.2's tokenizers in Python."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id to token, for the tokens that are matched in the text before it is split."""
        return dict(sorted(self._tokenizer.get_added_tokens_decoder().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Token text to id, for the tokens that are matched in the text before it is split."""
        return {token.content: token_id for token_id, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Give text and id of the tokens that are matched in the text before it is split."""
        return self.added_tokens_encoder

    def _token_to_id(self, token: str) -> int | None:
        token_id: int | None = self._tokenizer.token_to_id(token)
        return token_id

    def _id_to_token(self, token_id: int) -> str:
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            raise ValueError(f"{token_id} is no id of this vocabulary, which has {len(self)} tokens.")
        return str(token)

    def _add_tokens(self, tokens: Sequence[str | AddedToken], special: bool) -> int:
        listed = self._tokenizer.get_added_tokens_decoder().values()
        new = [token for token in tokens if token not in listed]
        before = len(self)
        if special:
            self._tokenizer.add_special_tokens([as_added_token(token) for token in new])
        else:
            self._tokenizer.add_tokens(new)
        return len(self) - before

    def convert_tokens_to_ids(self, tokens: str | Sequence[str] | None) -> Any:
        """Give the id of a token, or of each token of a list; the unknown token's id for one that does not exist."""
        if tokens is None:
            return None
        if isinstance(tokens, str):
            found = self._token_to_id(tokens)
            return self._unknown_id() if found is None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def _unknown_id(self) -> int | None:
        """Give the id that encoding gives to what is in no table: the model's own, whichever token has the role."""
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        return self.unk_token_id if unknown is None else self._token_to_id(unknown)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Give the token of an id, or of each id of a list, array or tensor; None for one that does not exist.

        Args:
            ids: An id, or several.
            skip_special_tokens: Leave out special tokens, of several.

        Raises:
            ValueError: If something is not an id.
        """
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        try:
            if isinstance(ids, int):
                return self._tokenizer.id_to_token(ids)
            special = set(self.all_special_ids) if skip_special_tokens else set()
            return [self._tokenizer.id_to_token(token_id) for token_id in ids if token_id not in special]
        except (OverflowError, TypeError) as error:
            raise ValueError(f"{ids!r} holds something that is no token id: {error}.") from error

    def _convert_token_to_id(self, token: str) -> Any:
        """Give a token's id (4.4.2's name)."""
        return self.convert_tokens_to_ids(token)

    def _convert_id_to_token(self, index: int) -> Any:
        """Give an id's token (4.4.2's name)."""
        return self.convert_ids_to_tokens(index)

    def _tokenize(self, text: str) -> list[str]:
        """Split a text into tokens (4.4.2's name)."""
        return self.tokenize(text)

    # -- encoding

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Count the special tokens that are put around a text, or around a pair."""
        count: int = self._tokenizer.num_special_tokens_to_add(pair)
        return count

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Put the model's special tokens around one or two lists of ids.

        Args:
            token_ids_0: Ids of the text.
            token_ids_1: Ids of a second one.
        """
        row = self._around(token_ids_0, token_ids_1)
        following = [iter(token_ids_0), iter(token_ids_1 or ())]
        return [
            special if text is None else next(following[text])
            for special, text in zip(row.ids, row.sequence_ids, strict=True)
        ]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Give the token types of one or two lists of ids with their special tokens.

        Args:
            token_ids_0: Ids of the text.
            token_ids_1: Ids of a second one.
        """
        types: list[int] = self._around(token_ids_0, token_ids_1).type_ids
        return types

    def _around(self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None) -> Encoding:
        """Let the library put special tokens around as many tokens as there are ids, whichever they are."""
        any_token = Tokenizer(WordLevel({"any": 0}, unk_token="any"))
        first = any_token.encode(["any"] * len(token_ids_0), is_pretokenized=True)
        pair = None if token_ids_1 is None else any_token.encode(["any"] * len(token_ids_1), is_pretokenized=True)
        return self._tokenizer.post_process(first, pair)

    def _encode_texts(self, texts: list[Any], style: EncodeStyle, limits: Limits) -> list[Encoding]:
        self._check_room(limits, style, is_pair=isinstance(texts[0], tuple))
        try:
            return self._run(self._tokenizer, texts, style, limits, words=style.words)
        except (TypeError, UnicodeError):
            explain_bad_text(texts, style.words)
            raise

    def _run(
        self, backend: Tokenizer, texts: list[Any], style: EncodeStyle, limits: Limits, words: bool
    ) -> list[Encoding]:
        """Let an object of the library encode texts with the settings of one call.

        Raises:
            ValueError: If a text cannot be cut as asked, or the tokenizer's parts do not go together.
        """
        with self._set_up(backend, limits, style):
            try:
                encodings: list[Encoding] = backend.encode_batch(
                    texts, is_pretokenized=words, add_special_tokens=style.special
                )
            except BaseException as error:
                if isinstance(error, TypeError | UnicodeError) or not is_of_library(error):
                    raise
                if "Truncation error" not in str(error):
                    raise ValueError(f"The tokenizer '{self.name_or_path}' cannot encode a text: {error}.") from error
                raise ValueError(
                    f"A text cannot be cut to {limits.max_length} tokens by {limits.truncation!s}: {error}. Choose "
                    "'longest_first', or a larger max_length."
                ) from error
        return encodings

    def _check_room(self, limits: Limits, style: EncodeStyle, is_pair: bool) -> None:
        """See that something of the text can remain, which the library does not.

        Raises:
            ValueError: If not.
        """
        if limits.truncation is TruncationStrategy.DO_NOT_TRUNCATE or limits.max_length is None:
            return
        special = self.num_special_tokens_to_add(is_pair) if style.special else 0
        room = limits.max_length - special
        if room < 0:
            raise ValueError(f"max_length is {limits.max_length}, but the special tokens alone are {special}.")
        if limits.stride and limits.stride >= room:
            raise ValueError(
                f"stride is {limits.stride}, but of max_length {limits.max_length} only {room} tokens remain beside "
                "the special tokens; the stride must be smaller."
            )

    @contextmanager
    def _set_up(self, backend: Tokenizer, limits: Limits, style: EncodeStyle) -> Iterator[None]:
        """Give the library's object the settings of one call, and take them away again.

        So an object is the same before and after a call: it is saved, pickled and hashed alike.
        """
        if style.overflow:
            check_keeps_overflow()
        try:
            self._set_lengths(backend, limits)
            backend.encode_special_tokens = style.split_special
            yield
        finally:
            backend.no_truncation()
            backend.no_padding()
            backend.encode_special_tokens = False

    def _set_lengths(self, backend: Tokenizer, limits: Limits) -> None:
        if limits.truncation is TruncationStrategy.DO_NOT_TRUNCATE or limits.max_length is None:
            backend.no_truncation()
        else:
            backend.enable_truncation(
                limits.max_length,
                stride=limits.stride,
                strategy=limits.truncation.value,
                direction=self.truncation_side,
            )
        if limits.padding is PaddingStrategy.DO_NOT_PAD:
            backend.no_padding()
        else:
            backend.enable_padding(
                direction=limits.padding_side,
                pad_id=self.pad_token_id,
                pad_type_id=self.pad_token_type_id,
                pad_token=self.pad_token,
                length=limits.max_length if limits.padding is PaddingStrategy.MAX_LENGTH else None,
                pad_to_multiple_of=limits.pad_to_multiple_of,
            )

    def set_truncation_and_padding(
        self,
        padding_strategy: PaddingStrategy,
        truncation_strategy: TruncationStrategy,
        max_length: int | None,
        stride: int,
        pad_to_multiple_of: int | None,
        padding_side: str | None = None,
    ) -> None:
        """Set how the library's object cuts and pads; calling the tokenizer does this by itself, for that call.

        Args:
            padding_strategy: How far rows are filled up.
            truncation_strategy: Which sequence is cut.
            max_length: In tokens.
            stride: In tokens.
            pad_to_multiple_of: In tokens.
            padding_side: ``"right"`` or ``"left"``; the tokenizer's by default.
        """
        side = padding_side or self.padding_side
        limits = Limits(padding_strategy, truncation_strategy, max_length, stride, pad_to_multiple_of, side)
        self._set_lengths(self._tokenizer, limits)

    # -- decoding and files

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        try:
            text: str = self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        except (OverflowError, TypeError) as error:
            wrong = next((value for value in ids if not isinstance(value, int) or value < 0), None)
            raise ValueError(f"{wrong!r} is no token id: a whole number of 0 or more was expected.") from error
        return text

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to text."""
        if self._tokenizer.decoder is None:
            return " ".join(tokens)
        text: str = self._tokenizer.decoder.decode(tokens)
        return text

    def _save_backend(self, path: str) -> None:
        write_text(path, self.backend_tokenizer.to_str(pretty=True))

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabulary in the format of its model: ``vocab.json`` and ``merges.txt``, or ``vocab.txt``.

        Args:
            save_directory: A folder that exists.
            filename_prefix: Goes in front of the names.

        Returns:
            The paths.
        """
        with writing_into(save_directory) as scratch:
            written = self._tokenizer.model.save(str(scratch), filename_prefix)
        return tuple(str(Path(save_directory, Path(path).name)) for path in written)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )
