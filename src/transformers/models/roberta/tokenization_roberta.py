"""RoBERTa's tokenizer: byte-level BPE, so that every text has ids and none is unknown."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import RobertaProcessing

from ...tokenization.calling import EncodeStyle
from ...tokenization.limits import warn_once
from ...tokenization.reading import make_bpe, read_merges, read_vocabulary
from ...tokenization_utils_fast import PreTrainedTokenizerFast

__all__ = ["RobertaTokenizer", "RobertaTokenizerFast"]


class RobertaTokenizer(PreTrainedTokenizerFast):
    """Byte-level BPE with ``<s> A </s>`` around a text and ``<s> A </s></s> B </s>`` around a pair.

    The mask token takes the space in front of it along, as in the published ``tokenizer.json`` and in 4.4.2.

    Args:
        vocab_file: ``vocab.json``, or the dictionary it holds; not needed with a ``tokenizer_file``.
        merges_file: ``merges.txt``, or its merges as pairs of tokens.
        errors: How Python would decode bytes that are no UTF-8. Recorded only: they are always decoded to U+FFFD.
        tokenizer_file: ``tokenizer.json``; what it says counts where an argument below is None.
        add_prefix_space: Encode the first word as if a space stood before it. False without a ``tokenizer_file``.
        trim_offsets: Leave spaces out of the tokens' positions. True without a ``tokenizer_file``.
        vocab: ``vocab_file``, under 5.x's name.
        merges: ``merges_file``, under 5.x's name.
        tokenizer_object: The library's object, instead of any file.
        **kwargs: Special tokens by role, and the arguments of `PreTrainedTokenizerBase`.

    Raises:
        ValueError: If a file is missing or broken, or Python knows no such ``errors``.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "vocab.json",
        "merges_file": "merges.txt",
        "tokenizer_file": "tokenizer.json",
    }
    model_input_names: Sequence[str] = ["input_ids", "attention_mask"]
    default_roles: ClassVar[dict[str, str]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | dict[str, int] | None = None,
        merges_file: str | os.PathLike[str] | Sequence[tuple[str, str]] | None = None,
        errors: str = "replace",
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        add_prefix_space: bool | None = None,
        trim_offsets: bool | None = None,
        vocab: str | os.PathLike[str] | dict[str, int] | None = None,
        merges: str | os.PathLike[str] | Sequence[tuple[str, str]] | None = None,
        tokenizer_object: Tokenizer | None = None,
        **kwargs: Any,
    ) -> None:
        _check_error_handler(errors)
        self.errors = errors
        from_vocabulary = tokenizer_object is None and tokenizer_file is None
        if from_vocabulary:
            model = _read_bpe(
                vocab if vocab_file is None else vocab_file, merges if merges_file is None else merges_file
            )
            kwargs["made_object"] = _pipeline(model)
        mask = kwargs.get("mask_token", self.default_roles["mask_token"])
        if from_vocabulary and isinstance(mask, str):
            kwargs["mask_token"] = AddedToken(mask, lstrip=True, normalized=False, special=True)
        super().__init__(tokenizer_object=tokenizer_object, tokenizer_file=tokenizer_file, **kwargs)
        self._set_spaces(add_prefix_space, trim_offsets, from_vocabulary)

    def _set_spaces(self, add_prefix_space: bool | None, trim_offsets: bool | None, from_vocabulary: bool) -> None:
        """Bring splitting and post-processing in line with the two settings; None keeps what the file says."""
        splitter = self._tokenizer.pre_tokenizer
        if not isinstance(splitter, ByteLevel):
            self.add_prefix_space = self.trim_offsets = False
            return
        self.add_prefix_space = splitter.add_prefix_space if add_prefix_space is None else add_prefix_space
        self.trim_offsets = splitter.trim_offsets if trim_offsets is None else trim_offsets
        if from_vocabulary or add_prefix_space is not None or trim_offsets is not None:
            splitter.add_prefix_space, splitter.trim_offsets = self.add_prefix_space, self.trim_offsets
            self._tokenizer.pre_tokenizer = splitter
            self._tokenizer.post_processor = RobertaProcessing(
                self.special_token("sep_token"),
                self.special_token("cls_token"),
                trim_offsets=self.trim_offsets,
                add_prefix_space=self.add_prefix_space,
            )

    def _own_settings(self) -> dict[str, Any]:
        return {"add_prefix_space": self.add_prefix_space, "trim_offsets": self.trim_offsets, "errors": self.errors}

    def _encode_texts(self, texts: list[Any], style: EncodeStyle, limits: Any) -> list[Any]:
        if style.prefix_space and not self.add_prefix_space:
            with self._prefix_space():
                return super()._encode_texts(texts, style, limits)
        if style.words and not self.add_prefix_space:
            warn_once(
                "words without prefix space",
                "Words given one by one are encoded as if no space stood before them; load the tokenizer with "
                "add_prefix_space=True to encode them as in running text.",
            )
        return super()._encode_texts(texts, style, limits)

    @contextmanager
    def _prefix_space(self) -> Iterator[None]:
        """Encode as with ``add_prefix_space=True``, for one call."""
        processor = self._tokenizer.post_processor
        try:
            self._set_spaces(True, None, from_vocabulary=False)
            yield
        finally:
            self._set_spaces(False, None, from_vocabulary=False)
            self._tokenizer.post_processor = processor


def _check_error_handler(errors: str) -> None:
    """See that Python knows a way of handling errors of decoding.

    Raises:
        ValueError: If not; a path in this place belongs to ``tokenizer_file=``.
    """
    try:
        codecs.lookup_error(errors)
    except LookupError as error:
        raise ValueError(
            f"errors is {errors!r}; 'replace', 'strict' or 'ignore' was expected. A tokenizer.json is given by its "
            "name: tokenizer_file=…."
        ) from error


def _read_bpe(vocab: Any, merges: Any) -> BPE:
    """Make the BPE model from files or from what they hold.

    Raises:
        ValueError: If one of the two is missing, or they are broken or do not belong together.
    """
    if vocab is None or merges is None:
        raise ValueError("RoBERTa's vocabulary is vocab.json and merges.txt, or tokenizer.json; something is missing.")
    place = "vocab.json and merges.txt"
    if not isinstance(vocab, dict):
        for path in (vocab, merges):
            if not isinstance(path, str | os.PathLike) or not Path(path).is_file():
                raise ValueError(f"'{path}' is no file; RoBERTa's vocab.json and merges.txt were expected.")
        place = f"'{os.fspath(vocab)}' and '{os.fspath(merges)}'"
        vocab, merges = read_vocabulary(vocab), read_merges(merges)
    return make_bpe(vocab, [(first, second) for first, second in merges], place)


def _pipeline(model: BPE) -> Tokenizer:
    """Put RoBERTa's splitting and decoding around the model."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


RobertaTokenizerFast = RobertaTokenizer
