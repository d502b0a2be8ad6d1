"""What the report tells of entities: figures of each type, types that are confused, mistakes in their sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from common.reporting.calibration import describe_calibration
from common.reporting.data_facts import Split, describe_data
from common.reporting.examined import Evaluations, Examined
from common.reporting.examples import SHOWN, Examples, shortened
from common.reporting.figures import figure, table_of
from common.reporting.resampling import Values, interval_of_sums
from common.reporting.slices import Measure, by_length, describe_parts
from common.splits import column
from ner_data import PLACE, TAGS, WORDS, SentenceData
from ner_mistakes import KINDS, Pair, pair_entities
from ner_predictions import tags_of
from ner_scores import find_entities, score
from ner_tokens import CUT, FIRST

__all__ = ["examine"]

_NONE = "(none)"
_AROUND = 12  # words of a sentence that are shown on either side
_SPLIT = "validation"


def examine(
    data: SentenceData, evaluations: Evaluations, id2label: Mapping[int, str], max_length: int | None
) -> Examined:
    """Say how the run is reported.

    Args:
        data: The sentences, tokenized.
        evaluations: What the last evaluation gave.
        id2label: The model's labels.
        max_length: Tokens that are read at most; None for all that the model reads.
    """

    def found() -> _Tagged | None:
        prediction = evaluations.by_split.get(_SPLIT)
        return None if prediction is None else _Tagged.of(data, prediction.predictions, id2label)

    def figures() -> dict[str, Any]:
        facts = {"data": describe_data(_splits(data), max_length)}
        tagged = found()
        return facts if tagged is None else {**_describe(tagged), **facts}

    def rows() -> Iterator[dict[str, Any]]:
        tagged = found()
        if tagged is None:
            return
        for row, words in enumerate(tagged.words):
            yield {
                "source": _SPLIT,
                "place": tagged.places[row],
                "tokens": words,
                "label": tagged.right[row],
                "prediction": tagged.guessed[row],
                "probabilities": tagged.probabilities[row],
            }

    return Examined(figures, rows)


@dataclass(frozen=True)
class _Tagged:
    """Evaluated sentences: words, right and predicted tags, the probability of these; NaN where no token was read."""

    words: list[list[str]]
    places: list[str]
    right: list[list[str]]
    guessed: list[list[str]]
    probabilities: list[list[float]]
    examples: Examples
    types: tuple[str, ...]
    strict: bool

    @classmethod
    def of(cls, data: SentenceData, predictions: Any, id2label: Mapping[int, str]) -> _Tagged:
        split = data.validation[_SPLIT]
        best, probabilities = predictions
        words = column(split, WORDS)
        sure = [
            [float(row[place]) if place >= 0 else np.nan for place in first]
            for row, first in zip(np.asarray(probabilities), column(split, FIRST), strict=True)
        ]
        examples = Examples(
            texts={"sentence": [" ".join(row) for row in words]},
            tokens=np.asarray([sum(mask) for mask in split["attention_mask"]], dtype=np.int64),
            cut=np.asarray([CUT in first for first in column(split, FIRST)], dtype=bool),
            sources=[_SPLIT] * len(words),
        )
        guessed = tags_of(best, split, id2label)
        return cls(words, column(split, PLACE), column(split, TAGS), guessed, sure, examples, data.types, data.strict)


def _describe(tagged: _Tagged) -> dict[str, Any]:
    scores = score(tagged.right, tagged.guessed, tagged.strict, tagged.types)
    pairs = [pair_entities(right, guess) for right, guess in zip(tagged.right, tagged.guessed, strict=True)]
    features, types = _count(tagged, pairs)
    low, high = interval_of_sums(features, lambda sums: _figures(sums, len(types)))
    names = ("f1", "precision", "recall", "accuracy")
    counts = features.sum(axis=0)[: 3 * len(types)].reshape(3, -1)
    classes = [
        {
            "label": kind,
            "f1": figure(scores[f"f1_{kind}"], low[4 + index], high[4 + index]),
            "precision": scores[f"precision_{kind}"],
            "recall": scores[f"recall_{kind}"],
            "support": int(counts[0, index]),
            "predicted": int(counts[1, index]),
        }
        for index, kind in enumerate(types)
    ]
    overall = Measure(("f1",), features, lambda sums: _figures(sums, len(types))[:, :1])
    slices = {"length": describe_parts(by_length(tagged.examples), overall)}
    return {
        "examples": len(tagged.words),
        "metrics": table_of(names, [scores[name] for name in names], low[:4], high[:4]),
        "confusion": _confusion(pairs, types),
        "classes": classes,
        "calibration": _calibration(tagged),
        "slices": {name: parts for name, parts in slices.items() if parts},
        "entity_mistakes": _mistakes(tagged, pairs),
    }


def _count(tagged: _Tagged, pairs: Sequence[Sequence[Pair]]) -> tuple[Values, tuple[str, ...]]:
    """Count in each sentence the entities of each type that are right, predicted, and both; right tags; words."""
    present = {each[0] for row in pairs for pair in row for each in pair if each is not None}
    types = tuple(sorted({*tagged.types, *present}))
    numbers = {kind: index for index, kind in enumerate(types)}
    counts = np.zeros((len(pairs), 3 * len(types) + 2))
    for row, found in enumerate(pairs):
        for pair in found:
            for side, each in enumerate((*pair, pair.right if not pair.kind else None)):
                if each is not None:
                    counts[row, side * len(types) + numbers[each[0]]] += 1
        agreed = [right == guess for right, guess in zip(tagged.right[row], tagged.guessed[row], strict=True)]
        counts[row, -2:] = sum(agreed), len(agreed)
    return counts, types


def _figures(sums: Values, types: int) -> Values:
    """Give F1, precision, recall, accuracy, and each type's F1. Shape: (B, 4 + types)."""
    right, guessed, agreed = (sums[:, side * types : (side + 1) * types] for side in range(3))

    def ratio(part: Values, whole: Values) -> Values:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    totals = [each.sum(axis=1) for each in (right, guessed, agreed)]
    overall = [ratio(2 * totals[2], totals[0] + totals[1]), ratio(totals[2], totals[1]), ratio(totals[2], totals[0])]
    return np.column_stack([*overall, ratio(sums[:, -2], sums[:, -1]), ratio(2 * agreed, right + guessed)])


