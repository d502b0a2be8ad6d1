"""A SentencePiece model as a pipeline of the `tokenizers` library, for ``tokenizer.json``, and back.

The library's pipeline is close to SentencePiece and not equal (it looks characters up differently and breaks ties
differently), but it holds all of the model, so that the exact one can be read off it again.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import Unigram, WordLevel

from .reader import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, SentencePieceModel

__all__ = ["LibraryPipeline", "model_of_pipeline", "pipeline_of_model", "switches_of_pipeline"]

_RUNS_OF_SPACES = " {2,}"
_COMPLETING = threading.Lock()
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


def pipeline_of_model(model: SentencePieceModel, lower: bool, split_at_punctuation: bool) -> Tokenizer:
    """Write a model as a pipeline that names pieces, adds tokens and decodes, but cannot split text into pieces yet.

    Args:
        model: The model.
        lower: Lower the text first.
        split_at_punctuation: Split each punctuation mark off.

    Returns:
        The library's object, without special tokens, for `LibraryPipeline`.
    """
    tokenizer = Tokenizer(WordLevel(model.ids, unk_token=model.pieces[model.unknown_id]))
    steps: list[Any] = [normalizers.Lowercase()] if lower else []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(_RUNS_OF_SPACES), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if model.add_dummy_prefix else "never"
    words_apart = not model.reaches_over_spaces
    spaces = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=words_apart)
    split = [pre_tokenizers.Punctuation("isolated"), spaces] if split_at_punctuation else [spaces]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    join = decoders.Metaspace(SPACE, prepend_scheme=scheme)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), join]) if model.byte_fallback else join
    return tokenizer


class LibraryPipeline:
    """A pipeline whose own model of the pieces is made when it is first asked for.

    It is a trie, which takes as long to make as everything else, and is needed for splitting texts by the library and
    for ``tokenizer.json``, but not for splitting them by us. Copies and hashes are those of the whole pipeline,
    whether or not it was asked for before.

    Args:
        tokenizer: The pipeline, whole or as `pipeline_of_model` gives it.

    Attributes:
        tokenizer: The same object, for all but splitting texts and writing it out.
        missing: The model, if the pipeline does not have it yet.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.missing: SentencePieceModel | None = None

    def whole(self) -> Tokenizer:
        """Give the pipeline with its model."""
        with _COMPLETING:
            if self.missing is not None:
                pieces = list(zip(self.missing.pieces, self.missing.scores, strict=True))
                self.tokenizer.model = Unigram(
                    pieces, unk_id=self.missing.unknown_id, byte_fallback=self.missing.byte_fallback
                )
                self.missing = None
        return self.tokenizer

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.whole(),)


def _steps(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """List the steps of a sequence, or the only one."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [step for inner in part[name] for step in _steps(inner, name)]


def _described(tokenizer: Tokenizer, part: str) -> list[dict[str, Any]]:
    """Describe the steps of the normaliser or of the pre-tokenizer, without writing out the vocabulary."""
    step = getattr(tokenizer, part)
    if step is None:
        return []
    small = Tokenizer(Unigram([("?", 0.0)], unk_id=0))
    setattr(small, part, step)
    return _steps(
        json.loads(small.to_str())[part], {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}[part]
    )


def switches_of_pipeline(tokenizer: Tokenizer) -> tuple[bool, bool]:
    """Say whether a pipeline lowers the text, and whether it splits punctuation off."""
    lowers = any(step["type"] == "Lowercase" for step in _described(tokenizer, "normalizer"))
    return lowers, any(step["type"] == "Punctuation" for step in _described(tokenizer, "pre_tokenizer"))


def model_of_pipeline(tokenizer: Tokenizer, special_tokens: set[str]) -> SentencePieceModel | None:
    """Read the model off a pipeline.

    Args:
        tokenizer: The library's object.
        special_tokens: Texts that are no pieces to be found in a text.

    Returns:
        The model; None if the pipeline is none that holds all of a SentencePiece unigram model.
    """
    cleaning = _described(tokenizer, "normalizer")
    splitting = [step for step in _described(tokenizer, "pre_tokenizer") if step["type"] != "Punctuation"]
    known = all(
        step["type"] in ("Lowercase", "Precompiled", "Strip")
        or (step["type"] == "Replace" and step["pattern"] == {"Regex": _RUNS_OF_SPACES})
        for step in cleaning
    )
    if not known or [step["type"] for step in splitting] != ["Metaspace"]:
        return None
    content = json.loads(tokenizer.to_str())["model"]
    if content["type"] != "Unigram" or content["unk_id"] is None:
        return None
    bytes_found = sum(_BYTE_PIECE.fullmatch(piece) is not None for piece, _ in content["vocab"])
    byte_fallback = bool(content.get("byte_fallback")) and bytes_found == 256
    maps = [base64.b64decode(step["precompiled_charsmap"]) for step in cleaning if step["type"] == "Precompiled"]
    kinds = [_kind(piece, score, byte_fallback, special_tokens) for piece, score in content["vocab"]]
    kinds[content["unk_id"]] = UNKNOWN
    return SentencePieceModel(
        pieces=[piece for piece, _ in content["vocab"]],
        scores=[score for _, score in content["vocab"]],
        kinds=kinds,
        charsmap=maps[0] if maps else b"",
        add_dummy_prefix=splitting[0].get("prepend_scheme", "always") != "never",
        remove_extra_whitespaces=any(step["type"] == "Replace" for step in cleaning),
        byte_fallback=byte_fallback,
    )


def _kind(piece: str, score: float, byte_fallback: bool, special_tokens: set[str]) -> int:
    """Tell what a piece is, which a pipeline does not say: only normal pieces have a score below 0."""
    if byte_fallback and _BYTE_PIECE.fullmatch(piece):
        return BYTE
    return CONTROL if score >= 0 or piece in special_tokens else NORMAL
