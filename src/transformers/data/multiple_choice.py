"""Batches of examples that are several texts each, one of which is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tokenization.batch import to_tensor
from .data_collator import DataCollatorWithPadding

__all__ = ["DataCollatorForMultipleChoice"]

_LABELS = ("label", "labels")


@dataclass
class DataCollatorForMultipleChoice(DataCollatorWithPadding):
    """Fills the texts of all examples up to one length; its arguments are those of `DataCollatorWithPadding`."""

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch; examples without ``label`` or ``labels`` are fine.

        Args:
            features: In each entry an example has a row for each of its choices.

        Returns:
            The batch: ``input_ids`` and its like of shape (examples, choices, longest), ``labels`` of shape
            (examples,).

        Raises:
            ValueError: If examples differ in the number of their choices, or as `DataCollatorWithPadding` does.
        """
        name = next((name for name in _LABELS if features and name in features[0]), None)
        numbers = [len(feature[self.tokenizer.model_input_names[0]]) for feature in features]
        for index, number in enumerate(numbers):
            if number != numbers[0]:
                raise ValueError(
                    f"Example {index} of the batch has {number} choices, and example 0 has {numbers[0]}; all examples "
                    "of a batch need the same number."
                )
        texts = [
            {key: rows[choice] for key, rows in feature.items() if key != name}
            for feature, number in zip(features, numbers, strict=True)
            for choice in range(number)
        ]
        padded = super().__call__(texts)
        batch = {key: value.reshape(len(features), numbers[0], *value.shape[1:]) for key, value in padded.items()}
        if name is not None:
            batch["labels"] = to_tensor([feature[name] for feature in features], self.return_tensors)
        return batch
