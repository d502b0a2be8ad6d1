"""The examples of a run, with every problem named before training starts, and their tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from choice_arguments import DataTrainingArguments
from choice_files import Examples, read_examples
from common.identity import hash_rows
from common.long_texts import cut_long_texts
from common.splits import column, on_disk
from common.tokens import bars, max_length
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["CONTEXT", "CUT", "ENDINGS", "LABEL", "ChoiceData", "encode_examples", "load_examples", "tokenize_examples"]

logger = logging.get_logger("transformers.examples.choice_data")

CONTEXT, ENDINGS, LABEL = "context", "endings", "label"

CUT = "cut"
"""The column that says how many texts of an example were cut."""


@dataclass
class ChoiceData:
    """The examples of a run; each split has the columns `CONTEXT`, `ENDINGS` and, where they are known, `LABEL`.

    Attributes:
        train: The training split; None where it is not needed.
        validation: The validation split by its name, or nothing.
        test: The examples to predict by their name, or nothing.
        sources: The files, by the split's name.
        hashes: Of the content of the training split and the validation split, by name.
    """

    train: Dataset | None = None
    validation: dict[str, Dataset] = field(default_factory=dict)
    test: dict[str, Dataset] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


def load_examples(data_args: DataTrainingArguments, args: TrainingArguments) -> ChoiceData:
    """Read the files that the run needs.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If one has no examples, or some that are not whole; the message says where.
    """
    evaluates = args.do_eval or args.evaluation_strategy != "no"
    files = {
        "train": (data_args.train_file if args.do_train else None, data_args.max_train_samples),
        "validation": (data_args.validation_file if evaluates else None, data_args.max_val_samples),
        "test": (data_args.test_file if args.do_predict else None, data_args.max_test_samples),
    }
    splits, data = {}, ChoiceData()
    for name, (path, limit) in files.items():
        if path is not None:
            splits[name] = _to_split(read_examples(path, data_args.file_encoding, labelled=name != "test"), limit)
            data.sources[name] = path
    data.train = splits.get("train")
    data.validation = {name: split for name, split in splits.items() if name == "validation"}
    data.test = {name: split for name, split in splits.items() if name == "test"}
    if data.train is not None:
        data.hashes = {"training": hash_rows(data.train, (CONTEXT, ENDINGS, LABEL))}
        if args.load_best_model_at_end and data.validation:
            data.hashes["validation"] = hash_rows(data.validation["validation"], (CONTEXT, ENDINGS, LABEL))
    return data


def _to_split(examples: Examples, limit: int | None) -> Dataset:
    from datasets import Dataset, Features, List, Value

    content: dict[str, Any] = {CONTEXT: examples.contexts[:limit], ENDINGS: examples.endings[:limit]}
    features: dict[str, Any] = {CONTEXT: Value("string"), ENDINGS: List(Value("string"))}
    if examples.labels is not None:
        content[LABEL], features[LABEL] = examples.labels[:limit], Value("int64")
    return on_disk(Dataset.from_dict(content, features=Features(features)))


def encode_examples(batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, length: int) -> dict[str, Any]:
    """Tokenize examples: their context with each of their endings.

    Args:
        batch: The columns `CONTEXT` and `ENDINGS`.
        tokenizer: The model's.
        length: Longer texts are cut to this many tokens, at the end of the longer one of context and ending.

    Returns:
        What the tokenizer gives, of each example a row for each ending; `CUT`.
    """
    number = len(batch[ENDINGS][0])
    first = [context for context in batch[CONTEXT] for _ in range(number)]
    second = [ending for endings in batch[ENDINGS] for ending in endings]
    texts = cut_long_texts([first, second], length, tokenizer)
    whole = [len(ids) for ids in tokenizer(*texts, truncation=False, verbose=False)["input_ids"]]
    encoded = dict(tokenizer(*texts, truncation=True, max_length=length))
    rows = {
        name: [values[at : at + number] for at in range(0, len(values), number)] for name, values in encoded.items()
    }
    cut = [size > length for size in whole]
    return {**rows, CUT: [sum(cut[at : at + number]) for at in range(0, len(cut), number)]}


def tokenize_examples(
    data: ChoiceData, tokenizer: PreTrainedTokenizerBase, data_args: DataTrainingArguments, args: TrainingArguments
) -> None:
    """Tokenize all splits in place, and say how many texts were cut.

    Args:
        data: The data; test examples keep no label.
        tokenizer: The model's tokenizer.
        data_args: Length and cache.
        args: For the order among several processes.
    """
    length = max_length(data_args.max_seq_length, tokenizer)

    def tokenize(split: Dataset, name: str) -> Dataset:
        found = split.map(
            lambda batch: encode_examples(batch, tokenizer, length),
            batched=True,
            load_from_cache_file=not data_args.overwrite_cache,
            desc="Tokenizing",
        )
        cut = sum(column(found, CUT))
        if cut and args.process_index == 0:
            logger.warning(
                "'%s': %d of %d texts (a context with an ending) have more than %d tokens and are cut; "
                "--max_seq_length says where.",
                data.sources[name],
                cut,
                len(found) * len(found[0][ENDINGS]),
                length,
            )
        return found

    with args.main_process_first(desc="tokenizing"), bars(not args.disable_tqdm):
        if data.train is not None:
            data.train = tokenize(data.train, "train")
        data.validation = {name: tokenize(split, name) for name, split in data.validation.items()}
        data.test = {name: tokenize(split, name) for name, split in data.test.items()}
