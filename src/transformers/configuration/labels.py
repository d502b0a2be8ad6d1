"""The labels of a configuration: two maps between class ids and names that agree, and their number."""

from __future__ import annotations

import operator
from typing import Any

__all__ = ["LabelFields", "drop_other_labels"]


class LabelFields:
    """The part of a configuration that names the classes.

    Attributes:
        id2label: Names of the classes by their ids.
        label2id: The reverse.
    """

    id2label: dict[int, str]
    label2id: dict[str, int]

    @property
    def num_labels(self) -> int:
        """Number of classes; setting it renames them LABEL_0, LABEL_1, ….

        Raises:
            ValueError: If it is set to anything but a whole number of at least 1.
        """
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, num_labels: int) -> None:
        whole = hasattr(num_labels, "__index__") and not isinstance(num_labels, bool)  # NumPy's integers too
        if not whole or num_labels < 1:
            raise ValueError(f"num_labels is {num_labels!r}; a whole number of at least 1 was expected.")
        num_labels = operator.index(num_labels)
        self.id2label = {index: f"LABEL_{index}" for index in range(num_labels)}
        self.label2id = {name: index for index, name in self.id2label.items()}

    def _set_labels(
        self,
        num_labels: int | None,
        id2label: dict[int, str] | dict[str, str] | list[str] | None,
        label2id: dict[str, int] | None,
    ) -> None:
        """Make the two label maps agree with each other and with the number of labels."""
        if isinstance(id2label, (list, tuple)):
            id2label = dict(enumerate(id2label))
        if id2label is None:
            self.num_labels = 2 if num_labels is None else num_labels
        else:
            if num_labels is not None and num_labels != len(id2label):
                raise ValueError(f"num_labels is {num_labels}, but id2label names {len(id2label)} labels: {id2label}.")
            try:
                self.id2label = {int(key): value for key, value in id2label.items()}
                self.label2id = {value: key for key, value in self.id2label.items()}
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(f"id2label is {id2label!r}; a mapping of class ids to names was expected.") from error
        if label2id is not None:
            try:
                self.label2id = {key: int(value) for key, value in label2id.items()}
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(f"label2id is {label2id!r}; a mapping of names to class ids was expected.") from error


def drop_other_labels(content: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Forget a file's label names where the caller asks for others, or for another number of them.

    Args:
        content: As read from ``config.json``; changed in place.
        overrides: The caller's values of fields.
    """
    if "num_labels" not in overrides and "id2label" not in overrides:
        return
    wanted = overrides.get("num_labels")
    same_number = "id2label" not in overrides and len(content.get("id2label") or ()) == wanted
    content.pop("num_labels", None)
    if not same_number:
        content.pop("id2label", None)
        content.pop("label2id", None)
