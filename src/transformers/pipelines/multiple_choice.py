"""The best of several texts behind a context, such as the endings of a story or the answers to a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..heads.multiple_choice import MultipleChoice
from .base import Pipeline
from .computing import Batch, Row
from .options import Options

__all__ = ["MultipleChoicePipeline"]


@dataclass(frozen=True)
class _Options(Options):
    """What may be chosen.

    Attributes:
        top_k: How many choices to give, the best first; all where None.
    """

    top_k: int | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        super().__post_init__()
        if self.top_k is not None and (not isinstance(self.top_k, int) or self.top_k < 1):
            raise ValueError(f"top_k is {self.top_k!r}; a whole number from 1 was expected.")


class _Asked(NamedTuple):
    """A context and what may follow it."""

    context: str
    choices: list[str]


class MultipleChoicePipeline(Pipeline):
    """Orders choices by how well they go with a context: ``{"context": …, "choices": [text, text, …]}``.

    An example's answer is a list of ``{"choice": …, "index": …, "score": …}``, the best first; index is its place
    among the choices, and the scores of all add up to 1. Upstream has no such pipeline.
    """

    task = "multiple-choice"
    head = "multiple-choice"
    _heads = (MultipleChoice,)
    options_class = _Options
    _takes = '{"context": …, "choices": [text, text, …]}'

    def _is_one(self, inputs: Any, options: Any) -> bool:
        return isinstance(inputs, Mapping)

    def _read(self, example: Any, number: int, options: Any) -> _Asked:
        context, choices = example.get("context"), example.get("choices")
        if example.keys() != {"context", "choices"} or not isinstance(context, str) or not isinstance(choices, list):
            raise ValueError(f"Example {number} has {', '.join(map(repr, example))}; {self._takes} was expected.")
        if len(choices) < 2 or not all(isinstance(each, str) and each.strip() for each in choices):
            raise ValueError(f"Example {number}: choices is no list of two texts or more, none of them empty.")
        return _Asked(context, choices)

    def _encode(self, examples: Sequence[_Asked], numbers: Sequence[int], options: Any) -> list[list[Row]]:
        """Make a row of each choice."""
        pairs = [(place, asked.context, choice) for place, asked in enumerate(examples) for choice in asked.choices]
        places, contexts, choices = zip(*pairs, strict=True)
        parts: list[list[Row]] = [[] for _ in examples]
        for number, row in self._rows(contexts, choices, [numbers[place] for place in places], options):
            parts[places[number]].append(row)
        return parts

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Score each row's choice by itself; see `Pipeline.score`."""
        each_alone = batch.inputs.map_rows(lambda values: values.unsqueeze(1))  # one choice an example: (B, 1, L)
        return self.model.scores(each_alone)["logits"][:, 0].float().tolist()

    def _answer(self, example: _Asked, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        shifted = np.exp(np.asarray(outputs) - max(outputs))
        scores = (shifted / shifted.sum()).tolist()
        best = sorted(range(len(scores)), key=lambda place: scores[place], reverse=True)[: options.top_k]
        return [{"choice": example.choices[place], "index": place, "score": scores[place]} for place in best]
