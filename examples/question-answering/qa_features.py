"""From questions to windows of tokens, the answer's first and last token in each, and every token's characters.

A context that is too long is read in windows that overlap. A window that does not hold the whole answer has its first
token, which stands for "no answer", as the right one (Devlin et al. 2019, section 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.splits import column
from common.tokens import bars, max_length
from qa_arguments import DataTrainingArguments
from qa_data import ANSWERS, CONTEXT, ID, QUESTION, STARTS, QuestionData
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "BEGINS",
    "ENDS",
    "LONGEST_CONTEXT",
    "OWNER",
    "Windows",
    "answer_tokens",
    "encode_questions",
    "make_features",
]

logger = logging.get_logger("transformers.examples.qa_features")

OWNER, BEGINS, ENDS = "question_number", "begins", "ends"
"""Columns of features: the number of the question in its split; each token's first character in the context, -1 where
it is none of the context or has nothing but white space; and the one after its last."""

LONGEST_CONTEXT = 200_000
"""Characters of a context that is read: the library takes 160 bytes for each, and a batch has `_AT_ONCE` questions."""

_AT_ONCE = 64
_LAST_BLANK = 0x3000
_IS_BLANK = np.array([chr(code).isspace() for code in range(_LAST_BLANK + 2)])


@dataclass(frozen=True)
class Windows:
    """How contexts are read.

    Attributes:
        length: Tokens of a window, question and special ones included.
        stride: Tokens that neighbours share.
        padded: Whether each has the full length.
    """

    length: int
    stride: int
    padded: bool = False


def encode_questions(
    batch: Mapping[str, Sequence[Any]],
    numbers: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    windows: Windows,
    labelled: bool,
) -> dict[str, Any]:
    """Tokenize questions with their contexts, in as many windows as these need.

    Args:
        batch: The columns `ID`, `QUESTION`, `CONTEXT`, and `ANSWERS` and `STARTS` where these are to be learned.
        numbers: The questions' numbers.
        tokenizer: The model's tokenizer, which pads on the right.
        windows: How contexts are read.
        labelled: Whether to give ``start_positions`` and ``end_positions``: those of the first answer, 0 where the
            window does not hold it.

    Returns:
        What the tokenizer gives for each window, and `OWNER`, `BEGINS` and `ENDS`.

    Raises:
        ValueError: If a question leaves no room for new text in each window, or a context is too long.
    """
    questions = [text.lstrip() for text in batch[QUESTION]]
    _check_room(batch, questions, tokenizer, windows)
    encoded = tokenizer(
        questions,
        list(batch[CONTEXT]),
        truncation="only_second",
        max_length=windows.length,
        stride=windows.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length" if windows.padded else False,
        verbose=False,
    )
    owners, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    filled = {context: _characters_before(context) for context in set(batch[CONTEXT])}  # several questions share one
    parts = [np.array([part == 1 for part in encoded.sequence_ids(row)]) for row in range(len(owners))]
    spans = [
        _spans(np.array(offset), of_context, filled[batch[CONTEXT][owner]])
        for offset, of_context, owner in zip(offsets, parts, owners, strict=True)
    ]
    found = {**encoded, OWNER: [numbers[owner] for owner in owners]}
    found[BEGINS], found[ENDS] = [begins for begins, _ in spans], [ends for _, ends in spans]
    if labelled:
        before = _tokens_before([int(of_context.sum()) for of_context in parts], owners, windows.stride)
        places = _positions(spans, owners, _first_answers(batch), before)
        found["start_positions"], found["end_positions"] = places[:, 0], places[:, 1]
    return found


def _first_answers(batch: Mapping[str, Sequence[Any]]) -> list[tuple[int, int] | None]:
    """Give the first character of each question's first answer, and the one after its last; None without one."""
    rows = zip(batch[ANSWERS], batch[STARTS], strict=True)
    return [(starts[0], starts[0] + len(answers[0])) if answers else None for answers, starts in rows]


