"""Reading the files that hold a vocabulary: each checked whole before the `tokenizers` library sees it.

The library trusts what it is given: an id of four billion makes it allocate a table of that many rows, and some
damage ends the process. So ids, merges and character maps are checked here, where the file and the place are known.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE

from ..utils.json_files import load_json, read_bytes
from ..utils.shapes import ListOf, Record, Text, shown
from .processors import check_post_processor
from .sentencepiece.character_map import character_map
from .shapes import LARGEST_VOCABULARY, TOKENIZER_JSON, VOCABULARY

__all__ = ["is_of_library", "make_bpe", "read_lines", "read_merges", "read_tokenizer_json", "read_vocabulary"]


# The unknown token of models that cannot do without, where their file names none.
_UNKNOWN = {"WordPiece": "[UNK]", "WordLevel": "<unk>"}


def read_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read ``vocab.json``: token to id.

    Raises:
        ValueError: If it is no such file, or its ids are not 0, 1, 2, … each once.
        OSError: If it cannot be read.
    """
    vocabulary = load_json(path, VOCABULARY, largest=LARGEST_VOCABULARY)
    _check_ids(vocabulary, f"'{os.fspath(path)}'")
    return vocabulary


def read_merges(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Read ``merges.txt``: two tokens a line, the most frequent pair first.

    Raises:
        ValueError: If it is not UTF-8 text, or a line does not hold two tokens; the message names the line.
        OSError: If it cannot be read.
    """
    merges = []
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise ValueError(
                f"'{os.fspath(path)}', line {number} is {shown(line)}; two tokens with a space between were expected. "
                "Such lines do not make a byte-level BPE."
            )
        merges.append((parts[0], parts[1]))
    return merges


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read a text file of a vocabulary line by line.

    Raises:
        ValueError: If it is too large, or not UTF-8 text.
        OSError: If it cannot be read.
    """
    try:
        text = read_bytes(path, LARGEST_VOCABULARY).decode("utf-8")
    except UnicodeDecodeError as error:
        name = os.fspath(path)
        raise ValueError(f"'{name}' is not a {Path(name).name}: it is not UTF-8 text ({error}).") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def make_bpe(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], place: str) -> BPE:
    """Make a byte-level BPE model.

    Args:
        vocabulary: Token to id.
        merges: Pairs of tokens, each with a merged token in the vocabulary.
        place: Where they come from, for messages.

    Raises:
        ValueError: If the ids are not 0, 1, 2, … each once, or a merge speaks of a token that is not there.
    """
    VOCABULARY.check(vocabulary, place)
    _check_ids(vocabulary, place)
    _check_merges(merges, vocabulary, place)
    try:
        return BPE(dict(vocabulary), list(merges), continuing_subword_prefix="", end_of_word_suffix="")
    except BaseException as error:
        if not is_of_library(error):
            raise
        raise ValueError(f"{place} do not make a byte-level BPE: {error}") from error


def read_tokenizer_json(path: str | os.PathLike[str]) -> Tokenizer:
    """Read ``tokenizer.json``.

    Returns:
        The library's object.

    Raises:
        ValueError: If the file is no such pipeline, or its parts contradict each other.
        OSError: If it cannot be read.
    """
    name = f"'{os.fspath(path)}'"
    try:
        content = load_json(path, TOKENIZER_JSON, largest=LARGEST_VOCABULARY)
        _check_model(content["model"], f"{name}: model")
        _check_added(content, name)
        check_post_processor(content.get("post_processor"), _all_ids(content), f"{name}: post_processor")
        for step in _steps(content.get("normalizer"), "normalizers"):
            _check_character_map(step, name)
    except ValueError as error:
        raise ValueError(f"{name} is not a tokenizer.json: {str(error).removeprefix(name).lstrip(': ')}") from error
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except BaseException as error:
        if not is_of_library(error):
            raise
        raise ValueError(f"{name} is not a tokenizer.json: {error}") from error
    for token in content.get("added_tokens", ()):
        found = tokenizer.token_to_id(token["content"])
        if found != token["id"]:  # the library gives it the next free id, and says so in its log alone
            raise ValueError(
                f"{name} says that the added token {shown(token['content'])} has id {token['id']}, but in its "
                f"vocabulary it gets {found}: vocabulary and added tokens do not belong together."
            )
    return tokenizer


def is_of_library(error: BaseException) -> bool:
    """Tell an error of the `tokenizers` library, which raises plain exceptions and panics, from an interrupt."""
    return isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime"


