"""What the data are: how many examples of each label, how long, how many cut, and texts that stand there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .examples import shortened

__all__ = ["Split", "describe_data"]

_MOST = 300_000
_SHOWN = 10
_BINS = 20


@dataclass(frozen=True)
class Split:
    """A split as facts are counted of it.

    Attributes:
        texts: The texts of each example, in order; every column has one entry for each.
        labels: The label of each as people write it; None where there are none.
        tokens: How many tokens of each are read; None where nothing is known. Shape: (E,).
        cut: Whether some of it was not read; None where nothing is known. Shape: (E,).
        windows: In how many windows each is read, where nothing is cut; None where there are none. Shape: (E,).
        counts: How often there is what is counted in place of the examples' labels, such as entities.
    """

    texts: Sequence[Sequence[str]]
    labels: Sequence[str] | None = None
    tokens: NDArray[np.int64] | None = None
    cut: NDArray[np.bool_] | None = None
    windows: NDArray[np.int64] | None = None
    counts: Mapping[str, int] | None = None


def describe_data(splits: Mapping[str, Split], max_length: int | None, most_labels: int = 200) -> dict[str, Any]:
    """Give label counts, lengths and duplicates.

    Args:
        splits: By name, the training split first.
        max_length: How many tokens are read at most.
        most_labels: Of more different labels than this no counts are given: they are values.
    """
    counts: dict[str, Any] = {}
    for name, split in splits.items():
        found = Counter(split.labels or ()) if split.counts is None else split.counts
        if 0 < len(found) <= most_labels:
            counts[name] = dict(sorted(found.items(), key=lambda each: -each[1]))
    return {
        "labels": counts,
        "lengths": {name: _lengths(split) for name, split in splits.items()},
        "max_seq_length": max_length,
        "duplicates": _duplicates(splits),
    }


def _lengths(split: Split) -> dict[str, Any]:
    found: dict[str, Any] = {"examples": len(split.texts[0]) if split.texts else 0}
    if split.tokens is not None and len(split.tokens):
        shares = np.percentile(split.tokens, [50, 95, 100])
        found |= {"tokens": dict(zip(("median", "95 %", "longest"), shares.tolist(), strict=True))}
        first, last = int(split.tokens.min()), int(split.tokens.max()) + 1
        edges = np.arange(first, last + (width := -(-(last - first) // _BINS)), width)
        found["histogram"] = {"counts": np.histogram(split.tokens, bins=edges)[0], "edges": edges}
    if split.cut is not None:
        found["cut"] = int(split.cut.sum())
    if split.windows is not None:
        found["several_windows"] = int((split.windows > 1).sum())
    return found


def _duplicates(splits: Mapping[str, Split]) -> dict[str, Any]:
    """Find texts that are equal but for case and white space, within a split and across, and contradicting labels."""
    places: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for name, split in splits.items():
        columns = [column[:_MOST] for column in split.texts]
        for row, texts in enumerate(zip(*columns, strict=True)):
            places.setdefault(tuple(" ".join(text.casefold().split()) for text in texts), []).append((name, row))
    several = [found for found in places.values() if len(found) > 1]
    within: Counter[str] = Counter()
    across: Counter[str] = Counter()
    for found in several:
        by_split = Counter(name for name, _ in found)
        within.update({name: number - 1 for name, number in by_split.items() if number > 1})
        first = found[0][0]
        across.update({f"{first} → {name}": number for name, number in by_split.items() if name != first})
    contradicting = [found for found in several if len(_labels_of(found, splits)) > 1]
    return {
        "within": dict(within),
        "across": dict(across),
        "contradicting": len(contradicting),
        "shown": [_shown(found, splits) for found in contradicting[:_SHOWN]],
        "looked_at_most": _MOST,
    }


def _labels_of(places: Sequence[tuple[str, int]], splits: Mapping[str, Split]) -> set[str]:
    return {labels[row] for name, row in places if (labels := splits[name].labels) is not None}


def _shown(places: Sequence[tuple[str, int]], splits: Mapping[str, Split]) -> dict[str, Any]:
    name, row = places[0]
    where = []
    for split, place in places[:6]:
        labels = splits[split].labels
        where.append({"source": split, "row": place + 1, "label": "" if labels is None else shortened(labels[place])})
    return {"texts": [shortened(column[row]) for column in splits[name].texts], "places": where}
