"""Labels of texts, with their scores.

Letters in shapes: ``B`` batch, ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..heads.sequence_classification import SequenceClassification
from .base import Pipeline
from .computing import Batch, Row
from .options import Options

__all__ = ["TextClassificationPipeline"]

_FUNCTIONS = ("softmax", "sigmoid", "none")


@dataclass(frozen=True)
class _Options(Options):
    """What may be chosen.

    Attributes:
        top_k: How many labels to give, the best first; None for all. The best alone, not in a list, where not given.
        return_all_scores: 4.4.2's: all labels, in their own order.
        function_to_apply: ``"softmax"``, ``"sigmoid"`` or ``"none"``. Where None what the model was trained for: none
            for a regression, sigmoid for one label or several at once, else softmax.
    """

    top_k: int | str | None = ""
    return_all_scores: bool | None = None
    function_to_apply: str | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        super().__post_init__()
        if self.top_k not in ("", None) and (not isinstance(self.top_k, int) or self.top_k < 1):
            raise ValueError(f"top_k is {self.top_k!r}; a whole number from 1, or None for all labels, was expected.")
        if self.function_to_apply is not None and self.function_to_apply not in _FUNCTIONS:
            raise ValueError(f"function_to_apply is '{self.function_to_apply}'; {', '.join(_FUNCTIONS)} are known.")


class TextClassificationPipeline(Pipeline):
    """Labels texts, or pairs of texts: ``{"text": …, "text_pair": …}``.

    A text's answer is ``{"label": …, "score": …}``, or a list of such where ``top_k`` or ``return_all_scores`` is
    given; as upstream's, the answer of one text that is not in a list is in a list all the same.
    """

    task = "text-classification"
    head = "sequence-classification"
    _heads = (SequenceClassification,)
    options_class = _Options
    _takes = 'a text or {"text": …, "text_pair": …}'

    def _as_given(self, inputs: Any, answer: Any, choices: Mapping[str, Any]) -> Any:
        return [answer] if isinstance(inputs, str) and choices.get("top_k", "") == "" else answer

    def _is_one(self, inputs: Any, options: Any) -> bool:
        return isinstance(inputs, str | Mapping)

    def _read(self, example: Any, number: int, options: Any) -> tuple[str, str | None]:
        pair = {"text": example} if isinstance(example, str) else dict(example)
        texts = pair.get("text"), pair.get("text_pair")
        known = pair.keys() <= {"text", "text_pair"}
        if not known or not isinstance(texts[0], str) or not isinstance(texts[1], str | None):
            raise ValueError(f"Example {number} is {_shown(pair)}; {self._takes} was expected, both texts.")
        return texts[0], texts[1]

    def _encode(
        self, examples: Sequence[tuple[str, str | None]], numbers: Sequence[int], options: Any
    ) -> list[list[Row]]:
        """Make a row of each; texts and pairs may stand beside each other."""
        rows: list[list[Row]] = [[] for _ in examples]
        for paired in (False, True):
            places = [place for place, (_, pair) in enumerate(examples) if (pair is not None) is paired]
            if places:
                texts = [examples[place][0] for place in places]
                pairs = [examples[place][1] or "" for place in places] if paired else None
                for number, row in self._rows(texts, pairs, [numbers[place] for place in places], options):
                    rows[places[number]] = [row]
        return rows

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Give what is shown of each row's labels; see `Pipeline.score`."""
        return list(self._apply(self.model.scores(batch.inputs)["logits"].float(), options).cpu().numpy())

    def _apply(self, logits: Tensor, options: _Options) -> Tensor:
        """Turn scores into what is shown. Shape: (B, N)."""
        name = options.function_to_apply
        if name is None:
            problem, labels = self.model.config.problem_type, self.model.config.num_labels
            single = labels == 1 or problem == "multi_label_classification"
            name = "none" if problem == "regression" else "sigmoid" if single else "softmax"
        if name == "none":
            return logits
        return torch.sigmoid(logits) if name == "sigmoid" else torch.softmax(logits, dim=-1)

    def _answer(self, example: Any, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        names, scores = self.model.config.id2label, outputs[0]
        labels = [{"label": names[number], "score": score.item()} for number, score in enumerate(scores)]
        if options.return_all_scores:
            return labels
        labels.sort(key=lambda each: each["score"], reverse=True)
        return labels[0] if options.top_k == "" else labels[: options.top_k]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else f"{text[:97]}…"
