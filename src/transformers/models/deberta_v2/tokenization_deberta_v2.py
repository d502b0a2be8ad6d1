"""DeBERTa-V2's and V3's tokenizer: a SentencePiece unigram model, with ids exactly as SentencePiece gives them.

Upstream hands the model's pieces to the `tokenizers` library and leaves its character map and its byte pieces behind,
and the library itself breaks ties differently. Here `SentencePieceUnigram` computes the ids; the library puts in
special tokens, cuts, pads, decodes and holds ``tokenizer.json``.
"""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from ...tokenization.calling import EncodeStyle
from ...tokenization.limits import Limits, warn_once
from ...tokenization.pieces import PieceEncoding, PieceSegment, PieceSource, Span
from ...tokenization.sentencepiece.pipeline import model_of_pipeline, pipeline_of_model, switches_of_pipeline
from ...tokenization.sentencepiece.reader import SentencePieceModel, read_sentencepiece_model
from ...tokenization.sentencepiece.unigram import SentencePieceUnigram
from ...tokenization.texts import explain_bad_text
from ...tokenization_utils_fast import PreTrainedTokenizerFast
from ...utils.lazy_names import LazyNames
from ...utils.writing import write_bytes

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = ["DebertaV2Tokenizer", "DebertaV2TokenizerFast"]

_NOT_IN_WORDS = re.compile(r"[^\w\s]|_")


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
            tokenizer_object = pipeline_of_model(model, bool(do_lower_case), bool(split_by_punct))
        super().__init__(tokenizer_object=tokenizer_object, tokenizer_file=tokenizer_file, **kwargs)
        lowers, splits = switches_of_pipeline(self._tokenizer)
        self.do_lower_case = lowers if do_lower_case is None else do_lower_case
        self.split_by_punct = splits if split_by_punct is None else split_by_punct
        if from_model:
            self._tokenizer.post_processor = self._template("{0}")
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
        """Make what depends on the added tokens.

        ``_layout`` takes texts as ids written as words, and puts in special tokens, cuts and pads. ``_splitter`` finds
        added tokens in a text as the library does, and takes everything else for one unknown token, with id 0.
        """
        size = max(len(self), 1 + max(self.added_tokens_decoder, default=0))
        self._layout = Tokenizer(WordLevel({str(number): number for number in range(size)}, unk_token="0"))
        self._layout.post_processor = self._template("{1}")
        self._splitter = Tokenizer(WordLevel({"": 0}, unk_token=""))
        for token in self.added_tokens_decoder.values():
            # Tokens are looked for in the text as it is given; the model's own normalisation comes later.
            plain = AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=False,
            )
            (self._splitter.add_special_tokens if token.special else self._splitter.add_tokens)([plain])
        contents = sorted((token.content for token in self.added_tokens_decoder.values()), key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, contents)) or "(?!)")
        self._prepared_for = self._state()

    def _state(self) -> tuple[Any, ...]:
        return len(self), self.cls_token_id, self.sep_token_id

    def _unknown_id(self) -> int | None:
        return super()._unknown_id() if self._unigram is None else self._unigram.model.unknown_id

    # -- encoding

    def _encode_texts(self, texts: list[Any], style: EncodeStyle, limits: Limits) -> list[Any]:
        if self._unigram is None:
            return super()._encode_texts(texts, style, limits)
        if self._prepared_for != self._state():
            self._prepare()
        self._check_room(limits, style, is_pair=isinstance(texts[0], tuple))
        source = partial(self._source, self._unigram, style=style)
        try:
            sources = [[source(part) for part in (text if _is_pair(text) else (text,))] for text in texts]
        except (TypeError, AttributeError, UnicodeError):
            explain_bad_text(texts, style.words)
            raise
        rows = [tuple(list(map(str, part.ids)) for part in parts) for parts in sources]
        inputs = [row if len(row) == 2 else row[0] for row in rows]
        encodings = self._run(self._layout, inputs, style, limits, words=True)
        return [PieceEncoding(row, parts, self._id_to_token) for row, parts in zip(encodings, sources, strict=True)]

    def _source(self, unigram: SentencePieceUnigram, text: Any, style: EncodeStyle) -> PieceSource:
        """Split one text, or one list of words, into pieces."""
        if not isinstance(text, list | tuple if style.words else str):
            raise TypeError(f"{text!r} is no text.")
        given: list[tuple[int | None, Any]] = list(enumerate(text)) if style.words else [(None, text)]
        parts = (self._segments(unigram, part, word, style.split_special) for word, part in given)
        return PieceSource(list(chain.from_iterable(parts)), unigram.model.unknown_id, self._id_to_token)

    def _segments(
        self, unigram: SentencePieceUnigram, text: str, word: int | None, split_special: bool
    ) -> Iterator[PieceSegment]:
        """Cut a text at added tokens, and split what is between them."""
        text.encode("utf-8")  # refuses halves of surrogate pairs
        if not self._added.search(text):
            yield from self._split(unigram, text, 0, word)
            return
        self._splitter.encode_special_tokens = split_special
        found = self._splitter.encode(text, add_special_tokens=False)
        self._splitter.encode_special_tokens = False
        for number, (start, end) in zip(found.ids, found.offsets, strict=True):
            stretch = text[start:end]
            token = self._splitter.id_to_token(number)
            if token:
                spans = partial(_own_spans, len(stretch))
                yield PieceSegment([self.convert_tokens_to_ids(token)], [end - start], stretch, start, spans, word)
            else:
                yield from self._split(unigram, stretch, start, word)

    def _split(
        self, unigram: SentencePieceUnigram, text: str, offset: int, word: int | None
    ) -> Iterator[PieceSegment]:
        """Split a stretch without added tokens, lowered and cut at punctuation if the tokenizer does so."""
        lowered = text.lower() if self.do_lower_case else text
        parts = _cut_at_punctuation(lowered) if self.split_by_punct else [(lowered, 0)]
        for part, start in parts:
            normalized = unigram.normalizer.normalize(part)
            found = unigram.segment(normalized)
            spans = partial(_spans, unigram, part, start, text if self.do_lower_case else None)
            yield PieceSegment(found.ids, found.ends, normalized, offset, spans, word)

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


