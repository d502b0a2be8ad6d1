"""Answers to questions, as spans of a text.

A long text is read in overlapping parts. A span's score is the product of the probabilities of its first and last
token, taken over the tokens of the part that may be an answer and the first token, which stands for "no answer"
(Devlin et al. 2019, section 4.3).

Letters in shapes: ``L`` tokens of a part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..heads.question_answering import QuestionAnswering
from .answer_spans import best_spans
from .base import Pipeline
from .computing import Batch, Row
from .options import Options

__all__ = ["QuestionAnsweringPipeline"]


@dataclass(frozen=True)
class _Options(Options):
    """What may be chosen.

    Attributes:
        top_k: How many answers to give; one, not in a list, by default. ``topk`` is 4.4.2's name of it.
        topk: See there.
        max_seq_len: Tokens of a part, question and special ones included.
        doc_stride: Tokens that neighbouring parts of a text share; half of a part at most.
        max_question_len: A longer question is cut to so many tokens.
        max_answer_len: The most tokens of an answer.
        handle_impossible_answer: Let "no answer" (an empty one) be among the answers.
        align_to_words: Let answers begin and end with whole words.
    """

    top_k: int = 1
    topk: int | None = None
    max_seq_len: int = 384
    doc_stride: int = 128
    max_question_len: int = 64
    max_answer_len: int = 15
    handle_impossible_answer: bool = False
    align_to_words: bool = True

    def __post_init__(self) -> None:
        """Check the choices."""
        super().__post_init__()
        if self.topk is not None:
            object.__setattr__(self, "top_k", self.topk)
        for name in ("top_k", "max_seq_len", "doc_stride", "max_question_len", "max_answer_len"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; a whole number from 1 was expected.")


class _Asked(NamedTuple):
    """A question and the text to look in."""

    question: str
    context: str


class QuestionAnsweringPipeline(Pipeline):
    """Answers ``question=…, context=…``, or dictionaries of the two, with ``{"score", "start", "end", "answer"}``.

    Places are characters of the context. Of answers that are the same place the best counts.
    """

    task = "question-answering"
    head = "question-answering"
    _heads = (QuestionAnswering,)
    options_class = _Options
    _takes = '{"question": …, "context": …}'

    def __call__(self, inputs: Any = None, *, question: Any = None, context: Any = None, **choices: Any) -> Any:
        """Answer a question, a list of them, or a stream; see `Pipeline.__call__`.

        Args:
            inputs: See there; None with ``question`` and ``context``.
            question: A question, or a list of them.
            context: The text, or a list with one for each question.
            **choices: See there.

        Raises:
            TypeError: As there, or if question and context are not given both.
            ValueError: As there, or if there are not as many of both.
        """
        if inputs is None:
            inputs = _paired(question, context)
        return super().__call__(inputs, **choices)

    def _is_one(self, inputs: Any, options: Any) -> bool:
        return isinstance(inputs, Mapping)

    def _read(self, example: Any, number: int, options: Any) -> _Asked:
        texts = example.get("question"), example.get("context")
        for name, text in zip(("question", "context"), texts, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"Example {number} has no {name}: it is {text!r}.")
        return _Asked(*texts)

    def _encode(self, examples: Sequence[_Asked], numbers: Sequence[int], options: Any) -> list[list[Row]]:
        parts: list[list[Row]] = [[] for _ in examples]
        length = min(options.max_seq_len, self.longest)
        for place, (asked, number) in enumerate(zip(examples, numbers, strict=True)):
            question = self._cut(asked.question, options.max_question_len)
            taken = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
            room = length - taken - self.tokenizer.num_special_tokens_to_add(pair=True)
            if room < 1:
                raise ValueError(
                    f"Example {number}: a question of {taken} tokens leaves no room for its context within {length} "
                    "tokens; give a smaller max_question_len, or a larger max_seq_len."
                )
            stride = min(options.doc_stride, length // 2, room - 1)
            cut = Options(truncation="only_second", max_length=length)
            parts[place] = [row for _, row in self._rows([question], [asked.context], [number], cut, stride=stride)]
        return parts

    def _cut(self, question: str, most: int) -> str:
        """Cut a question to so many tokens."""
        encoding = (self.tokenizer([question], add_special_tokens=False).encodings or [])[0]
        return question if len(encoding.ids) <= most else question[: encoding.offsets[most - 1][1]]

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Give the scores of first and last tokens of each row; see `Pipeline.score`."""
        scores = self.model.scores(batch.inputs)
        both = [scores[name].float().cpu().numpy() for name in ("start_logits", "end_logits")]
        return [tuple(each[place, : len(row.input_ids)] for each in both) for place, row in enumerate(batch.rows)]

    def _answer(self, example: _Asked, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        found: dict[tuple[int, int], float] = {}
        none = 1.0
        for row, (starts, ends) in zip(rows, outputs, strict=True):
            allowed = np.array([each == 1 for each in row.encoding.sequence_ids])
            begin, end = (_log_probabilities(scores, allowed) for scores in (starts, ends))
            none = min(none, math.exp(begin[0] + end[0]))
            best = best_spans(begin[None], end[None], allowed[None], options.max_answer_len, options.top_k)
            for score, first, last in zip(np.exp(best.scores[0]), best.firsts[0], best.lasts[0], strict=True):
                if score > 0:
                    span = self._characters(row, first, last, aligned=options.align_to_words)
                    found[span] = max(found.get(span, 0.0), float(score))
        answers = [
            {"score": score, "start": start, "end": stop, "answer": example.context[start:stop]}
            for (start, stop), score in found.items()
        ]
        if options.handle_impossible_answer:
            answers.append({"score": none, "start": 0, "end": 0, "answer": ""})
        answers.sort(key=lambda each: each["score"], reverse=True)  # type: ignore[arg-type, return-value]
        return answers[0] if options.top_k == 1 and answers else answers[: options.top_k]

    def _characters(self, row: Row, first: int, last: int, *, aligned: bool) -> tuple[int, int]:
        """Give a span's first character and the one after its last; those of whole words where aligned."""
        offsets, words = row.encoding.offsets, row.encoding.word_ids
        if aligned:
            inside = [place for place, each in enumerate(row.encoding.sequence_ids) if each == 1]
            first = min(place for place in inside if words[place] == words[first])
            last = max(place for place in inside if words[place] == words[last])
        return offsets[first][0], offsets[last][1]


def _paired(question: Any, context: Any) -> Any:
    """Make examples of questions and their contexts; one context may be that of all."""
    if question is None or context is None:
        raise TypeError('question-answering takes question=… and context=…, or {"question": …, "context": …}.')
    if not isinstance(question, list | tuple):
        return {"question": question, "context": context}
    contexts = context if isinstance(context, list | tuple) else [context] * len(question)
    if len(contexts) != len(question):
        raise ValueError(f"There are {len(question)} questions and {len(contexts)} contexts.")
    return [{"question": each, "context": its} for each, its in zip(question, contexts, strict=True)]


def _log_probabilities(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Give the logarithm of each token's probability, over those of the context and the first one. Shape: (L,)."""
    counted = allowed.copy()
    counted[0] = True
    shifted = np.where(counted, scores - scores[counted].max(), -np.inf)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum())
    return result
