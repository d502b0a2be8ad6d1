"""Labels of the tokens of a text, or the entities that they make up.

Letters in shapes: ``B`` batch, ``L`` padded length, ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..heads.token_classification import TokenClassification
from .base import Pipeline
from .computing import Batch, Row
from .entities import STRATEGIES, LabelledToken, as_entities, grouped, without_overlaps, words_of
from .options import Options

__all__ = ["TokenClassificationPipeline"]


@dataclass(frozen=True)
class _Options(Options):
    """What may be chosen.

    Attributes:
        aggregation_strategy: ``"none"`` gives tokens; ``"simple"`` groups neighbouring tokens of a label; ``"first"``,
            ``"average"`` and ``"max"`` give whole words one label before. See `transformers.pipelines.entities`.
        ignore_labels: Entities of these are left out; ``["O"]`` by default.
        grouped_entities: 4.4.2's: True is ``"simple"``, False ``"none"``.
        is_split_into_words: A text is a list of words.
        delimiter: Stands between such words; positions count it.
        stride: Read longer texts in parts, of which neighbours share so many tokens. Needs an aggregation.
    """

    aggregation_strategy: str = "none"
    ignore_labels: tuple[str, ...] | list[str] = ("O",)
    grouped_entities: bool | None = None
    is_split_into_words: bool = False
    delimiter: str = " "
    stride: int | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        super().__post_init__()
        name = getattr(self.aggregation_strategy, "value", self.aggregation_strategy)
        if self.grouped_entities is not None:
            name = "simple" if self.grouped_entities else "none"
        object.__setattr__(self, "aggregation_strategy", str(name).lower())
        if self.aggregation_strategy not in STRATEGIES:
            raise ValueError(f"aggregation_strategy is '{name}'; {', '.join(STRATEGIES)} are known.")
        if self.stride is not None and self.aggregation_strategy == "none":
            raise ValueError("stride needs an aggregation_strategy: tokens of overlapping parts would be given twice.")
        if self.stride is not None and (not isinstance(self.stride, int) or self.stride < 0):
            raise ValueError(f"stride is {self.stride!r}; a whole number from 0 was expected.")


class _Text(NamedTuple):
    """A text, and where its words are, for one that came as words."""

    text: str
    starts: tuple[int, ...]
    words: tuple[str, ...] | None


class TokenClassificationPipeline(Pipeline):
    """Finds entities in texts, with their characters' places; without aggregation, the labels of all tokens."""

    task = "token-classification"
    head = "token-classification"
    _heads = (TokenClassification,)
    options_class = _Options

    def _as_given(self, inputs: Any, answer: Any, choices: Mapping[str, Any]) -> Any:
        return answer if isinstance(inputs, str) else [answer]

    def _is_one(self, inputs: Any, options: Any) -> bool:
        if not options.is_split_into_words:
            return isinstance(inputs, str)
        return isinstance(inputs, list | tuple) and bool(inputs) and all(isinstance(word, str) for word in inputs)

    def _read(self, example: Any, number: int, options: Any) -> _Text:
        if isinstance(example, str):
            return _Text(example, (), None)
        starts, place = [], 0
        for word in example:
            starts.append(place)
            place += len(word) + len(options.delimiter)
        return _Text(options.delimiter.join(example), tuple(starts), tuple(example))

    def _encode(self, examples: Sequence[_Text], numbers: Sequence[int], options: Any) -> list[list[Row]]:
        parts: list[list[Row]] = [[] for _ in examples]
        split = options.is_split_into_words
        texts = [list(each.words or ()) if split else each.text for each in examples]
        for place, row in self._rows(texts, None, numbers, options, stride=options.stride, is_split_into_words=split):
            parts[place].append(row)
        return parts

    _hint = ", stride=… with an aggregation_strategy reads it in overlapping parts"

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Give the probabilities of each row's labels; see `Pipeline.score`."""
        probabilities = self.model.scores(batch.inputs)["logits"].float().softmax(-1).cpu().numpy()  # (B, L, N)
        return [probabilities[place, : len(row.input_ids)] for place, row in enumerate(batch.rows)]

    def _answer(self, example: _Text, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        labels, join = self.model.config.id2label, self.tokenizer.convert_tokens_to_string
        found: list[dict[str, Any]] = []
        for row, scores in zip(rows, outputs, strict=True):
            tokens = self._tokens(example, row, scores)
            if options.aggregation_strategy in ("none", "simple"):
                entities = as_entities(tokens, labels)
            else:
                entities = words_of(tokens, labels, options.aggregation_strategy, join)
            found += entities if options.aggregation_strategy == "none" else grouped(entities, join)
        wanted = [each for each in found if each.get("entity", each.get("entity_group")) not in options.ignore_labels]
        return without_overlaps(wanted) if len(rows) > 1 else wanted

    def _tokens(self, example: _Text, row: Row, scores: np.ndarray) -> list[LabelledToken]:
        """Give the tokens of a part that are no special ones."""
        encoding, found = row.encoding, []
        pieces = bool(getattr(self.tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None))
        for index, (number, (start, end)) in enumerate(zip(row.input_ids, encoding.offsets, strict=True)):
            if encoding.special_tokens_mask[index]:
                continue
            if example.words is not None:
                shift = example.starts[encoding.word_ids[index]]
                start, end = start + shift, end + shift
            word, text = encoding.tokens[index], example.text[start:end]
            token = LabelledToken(word, scores[index], start, end, index, goes_on=False)
            if number == self.tokenizer.unk_token_id:
                token = replace(token, word=text)
            elif pieces:
                token = replace(token, goes_on=len(word) != len(text))
            else:
                token = replace(token, goes_on=start > 0 and " " not in example.text[start - 1 : start + 1])
            found.append(token)
        return found