def _spans(unigram: SentencePieceUnigram, part: str, start: int, cased: str | None) -> list[Span]:
    """Say which characters of a stretch those of a normalised part come from.

    Args:
        unigram: Normalises the part.
        part: The part, lowered or not.
        start: Where the part begins in the stretch, lowered or not.
        cased: The stretch before it was lowered, which may make one character two; None if it was not.

    Returns:
        For each normalised character the first character of the stretch that it stands for, and the one after it.
    """
    _, spans = unigram.normalizer.normalize_with_spans(part)
    if cased is None:
        return [(first + start, last + start) for first, last in spans]
    origin = [index for index, character in enumerate(cased) for _ in character.lower()]
    return [(origin[first + start], origin[last + start - 1] + 1) for first, last in spans]


def _own_spans(length: int) -> list[Span]:
    return [(index, index + 1) for index in range(length)]


def _is_punctuation(character: str) -> bool:
    """Tell punctuation: Unicode's, and all ASCII characters that are neither letters, digits nor spaces."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _cut_at_punctuation(text: str) -> Iterator[tuple[str, int]]:
    """Give each punctuation mark and what is between them, with the position of each."""
    start = 0
    for found in _NOT_IN_WORDS.finditer(text):
        if _is_punctuation(found[0]):
            if found.start() > start:
                yield text[start : found.start()], start
            yield found[0], found.start()
            start = found.end()
    if start < len(text):
        yield text[start:], start


DebertaV2TokenizerFast = DebertaV2Tokenizer
