"""DeBERTa-V2's and V3's tokenizer: a SentencePiece unigram model, with ids exactly as SentencePiece gives them.

Upstream hands the model's pieces to the `tokenizers` library and leaves its character map and its byte pieces behind,
and the library itself breaks ties differently. Here `SentencePieceUnigram` computes the ids; the library puts in
special tokens, cuts, pads, decodes and holds ``tokenizer.json``.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from ...tokenization.calling import EncodeStyle
from ...tokenization.limits import Limits, TruncationStrategy, warn_once
from ...tokenization.pieces import PieceEncoding, PieceSource
from ...tokenization.sentencepiece.pipeline import (
    LibraryPipeline,
    model_of_pipeline,
    pipeline_of_model,
    switches_of_pipeline,
)
from ...tokenization.sentencepiece.reader import SentencePieceModel, read_sentencepiece_model
from ...tokenization.sentencepiece.unigram import SentencePieceUnigram
from ...tokenization.texts import explain_bad_text
from ...tokenization.whole_rows import WholeRow
from ...tokenization_utils_fast import PreTrainedTokenizerFast
from ...utils.lazy_names import LazyNames
from ...utils.writing import write_bytes
from .text_to_pieces import TextToPieces

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = ["DebertaV2Tokenizer", "DebertaV2TokenizerFast"]

_ANY = "any"  # a piece, whichever, where only the number of pieces counts


class DebertaV2Tokenizer(PreTrainedTokenizerFast):
    """SentencePiece with ``[CLS] A [SEP]`` around a text and ``[CLS] A [SEP] B [SEP]`` around a pair.

    Args:
        vocab_file: ``spm.model``; not needed with a ``tokenizer_file`` that holds all of it.
        do_lower_case: Lower the text first. By default as the ``tokenizer_file`` says, or False without one.
        split_by_punct: Split each punctuation mark off first. By default as the ``tokenizer_file`` says, or False.
        tokenizer_file: ``tokenizer.json``.
        vocab: ``vocab_file``, under 5.x's name.
        tokenizer_object: The library's object, instead of ``tokenizer_file``.
        **kwargs: Special tokens by role, and the arguments of `PreTrainedTokenizerBase`. Tokens that are no pieces of
            the model get the ids behind them.

    Raises:
        ValueError: If no file is given, ``spm.model`` is truncated, no model or one of another type than unigram, or
            it does not belong to ``tokenizer.json``.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "spm.model", "tokenizer_file": "tokenizer.json"}
    default_roles: ClassVar[dict[str, str]] = {
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        do_lower_case: bool | None = None,
        split_by_punct: bool | None = None,
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        vocab: str | os.PathLike[str] | None = None,
        tokenizer_object: Tokenizer | None = None,
        **kwargs: Any,
    ) -> None:
        path = vocab if vocab_file is None else vocab_file
        model = None if path is None else read_sentencepiece_model(path)
        self._model_file = None if path is None else Path(path).read_bytes()
        from_model = tokenizer_object is None and tokenizer_file is None
        if from_model:
            if model is None:
                raise ValueError("DeBERTa-V2's vocabulary is spm.model or tokenizer.json; neither was given.")
            kwargs["made_object"] = pipeline_of_model(model, bool(do_lower_case), bool(split_by_punct))
        super().__init__(tokenizer_object=tokenizer_object, tokenizer_file=tokenizer_file, **kwargs)
        lowers, splits = switches_of_pipeline(self._tokenizer)
        self.do_lower_case = lowers if do_lower_case is None else do_lower_case
        self.split_by_punct = splits if split_by_punct is None else split_by_punct
        if from_model:
            self._tokenizer.post_processor = self._template("{0}")
            self._library.missing = model
        self._unigram = self._exact_model(model)
        self._prepare()

    def _exact_model(self, model: SentencePieceModel | None) -> SentencePieceUnigram | None:
        """Take the model of ``spm.model``, or read it off ``tokenizer.json``; None where that lacks parts of it.

        Raises:
            ValueError: If the two differ in size.
        """
        if model is None:
            model = model_of_pipeline(self._tokenizer, set(self.all_special_tokens))
        elif len(model.pieces) != self.vocab_size:
            raise ValueError(
                f"spm.model has {len(model.pieces)} pieces but tokenizer.json {self.vocab_size}: they do not belong "
                "together. Remove one of them."
            )
        if model is None:
            warn_once(
                "tokenizer.json without character map",
                "This tokenizer.json does not hold the whole SentencePiece model (its character map is missing): ids "
                "are upstream's, and can differ from SentencePiece's on unusual text. Put spm.model beside it.",
            )
        return None if model is None else SentencePieceUnigram(model)

    @property
    def _tokenizer(self) -> Tokenizer:
        return self._library.tokenizer

    @_tokenizer.setter
    def _tokenizer(self, value: Tokenizer) -> None:
        self._library = LibraryPipeline(value)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's object. What it splits texts by is made when the object is first asked for."""
        return self._library.whole()

    # -- parts made of the added tokens

    def _template(self, name: str) -> TemplateProcessing:
        """Say which special tokens go where; ``name`` formats a token's text (0) and id (1) to what it is called."""
        tokens = [self.special_token(role) for role in ("cls_token", "sep_token")]
        cls, sep = (name.format(*token) for token in tokens)
        return TemplateProcessing(
            single=[f"{cls}:0", "$A:0", f"{sep}:0"],
            pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
            special_tokens=list({cls: tokens[0][1], sep: tokens[1][1]}.items()),
        )

    def _prepare(self) -> None:
        """Make what depends on settings and added tokens.

        ``_layout`` takes texts as so many unknown words, puts in special tokens, cuts and pads.
        """
        self._layout = Tokenizer(WordLevel({_ANY: 0}, unk_token=_ANY))
        self._layout.post_processor = self._template("{1}")
        if self._unigram is not None:
            added = self.added_tokens_decoder
            self._splitter = TextToPieces(self._unigram, added, self.do_lower_case, self.split_by_punct)
        self._prepared_for = self._state()

    def _state(self) -> tuple[Any, ...]:
        return len(self), self.cls_token_id, self.sep_token_id, self.do_lower_case, self.split_by_punct

    def _unknown_id(self) -> int | None:
        return super()._unknown_id() if self._unigram is None else self._unigram.model.unknown_id

    # -- encoding

    def _encode_texts(self, texts: list[Any], style: EncodeStyle, limits: Limits) -> list[Any]:
        if self._unigram is None:
            return super()._encode_texts(texts, style, limits)
        if self._prepared_for != self._state():
            self._prepare()
        self._check_room(limits, style, is_pair=isinstance(texts[0], tuple))
        source = partial(self._splitter.source, words=style.words, split_special=style.split_special)
        try:
            sources = [[source(part) for part in (text if _is_pair(text) else (text,))] for text in texts]
        except (TypeError, AttributeError, UnicodeError):
            explain_bad_text(texts, style.words)
            raise
        return self._lay_out(sources, style, limits)

    def _lay_out(self, sources: list[list[PieceSource]], style: EncodeStyle, limits: Limits) -> list[PieceEncoding]:
        """Put special tokens around the pieces of texts, cut and pad.

        The library does so for rows that are too long, and where what is cut off is asked for.
        """
        rows = [WholeRow(tuple([len(part.ids) for part in parts]), style.special) for parts in sources]
        sizes = [row.size for row in rows]
        limit = None if limits.truncation is TruncationStrategy.DO_NOT_TRUNCATE else limits.max_length
        if style.overflow:
            return self._by_library(sources, style, limits)
        is_cut = [limit is not None and size > limit for size in sizes]
        shortened = iter(self._by_library(list(compress(sources, is_cut)), style, limits) if any(is_cut) else ())
        length = limits.padded_length([size if limit is None else min(size, limit) for size in sizes])
        return [
            next(shortened) if cut else self._whole(row, parts, max(0, length - size), limits.padding_side)
            for row, parts, size, cut in zip(rows, sources, sizes, is_cut, strict=True)
        ]

    def _whole(self, row: WholeRow, sources: list[PieceSource], padding: int, side: str) -> PieceEncoding:
        """Make a row that nothing is cut off."""
        if padding:
            left, right = (padding, 0) if side == "left" else (0, padding)
            row = row._replace(left=left, right=right, pad_type_id=self.pad_token_type_id)
        _, cls, sep, *_ = self._prepared_for
        ids = row.around([part.ids for part in sources], cls, sep, self.pad_token_id or 0)
        return PieceEncoding(row, sources, self._id_to_token, ids)

    def _by_library(self, sources: list[list[PieceSource]], style: EncodeStyle, limits: Limits) -> list[PieceEncoding]:
        """Let the library cut and pad rows, of which it is told the numbers of pieces."""
        counted = [tuple([[_ANY] * len(part.ids) for part in parts]) for parts in sources]
        inputs = [row if len(row) == 2 else row[0] for row in counted]
        encodings = self._run(self._layout, inputs, style, limits, words=True)
        return [PieceEncoding(row, parts, self._id_to_token) for row, parts in zip(encodings, sources, strict=True)]

    def _own_settings(self) -> dict[str, Any]:
        return {"do_lower_case": self.do_lower_case, "split_by_punct": self.split_by_punct, "vocab_type": "spm"}

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write ``spm.model`` if the tokenizer was made from it; ``tokenizer.json`` holds the model too.

        Args:
            save_directory: A folder that exists.
            filename_prefix: Goes in front of the name.

        Returns:
            The path, or nothing.
        """
        if self._model_file is None:
            return ()
        path = Path(save_directory) / f"{filename_prefix + '-' if filename_prefix else ''}spm.model"
        write_bytes(path, self._model_file)
        return (str(path),)


def _is_pair(text: Any) -> bool:
    return isinstance(text, tuple) and len(text) == 2


DebertaV2TokenizerFast = DebertaV2Tokenizer
