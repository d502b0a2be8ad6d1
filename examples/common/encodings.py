"""From bytes to text: which encoding a file is in."""

from __future__ import annotations

import codecs
import re

from transformers.utils import logging

__all__ = ["decode"]

logger = logging.get_logger("transformers.examples.encodings")

_MARKS = (  # UTF-32's begins with UTF-16's, so it comes first
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_OTHER = "Save it as UTF-8, or name its encoding with --file_encoding."


def decode(content: bytes, source: str, encoding: str | None = None) -> str:
    """Turn a file's bytes into text.

    A byte order mark decides; without one it is UTF-8 where it can be, UTF-16 where zero bytes say so, and
    Windows-1252 (Latin-1 with the characters that Windows added) else, which is said, since it is a guess.

    Args:
        content: The bytes.
        source: The file's name, for messages.
        encoding: The user's word for it; None decides as above.

    Raises:
        ValueError: If it cannot be read so, or is no text.
    """
    if content.startswith(b"PK\x03\x04"):
        raise ValueError(f"'{source}' is a zip file, as Excel's workbooks are; save the sheet as CSV in UTF-8.")
    if content.startswith(b"\x1f\x8b"):
        raise ValueError(f"'{source}' is compressed (gzip); unpack it first.")
    chosen = encoding or _find_encoding(content, source)
    try:
        text = content.decode(chosen)
    except LookupError as error:
        raise ValueError(f"--file_encoding {chosen} is no encoding that Python knows; try utf-8 or cp1252.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"'{source}' cannot be read as {chosen} (byte {error.start}). {_OTHER}") from error
    if "\0" in text:
        raise ValueError(f"'{source}' holds zero bytes, so it is no text in {chosen}. {_OTHER}")
    return text.removeprefix("\ufeff")


def _find_encoding(content: bytes, source: str) -> str:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    start = content[:4096]
    if len(start) > 1 and b"\0" in start and not _has_stray_zeros(content, start):
        even, odd = start[::2].count(0), start[1::2].count(0)
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        logger.warning(
            "'%s' is not UTF-8 (byte %d); it is read as Windows-1252 (Western European). If that is wrong, name its "
            "encoding with --file_encoding.",
            source,
            error.start,
        )
        return "cp1252"
    return "utf-8"


def _has_stray_zeros(content: bytes, start: bytes) -> bool:
    """Say whether zero bytes stand in what else is UTF-8: few, and no other control byte, as UTF-16 has them."""
    if 4 * start.count(0) > len(start) or _CONTROLS.search(start):
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
