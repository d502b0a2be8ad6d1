"""Damage to files: bytes changed, and parts of JSON changed with a sense for its structure. All of it from a seed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3.5, -0.0, 1e30, 2**31, 2**32, 4_000_000_000, 2**63, 10**30, 100_000),
    *("", "a", "0", "\0", "../../etc/passwd", "/etc/passwd", "é☃", "__class__", "x" * 5_000, " ", "<s>", "[UNK]"),
    *([], [1], [[]], ["a", "b"], {}, {"a": 1}, {"": {}}, {"content": 5}, {"type": "Sequence"}, {"0": "a"}),
)
NAMES = ("to_dict", "__class__", "self", "shape", "from_dict", "vocab", "roles", "tokenizer_object", "", "num_labels")
WORDS = (
    *(
        b"null",
        b"NaN",
        b"1e999",
        b"-Infinity",
        b"[" * 2_000,
        b'{"a":' * 400,
        b"4000000000",
        b"-1",
        b"\\ud800",
        b"\xff",
    ),
    *(b"\0", b'"', b"{}", b"[]", b",", b":", b"\n", b"9" * 5_000, b"\xef\xbb\xbf", b"\x80\x02", b"PK\x03\x04", b" "),
)


def mutated(name: str, content: bytes, random: Random) -> bytes:
    """Damage a file: its JSON in three cases of four where it is JSON, its bytes otherwise.

    Args:
        name: The file's name.
        content: What it holds.
        random: Where the choices come from.
    """
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        structured = name.endswith(".json") and random.random() < 0.75
        content = _mutated_json(content, random) if structured else _mutated_bytes(content, random)
    return content


def _mutated_bytes(content: bytes, random: Random) -> bytes:
    """Flip, cut, repeat, put in or write over some bytes; the beginning, where formats say their sizes, most often."""
    data = bytearray(content)
    reach = len(data) if random.random() < 0.6 else min(len(data), 200)
    start = random.randrange(reach + 1) if random.random() < 0.9 else max(0, len(data) - random.randrange(1, 60))
    length = random.choice((1, 1, 2, 8, random.randrange(1, 200)))
    match random.randrange(6):
        case 0 if data:
            data[min(start, len(data) - 1)] ^= 1 << random.randrange(8)
        case 1:
            del data[start : start + length]
        case 2:
            data[start:start] = data[start : start + length]
        case 3:
            data[start:start] = random.choice(WORDS)
        case 4:
            data[start : start + length] = random.randbytes(length)
        case _:
            del data[start:]
    return bytes(data)


def _mutated_json(content: bytes, random: Random) -> bytes:
    """Change, remove, rename, repeat or nest one part of a JSON file."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return _mutated_bytes(content, random)
    parent, key = _some_part(tree, random)
    if parent is None:
        return json.dumps(random.choice(VALUES)).encode()
    match random.randrange(7):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[random.choice(NAMES)] = random.choice(VALUES)
        case 2 if isinstance(parent, dict):
            parent[random.choice(NAMES)] = parent.pop(key)
        case 3:
            parent[key] = [parent[key]]
        case 4:
            parent[key] = _near(parent[key], random)
        case 5 if isinstance(parent, list):
            parent.insert(key, parent[key])
        case _:
            parent[key] = random.choice(VALUES)
    return json.dumps(tree, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def _some_part(tree: Any, random: Random) -> tuple[Any, Any]:
    """Choose a place in a tree: what holds it, and its name or number there. Deep places are as likely as others."""
    place: tuple[Any, Any] = (None, None)
    while isinstance(tree, dict | list) and tree and (place[0] is None or random.random() < 0.7):
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key = random.choice(keys)
        place, tree = (tree, key), tree[key]
    return place


def _near(value: Any, random: Random) -> Any:
    """Give a value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return random.choice((value + 1, value - 1, -value, value * 1_000, float(value), str(value)))
    if isinstance(value, str):
        return random.choice((value + " ", value[:-1], value.upper(), value * 2, value + "\0", "é" + value))
    return random.choice(VALUES)
