"""Texts of all that Unicode holds, made from a seed."""

from __future__ import annotations

import random
from pathlib import Path

_WORDS = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
_EMOJI = ["😀", "👍🏽", "👩‍👩‍👧", "🇩🇪", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣"]
_SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\ufeff", "\u0085"]
_MARKS = ["\u0301", "\u0308", "\u0327", "\u20dd", "\u0e31", "\u093f", "\u05b0", "\u3099", "\ufe0f", "\u200d"]
_PUNCTUATION = [*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¿«»、。‽٪"]


def _any_character(rng: random.Random) -> str:
    """Pick a code point, more often from the lower planes; never half of a surrogate pair."""
    top = rng.choice([0x80, 0x250, 0x600, 0x3000, 0x10000, 0x20000, 0x110000])
    while True:
        code = rng.randrange(top)
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code)


def _part(rng: random.Random) -> str:
    kind = rng.randrange(12)
    if kind < 5:
        return rng.choice(_WORDS)
    if kind == 5:
        return rng.choice(_EMOJI)
    if kind == 6:
        return rng.choice(_PUNCTUATION) * rng.choice([1, 1, 1, 3])
    if kind == 7:
        return rng.choice("aeiouAnçあ") + "".join(rng.choices(_MARKS, k=rng.randrange(1, 4)))
    if kind == 8:
        return "".join(_any_character(rng) for _ in range(rng.randrange(1, 6)))
    if kind == 9:
        return "".join(chr(rng.randrange(0x20)) for _ in range(rng.randrange(1, 3)))
    if kind == 10:
        return rng.choice(_WORDS).upper() + rng.choice(_WORDS)
    return rng.choice("abcxyz漢é") * rng.choice([2, 20, 150])


def random_texts(count: int, seed: int) -> list[str]:
    """Make texts of 0 to 15 parts: words of many scripts, emoji, marks, controls, rare and long ones."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.choice([0, 1, 2, 4, 8, 15])):
            parts += [_part(rng), rng.choice(_SPACES) if rng.random() < 0.25 else rng.choice([" ", " ", ""])]
        texts.append("".join(parts))
    return texts