def _check_room(
    batch: Mapping[str, Sequence[Any]], questions: Sequence[str], tokenizer: PreTrainedTokenizerBase, windows: Windows
) -> None:
    for name, context in zip(batch[ID], batch[CONTEXT], strict=True):
        if len(context) > LONGEST_CONTEXT:
            raise ValueError(
                f"The context of question '{name}' has {len(context):,} characters, and up to {LONGEST_CONTEXT:,} are "
                "read; give the part of it that may hold the answer."
            )
    special = tokenizer.num_special_tokens_to_add(pair=True)
    alone = tokenizer(list(questions), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    for name, ids in zip(batch[ID], alone, strict=True):
        room = windows.length - special - len(ids)
        if room <= windows.stride:
            raise ValueError(
                f"Question '{name}' has {len(ids)} tokens, which leaves {max(room, 0)} of a window of "
                f"{windows.length} for its context, and neighbouring windows share {windows.stride} of these "
                "(--doc_stride): there is no room for new text. Give a smaller --doc_stride, a larger "
                "--max_seq_length, or a shorter question."
            )


def _characters_before(context: str) -> NDArray[np.int64]:
    """Count the characters that are no white space before each place. Shape: (characters + 1,)."""
    codes = np.frombuffer(context.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.concatenate([[0], np.cumsum(~_IS_BLANK[np.minimum(codes, _LAST_BLANK + 1)])])


def _spans(
    offsets: NDArray[np.int64], of_context: NDArray[np.bool_], filled: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Give each token's first character and the one after its last; -1 and 0 where it may be no answer's."""
    begins, ends = np.where(of_context[:, None], offsets, 0).T
    says_something = of_context & (filled[ends] > filled[begins])
    return np.where(says_something, begins, -1).astype(np.int32), np.where(says_something, ends, 0).astype(np.int32)


def answer_tokens(begins: NDArray[Any], ends: NDArray[Any], start: int, stop: int) -> tuple[int, int] | None:
    """Find the first and the last token that have characters of an answer; None where none has.

    Args:
        begins: By `BEGINS`, of one window.
        ends: By `ENDS`, likewise.
        start: The answer's first character.
        stop: The one after its last.
    """
    found = np.flatnonzero((begins >= 0) & (begins < stop) & (ends > start))
    return (int(found[0]), int(found[-1])) if len(found) else None


def _positions(
    spans: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    owners: Sequence[int],
    answers: Sequence[tuple[int, int] | None],
    before: Sequence[int],
) -> NDArray[np.int64]:
    """Give the answer's first and last token of each window, 0 where it has not all of it. Shape: (windows, 2).

    All of an answer is what all of its question's windows have of it: the tokenizer may leave nothing of a character
    at its end. It is counted in tokens: a window that begins within a character of several tokens lacks some.
    """
    places = np.zeros((len(spans), 2), dtype=np.int64)
    reach: dict[int, tuple[int, int]] = {}
    for row, ((begins, ends), owner) in enumerate(zip(spans, owners, strict=True)):
        answer = answers[owner]
        tokens = answer and answer_tokens(begins, ends, *answer)
        if tokens:
            places[row] = tokens
            low, high = (place + before[row] for place in tokens)
            so_far = reach.get(owner, (low, high))
            reach[owner] = min(so_far[0], low), max(so_far[1], high)
    for row, owner in enumerate(owners):
        first, last = (int(place) + before[row] for place in places[row])
        if places[row].any() and (first, last) != reach[owner]:
            places[row] = 0
    return places


def _tokens_before(lengths: Sequence[int], owners: Sequence[int], stride: int) -> list[int]:
    """Count the tokens of a context that come before each of its windows.

    Args:
        lengths: How many tokens of the context each window has.
        owners: Each window's row.
        stride: How many tokens neighbouring windows share.
    """
    before: list[int] = []
    for row, owner in enumerate(owners):
        goes_on = row > 0 and owners[row - 1] == owner
        before.append(before[-1] + lengths[row - 1] - stride if goes_on else 0)
    return before


def make_features(
    data: QuestionData,
    tokenizer: PreTrainedTokenizerBase,
    longest: int,
    data_args: DataTrainingArguments,
    args: TrainingArguments,
) -> dict[str, Dataset]:
    """Make the windows of all splits, and say how many answers no window holds.

    Args:
        data: The questions.
        tokenizer: The model's tokenizer.
        longest: How many tokens the model reads.
        data_args: Length, stride and cache.
        args: For the order among several processes.

    Returns:
        The windows, by the split's name. Training questions whose answer no window holds have none: nothing right
        could be learned from them.

    Raises:
        ValueError: As of `encode_questions`.
    """
    length = min(longest, max_length(data_args.max_seq_length, tokenizer))
    windows = Windows(length, data_args.doc_stride, data_args.pad_to_max_length)

    def tokenize(name: str, split: Dataset) -> Dataset:
        labelled = name != "test"
        try:
            features = split.map(
                lambda batch, numbers: encode_questions(batch, numbers, tokenizer, windows, labelled),
                batched=True,
                batch_size=_AT_ONCE,
                with_indices=True,
                remove_columns=split.column_names,
                load_from_cache_file=not data_args.overwrite_cache,
                desc="Tokenizing",
            )
        except ValueError as error:
            raise ValueError(f"'{data.sources[name]}': {error}") from error
        return _with_held_answers(features, split, name, data.sources[name], windows) if labelled else features

    with args.main_process_first(desc="tokenizing"), bars(not args.disable_tqdm):
        return {name: tokenize(name, split) for name, split in data.questions.items()}


def _with_held_answers(features: Dataset, split: Dataset, name: str, source: str, windows: Windows) -> Dataset:
    """Say how many answers no window holds; leave such questions out of what is learned from."""
    owners, firsts = (np.array(features.with_format("numpy")[column]) for column in (OWNER, "start_positions"))
    answered = np.array([bool(answers) for answers in column(split, ANSWERS)])
    held = np.zeros(len(split), dtype=bool)
    held[owners[firsts > 0]] = True
    lost = np.flatnonzero(answered & ~held)
    if not len(lost):
        return features
    logger.warning(
        "'%s': the answers of %d of %d questions are in no window of %d tokens, as they are longer than what windows "
        "share (--doc_stride %d), or the tokenizer leaves nothing of them; the first is '%s'. %s",
        source,
        len(lost),
        len(split),
        windows.length,
        windows.stride,
        split[int(lost[0])][ID],
        "Nothing is learned from them." if name == "train" else "They are scored like all others.",
    )
    if name != "train":
        return features
    kept = np.flatnonzero(~np.isin(owners, lost))
    if not len(kept):
        raise ValueError(
            f"'{source}': no window holds an answer; there is nothing to learn. Give a larger --doc_stride."
        )
    return features.select(kept)
