"""From the scores of tokens to the best answers of each question, over all of its windows.

Letters in shapes: ``F`` windows, ``L`` padded length, ``Q`` questions, ``N`` answers that are kept of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qa_features import BEGINS, ENDS, OWNER
from transformers.pipelines.answer_spans import best_spans

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Answers", "find_answers"]

_AT_ONCE = 256
"""Windows whose spans are scored together."""


@dataclass(frozen=True)
class Answers:
    """The best answers of questions, the best first.

    Attributes:
        begins: Their first characters; -1 where a question has fewer answers. Shape: (Q, N).
        ends: The characters after their last ones. Shape: (Q, N).
        start_logits: The score of the first token. Shape: (Q, N).
        end_logits: The score of the last token. Shape: (Q, N).
        null_logits: The two scores of "no answer", in the window where their sum is least. Shape: (Q, 2).
    """

    begins: NDArray[np.int32]
    ends: NDArray[np.int32]
    start_logits: NDArray[np.float64]
    end_logits: NDArray[np.float64]
    null_logits: NDArray[np.float64]

    def null_odds(self) -> NDArray[np.float64]:
        """Give by how much "no answer" scores more than the best answer, which scores 0 where there is none."""
        best = np.where(self.begins[:, 0] < 0, 0.0, self.start_logits[:, 0] + self.end_logits[:, 0])
        return self.null_logits.sum(axis=1) - best

    def best_texts(self, contexts: Sequence[str]) -> list[str]:
        """Give each question's best answer as it stands in its context; empty where there is none."""
        rows = zip(contexts, self.begins[:, 0].tolist(), self.ends[:, 0].tolist(), strict=True)
        return ["" if begin < 0 else context[begin:end].strip() for context, begin, end in rows]


class _Candidates(NamedTuple):
    """Answers of all windows. Shape of each: (any number,)."""

    owners: NDArray[np.int64]
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]
    start_logits: NDArray[np.float64]
    end_logits: NDArray[np.float64]

    def chosen(self, which: NDArray[Any]) -> _Candidates:
        return _Candidates(*(column[which] for column in self))

    def scores(self) -> NDArray[np.float64]:
        return self.start_logits + self.end_logits


def find_answers(logits: Any, features: Dataset, questions: int, most: int, longest: int) -> Answers:
    """Find the best answers: the spans whose first and last token score most together, in any window.

    Every span of the context is looked at, not only those of the best first and last tokens. Of one that stands in
    several windows the best score counts.

    Args:
        logits: Scores of first and last tokens, in the order of the windows. Shape of each: (F, L).
        features: The windows, by `qa_features.make_features`.
        questions: How many questions these are of.
        most: How many answers to keep of each.
        longest: The most tokens of an answer.
    """
    starts, ends = (np.asarray(each) for each in logits)
    owners = np.asarray(features.with_format("numpy")[OWNER])
    parts, row = [], 0
    for batch in features.select_columns([BEGINS, ENDS]).with_format("arrow").iter(batch_size=_AT_ONCE):
        rows = slice(row, row + batch.num_rows)
        begins, stops = (_padded(batch[name], starts.shape[1]) for name in (BEGINS, ENDS))
        parts.append(_of_windows(starts[rows], ends[rows], owners[rows], begins, stops, most, longest))
        row += batch.num_rows
    candidates = _Candidates(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    null = _null_logits(starts[:, 0], ends[:, 0], owners, questions)
    return _best_of_each(_each_once(candidates), questions, most, null)


def _padded(column: Any, length: int) -> NDArray[np.int32]:
    """Make a matrix of lists, with -1 behind their ends. Shape: (rows, L)."""
    lists = column.combine_chunks()
    sizes = np.asarray(lists.value_lengths())
    matrix = np.full((len(sizes), length), -1, dtype=np.int32)
    matrix[np.arange(length) < sizes[:, None]] = np.asarray(lists.flatten())
    return matrix


def _of_windows(
    starts: NDArray[Any],
    ends: NDArray[Any],
    owners: NDArray[np.int64],
    first_characters: NDArray[np.int32],
    last_characters: NDArray[np.int32],
    most: int,
    longest: int,
) -> _Candidates:
    """Give the best spans of some windows."""
    spans = best_spans(starts, ends, first_characters >= 0, longest, most)
    rows = np.broadcast_to(np.arange(len(starts))[:, None], spans.scores.shape)
    real = np.isfinite(spans.scores)
    row, first, last = rows[real], spans.firsts[real], spans.lasts[real]
    return _Candidates(
        owners[row],
        first_characters[row, first],
        last_characters[row, last],
        starts[row, first].astype(np.float64),
        ends[row, last].astype(np.float64),
    )


def _null_logits(
    starts: NDArray[Any], ends: NDArray[Any], owners: NDArray[np.int64], questions: int
) -> NDArray[np.float64]:
    """Give the scores of "no answer" in the window of each question where they are least. Shape: (Q, 2)."""
    order = np.lexsort((starts.astype(np.float64) + ends, owners))
    found, first = np.unique(owners[order], return_index=True)
    null = np.zeros((questions, 2))
    null[found] = np.stack([starts, ends], axis=1)[order[first]]
    return null


def _each_once(candidates: _Candidates) -> _Candidates:
    """Keep of equal places in the same context the one that scores most."""
    order = np.lexsort((-candidates.scores(), candidates.ends, candidates.begins, candidates.owners))
    sorted_ = candidates.chosen(order)
    places = np.stack([sorted_.owners, sorted_.begins, sorted_.ends])
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (places[:, 1:] != places[:, :-1]).any(axis=0)
    return sorted_.chosen(is_new)


def _best_of_each(candidates: _Candidates, questions: int, most: int, null: NDArray[np.float64]) -> Answers:
    """Put the best answers of each question into a row."""
    best = candidates.chosen(np.lexsort((-candidates.scores(), candidates.owners)))
    rank = np.arange(len(best.owners)) - np.searchsorted(best.owners, best.owners)
    kept = rank < most
    best, rank = best.chosen(kept), rank[kept]
    found = Answers(
        begins=np.full((questions, most), -1, dtype=np.int32),
        ends=np.zeros((questions, most), dtype=np.int32),
        start_logits=np.full((questions, most), -np.inf),
        end_logits=np.full((questions, most), -np.inf),
        null_logits=null,
    )
    columns = ("begins", "ends", "start_logits", "end_logits")
    for name in columns:
        getattr(found, name)[best.owners, rank] = getattr(best, name)
    return found
