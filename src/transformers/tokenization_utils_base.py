"""The tokenizers' common base: how a tokenizer is called, pads, decodes, is loaded and saved.

What splits a text is left to a subclass, of which there is one kind here: `PreTrainedTokenizerFast`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from tokenizers import AddedToken

from .tokenization.batch import BatchEncoding, CharSpan, TokenSpan
from .tokenization.files import load_tokenizer, save_tokenizer
from .tokenization.ids import IdEncoder
from .tokenization.limits import VERY_LARGE_INTEGER, TruncationStrategy
from .tokenization.padding import collate_rows, pad_columns
from .tokenization.special import SpecialTokensMixin
from .utils.generic import ExplicitEnum, PaddingStrategy, TensorType
from .utils.hub_upload import PushToHubMixin, pushing

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "CharSpan",
    "ExplicitEnum",
    "PaddingStrategy",
    "PreTrainedTokenizerBase",
    "SpecialTokensMixin",
    "TensorType",
    "TokenSpan",
    "TruncationStrategy",
]

# English contractions and punctuation that word-by-word decoding sets apart.
_SPACES_TO_REMOVE = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class PreTrainedTokenizerBase(IdEncoder, PushToHubMixin):
    """Turns text into the numbers that a model takes.

    Subclasses say which files they are made of (``vocab_files_names``), what the model takes (``model_input_names``,
    the main input first) and implement the abstract methods.

    Args:
        roles: The special tokens by role.
        additional: Special tokens without a role.
        model_max_length: The longest input of the model in tokens; truncation without ``max_length`` cuts there.
        max_len: ``model_max_length`` under its name before Transformers 4; older files hold it.
        padding_side: Where padding goes: ``"right"`` or ``"left"``.
        truncation_side: Where a text that is too long is cut: ``"right"`` or ``"left"``.
        model_input_names: Overrides the class's names.
        clean_up_tokenization_spaces: Remove the space in front of punctuation when decoding.
        split_special_tokens: Take special tokens in a text for plain text.
        name_or_path: Where the tokenizer was loaded from.
        **settings: Everything else that was given or loaded; saved again as it is.

    Raises:
        ValueError: If a side is neither ``"right"`` nor ``"left"``.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {}
    pretrained_vocab_files_map: ClassVar[dict[str, dict[str, str]]] = {}
    max_model_input_sizes: ClassVar[dict[str, int | None]] = {}
    slow_tokenizer_class: ClassVar[type | None] = None

    def __init__(
        self,
        *,
        roles: Mapping[str, AddedToken | None],
        additional: Sequence[AddedToken] = (),
        model_max_length: int | None = None,
        max_len: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        model_input_names: Sequence[str] | None = None,
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        name_or_path: str = "",
        **settings: Any,
    ) -> None:
        super().__init__(roles, additional)
        length = max_len if model_max_length is None else model_max_length
        self.model_max_length = VERY_LARGE_INTEGER if length is None else int(length)
        self.padding_side = padding_side or type(self).padding_side
        self.truncation_side = truncation_side or type(self).truncation_side
        for name in ("padding_side", "truncation_side"):
            if getattr(self, name) not in ("right", "left"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose 'right' or 'left'.")
        self.model_input_names = list(model_input_names or type(self).model_input_names)
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.split_special_tokens = bool(split_special_tokens)
        self.name_or_path = str(name_or_path)
        self.init_kwargs: dict[str, Any] = settings
        self.init_inputs: tuple[Any, ...] = ()  # 4.4.2's positional settings; none are taken here
        self.deprecation_warnings: dict[str, bool] = {}  # scripts set what they do not want to be warned of to True

    # -- what a subclass provides

    @property
    @abstractmethod
    def is_fast(self) -> bool:
        """Whether encodings know positions in the text."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of tokens without the added ones."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def get_vocab(self) -> dict[str, int]:
        """Give token text to id, added tokens included."""

    @abstractmethod
    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        """Turn ids into text."""

    @abstractmethod
    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to text."""

    @abstractmethod
    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabulary's own files into a folder that exists, and give their paths.

        Args:
            save_directory: The folder.
            filename_prefix: Goes in front of the names.
        """

    @abstractmethod
    def _save_backend(self, path: str) -> None:
        """Write ``tokenizer.json``."""

    def _own_settings(self) -> dict[str, Any]:
        """Give the settings of this class that ``tokenizer_config.json`` must state."""
        return {}

    # -- padding

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        verbose: bool = True,
        *,
        padding_side: str | None = None,
    ) -> BatchEncoding:
        """Fill up encoded texts to one length.

        Args:
            encoded_inputs: One encoded text, a list of them, or a dictionary of lists. Rows may be lists, arrays or
                tensors; entries that are not the tokenizer's (such as labels) stay as they are.
            padding: True or ``"longest"``, ``"max_length"``, False or ``"do_not_pad"``.
            max_length: The length for ``"max_length"`` in tokens; longer rows stay as they are.
            pad_to_multiple_of: Round the length up to a multiple of this.
            return_attention_mask: Make an attention mask if there is none; as ``model_input_names`` says by default.
            return_tensors: ``"pt"`` or ``"np"``; by default what the rows were.
            verbose: Not used; kept for callers that give it.
            padding_side: Overrides the tokenizer's.

        Returns:
            The batch.

        Raises:
            ValueError: If the main input is missing, rows disagree in length, examples in keys, there is nothing to
                pad or no padding token, or tensors are asked for rows of different lengths.
        """
        main = self.model_input_names[0]
        columns = _as_columns(encoded_inputs, main)
        rows = columns[main]
        if isinstance(rows, torch.Tensor | np.ndarray):
            is_single = rows.ndim == 1
        else:
            is_single = len(rows) > 0 and not _is_row(rows[0])
        if is_single:
            columns = {name: [value] for name, value in columns.items()}
        limits = self._limits(padding, False, max_length, 0, pad_to_multiple_of, padding_side)
        self._add_attention_mask(columns, main, return_attention_mask)
        kind = return_tensors or _tensor_type_of(columns[main])
        data = pad_columns(columns, main, self._padding_plan(limits, main), as_arrays=kind is not None)
        if is_single and return_tensors is None:
            data = {name: value[0] for name, value in data.items()}
        return BatchEncoding(data, tensor_type=kind)

    def _add_attention_mask(self, columns: dict[str, Any], main: str, wanted: bool | None) -> None:
        """Add a mask of ones where the batch has none and the model takes one."""
        if "attention_mask" in columns:
            return
        if wanted or (wanted is None and "attention_mask" in self.model_input_names):
            columns["attention_mask"] = [[1] * len(row) for row in columns[main]]

    # -- ids, tokens and text

    @property
    def max_len_single_sentence(self) -> int:
        """The longest text in tokens, without special ones; setting it sets ``model_max_length``."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @max_len_single_sentence.setter
    def max_len_single_sentence(self, value: int) -> None:
        self.model_max_length = value + self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The longest pair in tokens, without special ones; setting it sets ``model_max_length``."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    @max_len_sentences_pair.setter
    def max_len_sentences_pair(self, value: int) -> None:
        self.model_max_length = value + self.num_special_tokens_to_add(pair=True)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Turn ids into text.

        Args:
            token_ids: One id, or a list, array or tensor of ids; of two dimensions for a batch.
            skip_special_tokens: Leave the special tokens out.
            clean_up_tokenization_spaces: Remove the space in front of punctuation; the tokenizer's setting by default.
            **kwargs: Ignored.

        Returns:
            The text; for a batch a list of texts.

        Raises:
            ValueError: If something is not an id.
        """
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        ids = [ids] if isinstance(ids, int) else list(ids)
        if ids and _is_row(ids[0]):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
        text = self._decode_ids(ids, skip_special_tokens)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if clean else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Turn rows of ids into texts; the arguments are those of ``decode``.

        Raises:
            ValueError: If something is not an id.
        """
        rows = sequences.tolist() if hasattr(sequences, "tolist") else sequences
        if len(rows) and not _is_row(rows[0]):
            rows = [rows]
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in rows]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Remove the space in front of punctuation and English contractions."""
        for spaced in _SPACES_TO_REMOVE:
            out_string = out_string.replace(spaced, spaced.strip())
        return out_string

    # -- files

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *init_inputs: Any,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        use_auth_token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        **kwargs: Any,
    ) -> Self:
        """Load a tokenizer from a folder or the hub.

        Args:
            pretrained_model_name_or_path: A folder that holds the tokenizer's files, or a hub id.
            *init_inputs: Not supported; name the arguments.
            cache_dir: Where downloads are kept.
            force_download: Fetch again what the cache already has.
            local_files_only: Do not use the network.
            token: An access token; True takes the stored one.
            use_auth_token: ``token`` under 4.4.2's name.
            revision: Branch, tag or commit on the hub.
            subfolder: A folder inside the repository.
            **kwargs: Settings that override those of the files, such as ``do_lower_case`` or ``model_max_length``.

        Returns:
            The tokenizer.

        Raises:
            OSError: If the folder or repository does not exist, cannot be reached, or holds none of the files.
            ValueError: If a file is broken; the message names it.
            TypeError: If positional settings are given.
        """
        if init_inputs:
            raise TypeError(f"from_pretrained takes one positional argument; name the others: {init_inputs!r}.")
        hub = {
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
            "token": use_auth_token if token is None else token,
            "revision": revision,
            "subfolder": subfolder,
        }
        return load_tokenizer(cls, pretrained_model_name_or_path, hub, kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write the tokenizer's files: ``tokenizer.json``, the settings, and the vocabulary in its own format.

        Args:
            save_directory: The folder, made if needed.
            legacy_format: False leaves the vocabulary's own files out; ``tokenizer.json`` holds all of it.
            filename_prefix: Put ``<prefix>-`` in front of the vocabulary files' names.
            push_to_hub: Upload them too.
            **kwargs: Where to: those of `transformers.utils.hub_upload.pushing`, such as ``repo_id`` and ``private``;
                others are ignored.

        Returns:
            The paths of the files.

        Raises:
            OSError: If ``save_directory`` is a file or cannot be written; or the hub cannot be reached or refuses: it
                is saved then.
        """
        with pushing(save_directory, {"push_to_hub": push_to_hub, **kwargs}):
            return save_tokenizer(self, save_directory, legacy_format is not False, filename_prefix)


def _as_columns(encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]], main: str) -> dict[str, Any]:
    """Bring what ``pad`` was given into a dictionary of rows that holds the main input."""
    if isinstance(encoded_inputs, Mapping):
        columns = dict(encoded_inputs)
    elif len(encoded_inputs) and isinstance(encoded_inputs[0], Mapping):
        columns = collate_rows(encoded_inputs)
    else:
        raise ValueError("There is nothing to pad: give an encoded text, a list of them, or a dictionary of lists.")
    if main not in columns:
        raise ValueError(f"'{main}' is missing from what is to be padded; it holds {sorted(columns)}.")
    return columns


def _is_row(value: Any) -> bool:
    """Tell a row of numbers from a number."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def _tensor_type_of(rows: Any) -> TensorType | None:
    """Say which kind of tensors the rows are, None for lists."""
    sample = rows[0] if isinstance(rows, list | tuple) and len(rows) else rows
    if isinstance(sample, torch.Tensor):
        return TensorType.PYTORCH
    return TensorType.NUMPY if isinstance(sample, np.ndarray) else None
