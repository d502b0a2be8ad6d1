"""What every pipeline is: texts as people have them, tokens, one computation for all, answers as people read them.

A task says what it takes (`Pipeline._read`), how that becomes rows of tokens (`_encode`), what it wants of a batch's
outputs (`_score`), and what it answers (`_answer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, cast

import torch

from ..heads.head import Head
from ..modeling_utils import PreTrainedModel
from ..tokenization_utils_fast import PreTrainedTokenizerFast
from .computing import Batch, Row, compute
from .options import Options

__all__ = ["Pipeline"]

_AT_ONCE = 1024  # examples that are sorted together


class Pipeline:
    """A model and its tokenizer, behind one call.

    Args:
        model: A model of this package with the head that the task needs.
        tokenizer: Its tokenizer.
        device: Where to compute: a device, its name, or the number of a GPU (-1: the CPU). The GPU where there is one
            and None is given.
        **choices: See the class's ``Options``; each call may choose anew.

    Attributes:
        task: Its name.
        head: The key of `transformers.models.table.TASKS` that its models are loaded with.
        options: What was chosen.

    Raises:
        TypeError: If a choice is not known.
        ValueError: If the model has another head, or a choice is out of its range.
    """

    task: ClassVar[str]
    head: ClassVar[str]
    _heads: ClassVar[tuple[type, ...]]
    options_class: ClassVar[type[Options]] = Options

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        device: int | str | torch.device | None = None,
        **choices: Any,
    ) -> None:
        if not isinstance(model, self._heads):
            raise ValueError(
                f"{self.task} needs a model of the task {self.head}; {type(model).__name__} has another head."
            )
        self.options = self.options_class().with_choices(choices)
        self.device = _device(device)
        self.model, self.tokenizer = cast(Head, model.to(self.device).eval()), tokenizer

    @property
    def longest(self) -> int:
        """The most tokens that a text may have."""
        return min(self.tokenizer.model_max_length, self.model.longest_text or self.tokenizer.model_max_length)

    def __call__(self, inputs: Any, **choices: Any) -> Any:
        """Answer one example, a list of them, or a stream.

        Args:
            inputs: One example: its answer is given. A list or tuple: a list, in the same order. Another iterable (a
                generator, a dataset): a generator of answers, which reads ahead as far as a batch needs.
            **choices: See the class's ``Options``.

        Raises:
            TypeError: If a choice or an input is of another type.
            ValueError: If an example cannot be used; the message says which.
        """
        options = self.options.with_choices(choices)
        if self._is_one(inputs, options):
            return self._answers([inputs], 0, options)[0]
        if isinstance(inputs, list | tuple):
            return list(self._stream(inputs, options))
        if isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes | Mapping):
            return self._stream(inputs, options)
        raise TypeError(f"{self.task} takes {self._takes}, or a list of such; this is a {type(inputs).__name__}.")

    _takes: ClassVar[str] = "a text"

    def _is_one(self, inputs: Any, options: Any) -> bool:
        """Say whether what a caller gives is one example."""
        return isinstance(inputs, str)

    def _stream(self, inputs: Iterable[Any], options: Options) -> Iterator[Any]:
        """Answer examples in their order, some at a time."""
        remaining, first = iter(inputs), 0
        while examples := list(islice(remaining, max(_AT_ONCE, options.batch_size or 0))):
            yield from self._answers(examples, first, options)
            first += len(examples)

    def _answers(self, examples: Sequence[Any], first: int, options: Options) -> list[Any]:
        """Answer some examples at once.

        Args:
            examples: As the caller gave them.
            first: Number of the first one, for messages.
            options: What was chosen.
        """
        numbers = range(first, first + len(examples))
        for number, example in zip(numbers, examples, strict=True):
            if not self._is_one(example, options):
                raise TypeError(f"Example {number} is a {type(example).__name__}; {self.task} takes {self._takes}.")
        read = [self._read(example, number, options) for number, example in zip(numbers, examples, strict=True)]
        encoded = self._encode(read, numbers, options)
        rows = [row for parts in encoded for row in parts]
        pad = self.tokenizer.pad_token_id or 0
        found = iter(compute(rows, lambda batch: self._score(batch, options), pad, self.device, options.batch_size))
        parts_of = [(parts, [next(found) for _ in parts]) for parts in encoded]
        return [
            self._answer(example, parts, outputs, options)
            for example, (parts, outputs) in zip(read, parts_of, strict=True)
        ]

    def _read(self, example: Any, number: int, options: Any) -> Any:
        """Bring one example into the form that the task works with."""
        return example

    def _encode(self, examples: Sequence[Any], numbers: Sequence[int], options: Any) -> list[list[Row]]:
        """Make one row of tokens of each text."""
        return [[row] for _, row in self._rows(examples, None, numbers, options)]

    _hint: ClassVar[str] = ""

    def _rows(
        self,
        texts: Sequence[Any],
        pairs: Sequence[str] | None,
        numbers: Sequence[int],
        options: Options,
        stride: int | None = None,
        **how: Any,
    ) -> Iterator[tuple[int, Row]]:
        """Encode texts, and refuse those that the model cannot read as a whole.

        Args:
            texts: Of some examples.
            pairs: Their second texts.
            numbers: Those of the examples, for messages.
            options: Whether longer ones are cut.
            stride: Make longer ones several rows, of which neighbours share so many tokens.
            **how: Further arguments of the tokenizer.

        Yields:
            The place of a row's text among the texts, and the row.
        """
        cuts = options.truncation or options.max_length is not None or stride is not None
        limit = min(options.max_length or self.longest, self.longest)
        encoded = self.tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            truncation=(options.truncation or True) if cuts else False,
            max_length=limit if cuts else None,
            stride=stride or 0,
            return_overflowing_tokens=stride is not None,
            verbose=False,
            **how,
        )
        kinds = encoded.get("token_type_ids")
        owners = encoded.get("overflow_to_sample_mapping")
        for number, encoding in enumerate(encoded.encodings or []):
            ids, place = encoded["input_ids"][number], number if owners is None else owners[number]
            if len(ids) > self.longest:
                raise ValueError(
                    f"Example {numbers[place]} has {len(ids)} tokens, and this model takes {self.longest}. "
                    f"truncation=True cuts what is longer{self._hint}."
                )
            yield place, Row(ids, None if kinds is None else kinds[number], encoding)

    def _score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Compute a batch, and give what the answer of each row needs.

        Raises:
            NotImplementedError: Here; each task says it.
        """
        raise NotImplementedError

    def _answer(self, example: Any, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        """Make the answer of an example.

        Args:
            example: By `_read`.
            rows: What was made of it.
            outputs: What `_score` gave for each.
            options: What was chosen.

        Raises:
            NotImplementedError: Here; each task says it.
        """
        raise NotImplementedError


def _device(device: int | str | torch.device | None) -> torch.device:
    """Give the device that a caller means."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device, int):
        return torch.device("cpu" if device < 0 else f"cuda:{device}")
    return torch.device(device)
