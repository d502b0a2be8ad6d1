"""From labelled texts to token ids and the model's class ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.long_texts import cut_long_texts
from common.splits import LABEL, column
from common.tokens import bars, max_length
from glue_arguments import DataTrainingArguments
from glue_data import TextData
from transformers import PreTrainedTokenizerBase, TrainingArguments

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["tokenize_data"]

_CUT = "cut"


def tokenize_data(
    data: TextData,
    tokenizer: PreTrainedTokenizerBase,
    label2id: dict[str, int],
    data_args: DataTrainingArguments,
    args: TrainingArguments,
) -> None:
    """Tokenize all splits in place and number their labels as the model does.

    Args:
        data: The data; its splits get ``input_ids``, ``attention_mask`` (``token_type_ids``) and ``labels``;
            which texts are cut is kept beside them.
        tokenizer: The model's tokenizer.
        label2id: The model's classes.
        data_args: Length, padding and cache.
        args: For the order among several processes.

    Raises:
        ValueError: If a label is not among the model's classes.
    """
    length = max_length(data_args.max_seq_length, tokenizer)
    ids = {**{name.lower(): index for name, index in label2id.items()}, **label2id}

    # What the function below holds is what the cached result is found by: only what it depends on.
    columns, problem, padding = data.columns, data.problem, "max_length" if data_args.pad_to_max_length else False

    def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
        texts = cut_long_texts([batch[each] for each in columns], length, tokenizer)
        found = tokenizer(*texts, padding=padding, max_length=length, truncation=True)
        encoded = {**found, _CUT: [bool(each.overflowing) for each in found.encodings or ()]}
        if LABEL in batch:
            encoded["labels"] = _number_labels(batch[LABEL], ids, problem)
        return encoded

    def tokenize(split: Dataset, name: str, is_test: bool = False) -> Dataset:
        if is_test and LABEL in split.column_names:
            split = split.remove_columns(LABEL)  # GLUE's are all -1
        found = split.map(
            encode,
            batched=True,
            remove_columns=[each for each in split.column_names if each != "idx"],
            load_from_cache_file=not data_args.overwrite_cache,
            desc="Tokenizing",
        )
        data.cut[name] = np.asarray(column(found, _CUT), dtype=bool)
        return found.remove_columns(_CUT)

    with args.main_process_first(desc="tokenizing"), bars(not args.disable_tqdm):
        if data.train is not None:
            data.train = tokenize(data.train, "train")
        data.validation = {name: tokenize(split, name) for name, split in data.validation.items()}
        data.test = {name: tokenize(split, name, is_test=True) for name, split in data.test.items()}


def _number_labels(values: list[Any], ids: dict[str, int], problem: str | None) -> list[Any]:
    """Turn labels into values, into the model's class ids, or into a 0 or 1 for each of its classes."""
    if problem == "regression":
        return [float(value) for value in values]
    if problem == "multi_label_classification":
        return [_switches(_ids_of(row, ids), max(ids.values()) + 1) for row in values]
    return _ids_of([str(value) for value in values], ids)


def _ids_of(names: list[str], ids: dict[str, int]) -> list[int]:
    unknown = sorted({name for name in names if name not in ids and name.lower() not in ids})
    if unknown:
        raise ValueError(f"The label '{unknown[0]}' is not among the model's classes: {', '.join(ids)}.")
    return [ids[name] if name in ids else ids[name.lower()] for name in names]


def _switches(present: list[int], number: int) -> list[float]:
    return [1.0 if index in present else 0.0 for index in range(number)]
