"""From labelled texts to token ids and the model's class ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glue_arguments import DataTrainingArguments
from glue_data import TextData
from glue_splits import LABEL
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["tokenize_data"]

logger = logging.get_logger("transformers.examples.glue_tokens")


def tokenize_data(
    data: TextData,
    tokenizer: PreTrainedTokenizerBase,
    label2id: dict[str, int],
    data_args: DataTrainingArguments,
    args: TrainingArguments,
) -> None:
    """Tokenize all splits in place and number their labels as the model does.

    Args:
        data: The data; its splits get ``input_ids``, ``attention_mask`` (``token_type_ids``) and ``labels``.
        tokenizer: The model's tokenizer.
        label2id: The model's classes.
        data_args: Length, padding and cache.
        args: For the order among several processes.

    Raises:
        ValueError: If a label is not among the model's classes.
    """
    length = _max_length(data_args.max_seq_length, tokenizer)
    ids = {**{name.lower(): index for name, index in label2id.items()}, **label2id}

    def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
        texts = [batch[column] for column in data.columns]
        encoded = dict(
            tokenizer(
                *texts,
                padding="max_length" if data_args.pad_to_max_length else False,
                max_length=length,
                truncation=True,
            )
        )
        if LABEL in batch:
            encoded["labels"] = _number_labels(batch[LABEL], ids, data.regression)
        return encoded

    def tokenize(split: Dataset, is_test: bool = False) -> Dataset:
        if is_test and LABEL in split.column_names:
            split = split.remove_columns(LABEL)  # GLUE's are all -1
        return split.map(
            encode,
            batched=True,
            remove_columns=[name for name in split.column_names if name != "idx"],
            load_from_cache_file=not data_args.overwrite_cache,
            desc="Tokenizing",
        )

    with args.main_process_first(desc="tokenizing"):
        if data.train is not None:
            data.train = tokenize(data.train)
        data.validation = {name: tokenize(split) for name, split in data.validation.items()}
        data.test = {name: tokenize(split, is_test=True) for name, split in data.test.items()}


def _max_length(wanted: int, tokenizer: PreTrainedTokenizerBase) -> int:
    if wanted > tokenizer.model_max_length:
        logger.warning(
            "--max_seq_length %d is more than the model's %d tokens; using %d.",
            wanted,
            tokenizer.model_max_length,
            tokenizer.model_max_length,
        )
    return min(wanted, tokenizer.model_max_length)


def _number_labels(values: list[Any], ids: dict[str, int], regression: bool) -> list[float] | list[int]:
    """Turn labels into values, or into the model's class ids."""
    if regression:
        return [float(value) for value in values]
    spelled = [str(value) for value in values]
    unknown = sorted({name for name in spelled if name not in ids and name.lower() not in ids})
    if unknown:
        raise ValueError(f"The label '{unknown[0]}' is not among the model's classes: {', '.join(ids)}.")
    return [ids[name] if name in ids else ids[name.lower()] for name in spelled]
