"""From words to token ids, each word's tag on its first token; words that are lost are counted and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.tokens import bars, max_length
from ner_arguments import DataTrainingArguments
from ner_data import PLACE, TAGS, WORDS, SentenceData
from ner_tags import continued
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["CUT", "FIRST", "VANISHED", "encode_sentences", "tokenize_sentences"]

logger = logging.get_logger("transformers.examples.ner_tokens")

FIRST = "first_tokens"
VANISHED, CUT = -1, -2
"""In the column `FIRST` in place of a word's first token: the tokenizer leaves nothing of it, or it stands too far
behind."""

_NOT_COUNTED = -100


def encode_sentences(
    batch: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerBase,
    label2id: Mapping[str, int],
    longest: int,
    cut: bool,
    all_tokens: bool = False,
) -> dict[str, Any]:
    """Tokenize sentences.

    Args:
        batch: The columns `WORDS`, `PLACE` and, where the tags are to be learned, `TAGS`.
        tokenizer: The model's tokenizer; a byte-level one with ``add_prefix_space``.
        label2id: The model's labels.
        longest: How many tokens are read.
        cut: Whether longer sentences are cut; else they are refused.
        all_tokens: Give the word's tag to its further tokens too.

    Returns:
        What the tokenizer gives; ``labels`` of each token, -100 where none counts; `FIRST`, the place of each word's
        first token, `VANISHED` or `CUT`.

    Raises:
        ValueError: If a sentence is too long.
    """
    whole = tokenizer(list(batch[WORDS]), is_split_into_words=True, truncation=False, verbose=False)
    lengths = [len(ids) for ids in whole["input_ids"]]
    read = whole
    if max(lengths) > longest:
        if not cut:
            row = next(row for row, length in enumerate(lengths) if length > longest)
            raise ValueError(
                f"The sentence in {batch[PLACE][row]} has {lengths[row]} tokens, and the model reads {longest}: part "
                f"it by a blank line, or give --max_seq_length {longest}, which cuts such sentences and says how many."
            )
        read = tokenizer(list(batch[WORDS]), is_split_into_words=True, truncation=True, max_length=longest)
    encoded = dict(read)
    encoded[FIRST] = [
        _first_tokens(read.word_ids(row), whole.word_ids(row), len(words)) for row, words in enumerate(batch[WORDS])
    ]
    if TAGS in batch:
        encoded["labels"] = [
            _labels(read.word_ids(row), tags, label2id, all_tokens) for row, tags in enumerate(batch[TAGS])
        ]
    return encoded


def _first_tokens(read: Sequence[int | None], whole: Sequence[int | None], number: int) -> list[int]:
    there = set(whole)
    first = [CUT if word in there else VANISHED for word in range(number)]
    for place in range(len(read) - 1, -1, -1):
        word = read[place]
        if word is not None:
            first[word] = place
    return first


def _labels(
    word_ids: Sequence[int | None], tags: Sequence[str], label2id: Mapping[str, int], all_tokens: bool
) -> list[int]:
    labels = []
    before: int | None = None
    for word in word_ids:
        if word is None or (word == before and not all_tokens):
            labels.append(_NOT_COUNTED)
        elif word != before:
            labels.append(label2id[tags[word]])
        else:
            labels.append(label2id.get(continued(tags[word]), label2id[tags[word]]))
        before = word
    return labels


def tokenize_sentences(
    data: SentenceData,
    tokenizer: PreTrainedTokenizerBase,
    label2id: dict[str, int],
    longest: int,
    data_args: DataTrainingArguments,
    args: TrainingArguments,
) -> None:
    """Tokenize all splits in place, and say of how many words no token is left.

    Args:
        data: The data; sentences to predict get no ``labels``.
        tokenizer: The model's tokenizer.
        label2id: The model's labels.
        longest: How many tokens the model reads.
        data_args: Length and cache.
        args: For the order among several processes.

    Raises:
        ValueError: If a sentence is longer than the model, and no length was given to cut it to.
    """
    cut = data_args.max_seq_length is not None
    length = min(longest, max_length(data_args.max_seq_length, tokenizer)) if data_args.max_seq_length else longest
    label_all = data_args.label_all_tokens  # the cached result is found by what the function below holds

    def tokenize(split: Dataset, name: str, learned: bool = True) -> Dataset:
        def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
            given = batch if learned else {key: value for key, value in batch.items() if key != TAGS}
            return encode_sentences(given, tokenizer, label2id, length, cut, label_all)

        try:
            found = split.map(
                encode, batched=True, load_from_cache_file=not data_args.overwrite_cache, desc="Tokenizing"
            )
        except ValueError as error:
            raise ValueError(f"'{data.sources[name]}': {error}") from error
        if args.process_index == 0:
            _tell_lost_words(found, data.sources[name], length)
        return found

    with args.main_process_first(desc="tokenizing"), bars(not args.disable_tqdm):
        if data.train is not None:
            data.train = tokenize(data.train, "train")
        data.validation = {name: tokenize(split, name) for name, split in data.validation.items()}
        data.test = {name: tokenize(split, name, learned=False) for name, split in data.test.items()}


def _tell_lost_words(split: Dataset, source: str, length: int) -> None:
    """Say in one line how many words the model never sees."""
    vanished = cut = total = 0
    example = ""
    for row in split.select_columns([FIRST, WORDS, PLACE]):
        first = row[FIRST]
        total += len(first)
        cut += first.count(CUT)
        vanished += first.count(VANISHED)
        if not example and VANISHED in first:
            example = f" (such as {row[WORDS][first.index(VANISHED)]!r} in the sentence of {row[PLACE]})"
    found = []
    if vanished:
        found.append(f"the tokenizer leaves nothing of {vanished}{example}")
    if cut:
        found.append(f"{cut} stand behind the first {length} tokens and are cut")
    if found:
        logger.warning(
            "'%s': of %d words %s. Nothing is learned from them, and each counts as predicted O.",
            source,
            total,
            ", and ".join(found),
        )
