"""BERT's tokenizer: WordPiece over words that are cleaned, lowered and split at punctuation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from ...tokenization.reading import read_lines
from ...tokenization.shapes import VOCABULARY
from ...tokenization_utils_fast import PreTrainedTokenizerFast
from ...utils.shapes import shown

__all__ = ["BertTokenizer", "BertTokenizerFast"]


class BertTokenizer(PreTrainedTokenizerFast):
    """WordPiece with ``[CLS] A [SEP]`` around a text and ``[CLS] A [SEP] B [SEP]`` around a pair.

    Args:
        vocab_file: ``vocab.txt``, or a dictionary of token to id; not needed with a ``tokenizer_file``.
        do_lower_case: Lower the text. By default as the ``tokenizer_file`` says, or True without one.
        tokenizer_file: ``tokenizer.json``; what it says counts where an argument below is None.
        strip_accents: Take accents off letters; if None, as ``do_lower_case`` (or the ``tokenizer_file``) says.
        tokenize_chinese_chars: Make each Chinese character a word. True without a ``tokenizer_file``.
        vocab: ``vocab_file``, under 5.x's name.
        tokenizer_object: The library's object, instead of any file.
        **kwargs: Special tokens by role, and the arguments of `PreTrainedTokenizerBase`.

    Raises:
        ValueError: If the vocabulary is missing, broken or lacks the unknown token.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}
    default_roles: ClassVar[dict[str, str]] = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool | None = None,
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool | None = None,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        tokenizer_object: Tokenizer | None = None,
        **kwargs: Any,
    ) -> None:
        from_vocabulary = tokenizer_object is None and tokenizer_file is None
        if from_vocabulary:
            unknown = str(kwargs.get("unk_token", self.default_roles["unk_token"]))
            kwargs["made_object"] = _pipeline(
                _read_vocab(vocab if vocab_file is None else vocab_file, unknown), unknown
            )
        super().__init__(tokenizer_object=tokenizer_object, tokenizer_file=tokenizer_file, **kwargs)
        self._set_normalizer(do_lower_case, strip_accents, tokenize_chinese_chars)
        if from_vocabulary:
            self._tokenizer.post_processor = self._template()

    def _set_normalizer(
        self, do_lower_case: bool | None, strip_accents: bool | None, tokenize_chinese_chars: bool | None
    ) -> None:
        """Bring cleaning in line with the settings; None keeps what the file says."""
        normalizer = self._tokenizer.normalizer
        if not isinstance(normalizer, BertNormalizer):
            return
        if do_lower_case is not None:
            normalizer.lowercase = do_lower_case
        if strip_accents is not None:
            normalizer.strip_accents = strip_accents
        if tokenize_chinese_chars is not None:
            normalizer.handle_chinese_chars = tokenize_chinese_chars
        self._tokenizer.normalizer = normalizer

    def _template(self) -> TemplateProcessing:
        """Say which special tokens go where, with token type 1 for the second text."""
        cls, sep = self.special_token("cls_token"), self.special_token("sep_token")
        return TemplateProcessing(
            single=[f"{cls[0]}:0", "$A:0", f"{sep[0]}:0"],
            pair=[f"{cls[0]}:0", "$A:0", f"{sep[0]}:0", "$B:1", f"{sep[0]}:1"],
            special_tokens=[cls, sep],
        )

    @property
    def do_lower_case(self) -> bool | None:
        """Whether text is lowered; None if the pipeline is not BERT's."""
        normalizer = self._tokenizer.normalizer
        return bool(normalizer.lowercase) if isinstance(normalizer, BertNormalizer) else None

    def _own_settings(self) -> dict[str, Any]:
        normalizer = self._tokenizer.normalizer
        if not isinstance(normalizer, BertNormalizer):
            return {}
        return {
            "do_lower_case": normalizer.lowercase,
            "strip_accents": normalizer.strip_accents,
            "tokenize_chinese_chars": normalizer.handle_chinese_chars,
        }


def _read_vocab(vocab: str | os.PathLike[str] | Mapping[str, int] | None, unknown: str) -> dict[str, int]:
    """Read ``vocab.txt``: a token a line, its id the line's number from 0.

    Raises:
        ValueError: If there is no vocabulary, the file is not UTF-8, or it lacks the unknown token.
    """
    if vocab is None:
        raise ValueError("BERT's vocabulary is vocab.txt or tokenizer.json; neither was given.")
    if isinstance(vocab, Mapping):
        tokens = dict(vocab)
        VOCABULARY.check(tokens, "The vocabulary")
    else:
        tokens = _numbered(read_lines(vocab), vocab)
    if unknown not in tokens:
        place = "The vocabulary" if isinstance(vocab, Mapping) else f"'{os.fspath(vocab)}'"
        raise ValueError(f"{place} lacks the unknown token {unknown!r}, without which rare words have no id.")
    return tokens


def _numbered(lines: list[str], path: str | os.PathLike[str]) -> dict[str, int]:
    """Give each line its number.

    Raises:
        ValueError: If two are the same token (empty lines aside), which would leave one id without a token.
    """
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines):
        if line and line in numbers:
            raise ValueError(
                f"'{os.fspath(path)}' holds {shown(line)} twice, in lines {numbers[line] + 1} and {number + 1}; a "
                "token a line was expected, each once."
            )
        numbers[line] = number
    return numbers


def _pipeline(vocab: dict[str, int], unknown: str) -> Tokenizer:
    """Put BERT's cleaning, splitting and decoding around a vocabulary."""
    tokenizer = Tokenizer(WordPiece(vocab, unk_token=unknown))
    tokenizer.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder(prefix="##")
    return tokenizer


BertTokenizerFast = BertTokenizer