def _confusion(pairs: Sequence[Sequence[Pair]], types: Sequence[str]) -> dict[str, Any]:
    names = [*types, _NONE]
    numbers = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for pair in (pair for row in pairs for pair in row):
        one, other = (numbers[_NONE if each is None else each[0]] for each in pair)
        counts[one, other] += 1
    return {"labels": names, "counts": counts}


def _calibration(tagged: _Tagged) -> dict[str, Any]:
    sure = np.asarray([share for row in tagged.probabilities for share in row], dtype=np.float64)
    rows = zip(tagged.right, tagged.guessed, strict=True)
    agreed = [right == guess for tags, guesses in rows for right, guess in zip(tags, guesses, strict=True)]
    owners = np.repeat(np.arange(len(tagged.words)), [len(row) for row in tagged.words])
    return describe_calibration(sure, np.asarray(agreed, dtype=bool), "the tag of each word", owners)


# Mistakes ---------------------------------------------------------------------------------------------------------


def _mistakes(tagged: _Tagged, pairs: Sequence[Sequence[Pair]]) -> dict[str, Any]:
    wrong = [(row, pair) for row, found in enumerate(pairs) for pair in found if pair.kind]
    kinds = Counter(pair.kind for _, pair in wrong)
    sure = np.asarray([_certainty(tagged.probabilities[row], pair) for row, pair in wrong])
    order = np.argsort(-np.nan_to_num(sure), kind="stable")[:SHOWN].tolist()
    shown = [_shown(tagged, wrong[number][0], wrong[number][1], float(sure[number])) for number in order]
    return {"number": len(wrong), "kinds": {kind: kinds[kind] for kind in KINDS}, "shown": shown}


def _certainty(probabilities: Sequence[float], pair: Pair) -> float:
    """Give the mean probability of the tags that were predicted: of the entity, or of those in its place."""
    entity = pair.guess or pair.right
    shares = [] if entity is None else [share for share in probabilities[entity[1] : entity[2]] if share == share]
    return float(np.mean(shares)) if shares else np.nan


def _shown(tagged: _Tagged, row: int, pair: Pair, certainty: float) -> dict[str, Any]:
    return {
        "source": _SPLIT,
        "where": f"{_SPLIT}, {tagged.places[row]}",
        "row": row + 1,
        "kind": pair.kind,
        "label": "" if pair.right is None else pair.right[0],
        "predicted": "" if pair.guess is None else pair.guess[0],
        "probability": certainty,
        "context": _context(tagged.words[row], pair),
    }


def _context(words: Sequence[str], pair: Pair) -> list[tuple[str, str, str]]:
    """Give the words around, with marks: ``guess`` for the predicted entity, ``gold`` where only the right one is."""
    spans = [each for each in pair if each is not None]
    begin, end = min(each[1] for each in spans), max(each[2] for each in spans)
    first, last = max(0, begin - _AROUND), min(len(words), end + _AROUND)
    kinds = {"guess": pair.guess[0] if pair.guess else "", "gold": pair.right[0] if pair.right else "", "": ""}
    pieces = [("… " if first else "", "", "")]
    for mark, places in groupby(range(first, last), lambda place: _mark(pair, place)):
        pieces += [(shortened(" ".join(words[place] for place in places)), mark, kinds[mark]), (" ", "", "")]
    return [*pieces, ("…" if last < len(words) else "", "", "")]


def _mark(pair: Pair, place: int) -> str:
    inside = [each is not None and each[1] <= place < each[2] for each in pair]
    return "guess" if inside[1] else "gold" if inside[0] else ""


def _splits(data: SentenceData) -> dict[str, Split]:
    found = {**({"train": data.train} if data.train is not None else {}), **data.validation, **data.test}
    splits = {}
    for name, split in found.items():
        tags = column(split, TAGS) if TAGS in split.column_names else None
        kinds = Counter(entity[0] for row in tags or () for entity in find_entities(row))
        splits[name] = Split(
            texts=[[" ".join(row) for row in column(split, WORDS)]],
            labels=None if tags is None else [" ".join(row) for row in tags],
            tokens=np.asarray([sum(mask) for mask in split["attention_mask"]], dtype=np.int64),
            cut=np.asarray([CUT in first for first in column(split, FIRST)], dtype=bool),
            counts=kinds,
        )
    return splits