def _check_ids(vocabulary: Mapping[str, int], place: str) -> None:
    """See that ids are those of a table without holes: memory then follows from the file's own size.

    Raises:
        ValueError: Naming a token whose id is beyond the vocabulary, or another's.
    """
    size = len(vocabulary)
    owners: list[str | None] = [None] * size
    for token, token_id in vocabulary.items():
        if token_id >= size:
            raise ValueError(
                f"{place}: the id of {shown(token)} is {token_id}, beyond the vocabulary; with {size} tokens the ids "
                f"from 0 to {size - 1} were expected, each once."
            )
        if owners[token_id] is not None:
            raise ValueError(f"{place}: {shown(owners[token_id])} and {shown(token)} have the same id, {token_id}.")
        owners[token_id] = token


def _check_merges(
    merges: Sequence[Sequence[str]], vocabulary: Mapping[str, int], place: str, prefix: str = ""
) -> None:
    """See that all tokens that merges speak of are there; ``prefix`` marks a token that goes on with a word."""
    for number, (first, second) in enumerate(merges, 1):
        if not second.startswith(prefix):
            raise ValueError(
                f"{place}: merge {number} goes on with {shown(second)}, without the prefix {shown(prefix)}."
            )
        for token in (first, second, first + second[len(prefix) :]):
            if token not in vocabulary:
                raise ValueError(
                    f"{place} do not make a byte-level BPE: merge {number}, {shown(first)} and {shown(second)}, needs "
                    f"the token {shown(token)}, which the vocabulary lacks."
                )


def _check_model(model: Mapping[str, Any], place: str) -> None:
    """Check the vocabulary of a pipeline, whichever kind it is."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, Mapping):
        _check_ids(vocabulary, f"{place}.vocab")
        merges = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else merge for merge in model.get("merges", ())]
        single = next((merge for merge in merges if len(merge) != 2), None)
        if single is not None:
            raise ValueError(f"{place}.merges holds {shown(single[0])}; two tokens were expected.")
        _check_unknown(model, place)
        prefix = model.get("continuing_subword_prefix") or ""
        _check_merges(merges, vocabulary, f"{place}.vocab and merges", prefix)
        return
    for number, (piece, score) in enumerate(vocabulary):
        if not isinstance(piece, str) or isinstance(score, str) or not piece:
            raise ValueError(
                f"{place}.vocab[{number}] is {shown([piece, score])}; a piece and its score were expected."
            )
    unknown = model.get("unk_id")
    if unknown is not None and unknown >= len(vocabulary):
        raise ValueError(f"{place}.unk_id is {unknown}, beyond the vocabulary of {len(vocabulary)} pieces.")


def _check_unknown(model: Mapping[str, Any], place: str) -> None:
    """See that a model that cannot do without an unknown token has it."""
    kind = model.get("type")
    unknown = model.get("unk_token", _UNKNOWN.get(str(kind)))
    if kind in _UNKNOWN and unknown not in model["vocab"]:
        raise ValueError(f"{place}.unk_token is {shown(unknown)}, which the vocabulary lacks.")


def _check_added(content: Mapping[str, Any], place: str) -> None:
    size = len(content["model"]["vocab"]) + len(content.get("added_tokens", ()))
    for number, token in enumerate(content.get("added_tokens", ())):
        if token["id"] >= size:
            raise ValueError(
                f"{place}: added_tokens[{number}].id is {token['id']}, beyond the vocabulary, which has {size} tokens "
                "with those added."
            )


def _all_ids(content: Mapping[str, Any]) -> dict[str, int]:
    """Give token to id, added tokens included."""
    vocabulary = content["model"]["vocab"]
    if not isinstance(vocabulary, Mapping):
        vocabulary = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in content.get("added_tokens", ())}}


def _steps(step: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """Go through a step and those inside it, which the field ``inner`` lists."""
    if isinstance(step, Mapping):
        yield step
        parts = step.get(inner, ())
        ListOf(Record({"type": Text()})).check(parts, inner)
        for part in parts:
            yield from _steps(part, inner)


def _check_character_map(step: Mapping[str, Any], place: str) -> None:
    """Check the character map of a SentencePiece normaliser.

    Raises:
        ValueError: If there is none where there should be, or it is broken.
    """
    if step.get("type") != "Precompiled":
        return
    written = step.get("precompiled_charsmap")
    Text().check(written, f"{place}: normalizer.precompiled_charsmap")
    try:
        character_map(base64.b64decode(str(written), validate=True)).first_characters()
    except binascii.Error as error:
        raise ValueError(f"{place}: normalizer.precompiled_charsmap is no text in base 64 ({error}).") from error
