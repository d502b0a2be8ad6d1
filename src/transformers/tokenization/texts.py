"""What callers hand to a tokenizer: one text or many, alone or in pairs, whole or split into words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Texts", "explain_bad_text", "texts_and_pairs"]

# A text, a list of texts or of words, a list of lists of words; which one is meant follows from is_split_into_words.
Texts = str | Sequence[Any]


def _as_list(texts: Any) -> Any:
    """Give columns of data sets, arrays and series as lists; leave the rest."""
    if isinstance(texts, str | bytes | list | tuple):
        return texts
    if hasattr(texts, "tolist"):
        return texts.tolist()
    return list(texts) if isinstance(texts, Sequence) else texts


def texts_and_pairs(text: Texts, text_pair: Texts | None, words: bool) -> tuple[list[Any], bool]:
    """Bring the arguments of a tokenizer's call into one form.

    Args:
        text: A text, or a batch of texts or of pairs.
        text_pair: The second text, or the batch of second texts.
        words: Whether texts are lists of words.

    Returns:
        A list of texts (or lists of words), or of pairs as tuples; and whether the caller gave a batch.

    Raises:
        TypeError: If ``text`` is neither a text nor a batch, or one argument is a batch and the other is not.
        ValueError: If the batches differ in length.
    """
    text, text_pair = _as_list(text), _as_list(text_pair)
    if not isinstance(text, str | list | tuple):
        raise TypeError(f"`text` is a {type(text).__name__}; a str, or a list of them, was expected.")
    is_batch = _is_batch(text, words)
    if text_pair is None:
        return [_told_apart(item, words) for item in text] if is_batch else [_told_apart(text, words)], is_batch
    if not is_batch:
        # In a single call upstream takes an empty second text for none (in a batch it does not); ids must be the same.
        return [(text, text_pair) if text_pair else text], False
    if not isinstance(text_pair, list | tuple):
        raise TypeError(f"`text` is a batch, so `text_pair` must be one too; it is a {type(text_pair).__name__}.")
    if len(text) != len(text_pair):
        raise ValueError(
            f"`text` holds {len(text)} texts and `text_pair` {len(text_pair)}; they must be equally many."
        )
    return list(zip(text, text_pair, strict=True)), True


def _told_apart(item: Any, words: bool) -> Any:
    """Give a list of words as a list and a pair as a tuple, whichever the caller took."""
    if isinstance(item, str):
        return item
    if words:
        return list(item) if isinstance(item, tuple) else item
    return tuple(item) if isinstance(item, list) else item


def _is_batch(text: str | list[Any] | tuple[Any, ...], words: bool) -> bool:
    if isinstance(text, str):
        return False
    return not words or (bool(text) and isinstance(text[0], list | tuple))


def explain_bad_text(texts: list[Any], words: bool) -> None:
    """Find the text that the library refused, and raise an error that names it.

    Args:
        texts: Texts or pairs, as ``texts_and_pairs`` gives them.
        words: Whether texts are lists of words.

    Raises:
        TypeError: If something is not a text.
        ValueError: If a text holds half of a surrogate pair, which is no Unicode character.
    """
    for index, item in enumerate(texts):
        place = f"Text {index}" if len(texts) > 1 else "The text"
        if words:
            is_pair = isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], list | tuple)
        else:
            is_pair = isinstance(item, list | tuple) and len(item) == 2
        for number, part in enumerate(item if is_pair else [item]):
            _check_text(part, f"{place}, part {number + 1} of the pair," if is_pair else place, words)


def _check_text(text: Any, place: str, words: bool) -> None:
    if words and not isinstance(text, list | tuple):
        raise TypeError(f"{place} is {text!r} ({type(text).__name__}); a list of words was expected.")
    for position, part in enumerate(text if words else [text]):
        where = f"{place} (word {position})" if words else place
        if not isinstance(part, str):
            raise TypeError(f"{where} is {part!r} ({type(part).__name__}); a str was expected.")
        for offset, character in enumerate(part):
            if "\ud800" <= character <= "\udfff":
                raise ValueError(
                    f"{where} holds {character!r} at character {offset}: half of a surrogate pair, which is no "
                    "character. Replace it, for instance by text.encode('utf-8', 'replace').decode()."
                )
