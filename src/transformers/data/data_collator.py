"""From a list of examples to one batch of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np
import torch

from ..tokenization.batch import to_tensor
from ..tokenization.padding import collate_rows, pad_rows
from ..tokenization_utils_base import PreTrainedTokenizerBase
from ..utils.generic import PaddingStrategy
from ..utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        ".multiple_choice": ("DataCollatorForMultipleChoice",),
        ".whole_word_mask": ("DataCollatorForWholeWordMask",),
    },
)

__getattr__ = _LAZY.load

__all__ = [
    "DataCollator",
    "DataCollatorForLanguageModeling",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "InputDataClass",
    "default_data_collator",
]

InputDataClass = Any
"""One example: a dictionary or a dataclass."""

DataCollator = Callable[[list[Any]], dict[str, Any]]
"""Turns a list of examples into a batch."""

_LABELS = ("label", "label_ids", "labels")


def _as_dict(example: Any) -> Mapping[str, Any]:
    """Give an example as a dictionary.

    Raises:
        TypeError: If it is neither a mapping nor an object with attributes.
    """
    if isinstance(example, Mapping):
        return example
    if is_dataclass(example) and not isinstance(example, type):
        return asdict(example)
    if hasattr(example, "__dict__"):
        return vars(example)
    raise TypeError(f"An example is a {type(example).__name__}; a dictionary or a dataclass was expected.")


def _is_text(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, str)


def _with_numeric_labels(features: Sequence[Any]) -> Sequence[Any]:
    """Read labels that are numbers written as text, as ``datasets`` keeps them where the column was text before.

    Text beside another label, such as a class's name beside its id, is no label and stays.

    Raises:
        ValueError: If the only label is any other text, or some examples have a label and others have none.
    """
    if not features or isinstance(features, Mapping):  # a batch already
        return features
    _check_all_or_none(features)
    first = _as_dict(features[0])
    labels = [name for name in _LABELS if first.get(name) is not None]
    if not labels or not all(_is_text(first[name]) for name in labels):
        return features
    return [{**_as_dict(row), **{name: _number(_as_dict(row).get(name), name) for name in labels}} for row in features]


def _check_all_or_none(features: Sequence[Any]) -> None:
    """Refuse a batch of which some examples have a label: it would pass for one without labels, or fail obscurely."""
    rows = [_as_dict(row) for row in features]
    for name in _LABELS:
        without = [number for number, row in enumerate(rows) if row.get(name) is None]
        if 0 < len(without) < len(rows):
            raise ValueError(
                f"{len(without)} of the {len(rows)} examples of a batch have no '{name}' (the first is number "
                f"{without[0]} of it), and the others have one. Give every example its label, or none."
            )


def _number(value: Any, column: str) -> Any:
    """Read a number, or nested numbers, written as text."""
    if isinstance(value, list | tuple):
        return [_number(item, column) for item in value]
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(value)
            if math.isfinite(number):
                return number
    raise ValueError(
        f"The column '{column}' holds the text {value!r}, where a label must be a number: map its texts to class "
        "numbers first (0, 1, …)."
    )


def default_data_collator(features: Sequence[Any], return_tensors: str = "pt") -> dict[str, Any]:
    """Stack the values of examples whose rows are equally long already.

    ``label`` and ``label_ids`` become ``labels``; numbers written as text are read there. Other entries that are None
    or text are left out.

    Args:
        features: Dictionaries or objects with attributes; all have the keys of the first.
        return_tensors: ``"pt"`` or ``"np"``.

    Returns:
        For each key one tensor whose first axis counts the examples: whole numbers as int64, fractions as float32.

    Raises:
        ValueError: If rows differ in length, keys are missing, a label is text, or there are no examples.
    """
    if not features:
        raise ValueError("There are no examples to make a batch of.")
    batch: dict[str, Any] = {}
    for name, values in collate_rows([_as_dict(feature) for feature in _with_numeric_labels(features)]).items():
        if values[0] is None or _is_text(values[0]):
            continue
        key = "labels" if name in _LABELS else name
        try:
            batch[key] = to_tensor(values, return_tensors)
        except (ValueError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"'{name}' cannot become one tensor: {error} Rows that differ in length need DataCollatorWithPadding."
            ) from error
    return batch


@dataclass
class DataCollatorWithPadding:
    """Fills the examples up to one length.

    Args:
        tokenizer: Knows what to fill up with, and on which side.
        padding: True or ``"longest"``, ``"max_length"``, False or ``"do_not_pad"``.
        max_length: The length for ``"max_length"``, in tokens.
        pad_to_multiple_of: Round the length up to a multiple of this.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: PreTrainedTokenizerBase
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch.

        Args:
            features: Encoded texts; ``label`` and ``label_ids`` become ``labels`` (numbers written as text are read),
                other entries are stacked.

        Returns:
            The batch: ``input_ids`` and its like as int64 of shape (examples, longest).

        Raises:
            ValueError: If examples differ in keys, an entry cannot be stacked, a label is text, or the tokenizer has
                no padding token.
        """
        batch = self.tokenizer.pad(
            _with_numeric_labels(features),
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors=self.return_tensors,
        )
        for name in ("label", "label_ids"):
            if name in batch:
                batch["labels"] = batch.pop(name)
        return batch  # type: ignore[return-value]


@dataclass
class DataCollatorForTokenClassification:
    """Fills the examples and their labels, one per token, up to one length.

    Args:
        tokenizer: Knows what to fill up with, and on which side.
        padding: True or ``"longest"``, ``"max_length"``, False or ``"do_not_pad"``.
        max_length: The length for ``"max_length"``, in tokens.
        pad_to_multiple_of: Round the length up to a multiple of this.
        label_pad_token_id: What to fill the labels with; the loss leaves -100 out.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: PreTrainedTokenizerBase
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = -100
    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch; examples without ``label`` or ``labels`` are fine.

        Raises:
            ValueError: If an example has more labels than the batch is long, or as `DataCollatorWithPadding` does.
        """
        name = next((name for name in ("label", "labels") if features and name in features[0]), None)
        inputs = [{key: value for key, value in feature.items() if key != name} for feature in features]
        pad = DataCollatorWithPadding(
            self.tokenizer, self.padding, self.max_length, self.pad_to_multiple_of, self.return_tensors
        )
        batch = pad(inputs)
        if name is None:
            return batch
        labels = collate_rows(features)[name]
        length = batch[self.tokenizer.model_input_names[0]].shape[1]
        for index, row in enumerate(labels):
            if len(row) > length:
                raise ValueError(f"Example {index} has {len(row)} labels, but the batch is {length} tokens long.")
        filled = pad_rows(labels, length, self.label_pad_token_id, self.tokenizer.padding_side)
        batch["labels"] = to_tensor(filled, self.return_tensors)
        return batch


@dataclass
class DataCollatorForLanguageModeling:
    """Makes batches for masked language modelling.

    Of the tokens that are not special, ``mlm_probability`` are to be predicted: of these 80 % become the mask token,
    10 % a random token and 10 % stay (BERT, section 3.1), unless other shares are given. Labels are -100 everywhere
    else.

    Args:
        tokenizer: Must have a mask token with ``mlm``.
        mlm: False gives the ids themselves as labels, -100 at padding.
        mlm_probability: The share of tokens to predict.
        pad_to_multiple_of: Round the length up to a multiple of this.
        mask_replace_prob: The share of them that becomes the mask token.
        random_replace_prob: The share of them that becomes a random token; the rest stays.

    Raises:
        ValueError: If ``mlm`` is asked of a tokenizer without mask token, a share is not within 0 and 1, or the last
            two are more than 1 together.
    """

    tokenizer: PreTrainedTokenizerBase
    mlm: bool = True
    mlm_probability: float = 0.15
    pad_to_multiple_of: int | None = None
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1

    def __post_init__(self) -> None:
        if self.mlm and self.tokenizer.mask_token is None:
            raise ValueError("This tokenizer has no mask token, without which nothing can be masked; use mlm=False.")
        for name in ("mlm_probability", "mask_replace_prob", "random_replace_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a share from 0 to 1 was expected.")
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError(
                f"mask_replace_prob {self.mask_replace_prob} and random_replace_prob {self.random_replace_prob} are "
                "more than 1 together; what neither of them replaces stays."
            )

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        """Make a batch with ``labels``.

        Args:
            examples: Encoded texts, or lists or tensors of ids. ``special_tokens_mask`` says what never to mask.

        Returns:
            The batch; ``input_ids`` and ``labels`` of shape (examples, longest).
        """
        features = [example if isinstance(example, Mapping) else {"input_ids": example} for example in examples]
        batch: dict[str, Any] = self.tokenizer.pad(  # type: ignore[assignment]
            features, pad_to_multiple_of=self.pad_to_multiple_of, return_tensors="pt"
        )
        special = batch.pop("special_tokens_mask", None)
        if self.mlm:
            batch["input_ids"], batch["labels"] = self.mask_tokens(batch["input_ids"], special)
            return batch
        labels = batch["input_ids"].clone()
        if self.tokenizer.pad_token_id is not None:
            labels[labels == self.tokenizer.pad_token_id] = -100
        batch["labels"] = labels
        return batch

    def mask_tokens(
        self,
        inputs: torch.Tensor,
        special_tokens_mask: torch.Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the tokens to predict, and hide most of them.

        Args:
            inputs: Ids of shape (examples, length); not changed.
            special_tokens_mask: 1 where a token must stay, same shape; by default wherever a special token stands.
            generator: What the choice is drawn from; PyTorch's own where None.

        Returns:
            The masked ids and the labels, both of the inputs' shape.
        """
        special = self._special(inputs, special_tokens_mask)
        chance = torch.rand(inputs.shape, device=inputs.device, generator=generator)
        return self._hide(inputs, (chance < self.mlm_probability) & ~special, generator)

    def _special(self, inputs: torch.Tensor, special_tokens_mask: torch.Tensor | None) -> torch.Tensor:
        """Say where tokens must stay."""
        if special_tokens_mask is not None:
            return special_tokens_mask.bool()
        return torch.isin(inputs, torch.tensor(self.tokenizer.all_special_ids, device=inputs.device))

    def _hide(
        self, inputs: torch.Tensor, chosen: torch.Tensor, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hide most of the chosen tokens; give the ids and the labels."""
        labels = torch.where(chosen, inputs, -100)
        fate = torch.rand(inputs.shape, device=inputs.device, generator=generator)
        mask_id = self.tokenizer.special_token("mask_token")[1]
        masked = torch.where(chosen & (fate < self.mask_replace_prob), mask_id, inputs)
        random_ids = torch.randint(
            len(self.tokenizer), inputs.shape, dtype=inputs.dtype, device=inputs.device, generator=generator
        )
        stays = fate >= self.mask_replace_prob + self.random_replace_prob
        is_random = chosen & (fate >= self.mask_replace_prob) & ~stays
        return torch.where(is_random, random_ids, masked), labels


def tolist(x: list[Any] | torch.Tensor | np.ndarray[Any, Any]) -> list[Any]:
    """Give a tensor or array as a list; a list as it is."""
    return x if isinstance(x, list) else list(x.tolist())
