"""What every pipeline is: texts as people have them, tokens, one computation for all, answers as people read them.

A task says what it takes (`Pipeline._read`), how that becomes rows of tokens (`_encode`), what it wants of a batch's
outputs (`score`), and what it answers (`_answer`). A call is three steps, which may also be taken one by one by who
computes rows of several calls together: `Pipeline.ask`, `Pipeline.score` and `Pipeline.answer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar, cast

import torch

from ..heads.head import Head
from ..modeling_utils import PreTrainedModel
from ..tokenization_utils_fast import PreTrainedTokenizerFast
from .computing import Batch, Row, compute
from .options import Options

__all__ = ["Asked", "Pipeline"]

_AT_ONCE = 1024  # examples that are sorted together


@dataclass(frozen=True)
class Asked:
    """Examples as rows of tokens, before anything is computed.

    Attributes:
        inputs: What the caller gave.
        choices: What the call chose.
        options: What was chosen, then and before.
        examples: As the task reads them.
        parts: The rows of each example.
    """

    inputs: Any
    choices: Mapping[str, Any]
    options: Options
    examples: Sequence[Any]
    parts: Sequence[Sequence[Row]]

    @property
    def rows(self) -> list[Row]:
        """All rows, in order."""
        return [row for parts in self.parts for row in parts]


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
        placed = model if model.device == self.device else model.to(self.device)  # moving reads all of the base
        self.model, self.tokenizer = cast(Head, placed.eval()), tokenizer

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
            return self._as_given(inputs, self._answers([inputs], 0, options)[0], choices)
        if isinstance(inputs, list | tuple):
            return list(self._stream(inputs, options))
        if isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes | Mapping):
            return self._stream(inputs, options)
        raise self._not_taken(inputs)

    _takes: ClassVar[str] = "a text"

    def _not_taken(self, inputs: Any) -> TypeError:
        return TypeError(f"{self.task} takes {self._takes}, or a list of such; this is a {type(inputs).__name__}.")

    def _is_one(self, inputs: Any, options: Any) -> bool:
        """Say whether what a caller gives is one example."""
        return isinstance(inputs, str)

    def _as_given(self, inputs: Any, answer: Any, choices: Mapping[str, Any]) -> Any:
        """Give the answer of one example that is not in a list in upstream's form."""
        return answer

    def ask(self, inputs: Any, **choices: Any) -> Asked:
        """Make rows of tokens of one example, or of a list of them; the first step of a call.

        Args:
            inputs: See `__call__`; not a stream.
            **choices: See there.

        Raises:
            TypeError: As there.
            ValueError: As there.
        """
        options = self.options.with_choices(choices)
        one = self._is_one(inputs, options)
        if not one and not isinstance(inputs, list | tuple):
            raise self._not_taken(inputs)
        return Asked(inputs, choices, options, *self._read_all([inputs] if one else inputs, 0, options))

    def answer(self, asked: Asked, outputs: Sequence[Any]) -> Any:
        """Make answers of what was computed; the last step of a call.

        Args:
            asked: By `ask`.
            outputs: What `score` gave for each of its rows, in their order.

        Returns:
            What a call with the same inputs and choices gives.
        """
        answers = self._answered(asked.examples, asked.parts, outputs, asked.options)
        if self._is_one(asked.inputs, asked.options):
            return self._as_given(asked.inputs, answers[0], asked.choices)
        return answers

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
        read, parts = self._read_all(examples, first, options)
        rows = [row for each in parts for row in each]
        score, pad = partial(self.score, options=options), self.tokenizer.pad_token_id or 0
        return self._answered(read, parts, compute(rows, score, pad, self.device, options.batch_size), options)

    def _read_all(self, examples: Sequence[Any], first: int, options: Options) -> tuple[list[Any], list[list[Row]]]:
        """Give some examples as the task reads them, and the rows of tokens of each."""
        numbers = range(first, first + len(examples))
        for number, example in zip(numbers, examples, strict=True):
            if not self._is_one(example, options):
                raise TypeError(f"Example {number} is a {type(example).__name__}; {self.task} takes {self._takes}.")
        read = [self._read(example, number, options) for number, example in zip(numbers, examples, strict=True)]
        return read, self._encode(read, numbers, options)

    def _answered(
        self, read: Sequence[Any], parts_of: Sequence[Sequence[Row]], outputs: Sequence[Any], options: Options
    ) -> list[Any]:
        """Make the answer of each example."""
        found = iter(outputs)
        return [
            self._answer(example, parts, [next(found) for _ in parts], options)
            for example, parts in zip(read, parts_of, strict=True)
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

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Compute a batch, and give what the answer of each row needs; the second step of a call.

        Args:
            batch: Rows that `ask` made, with the same options.
            options: What was chosen.

        Raises:
            NotImplementedError: Here; each task says it.
        """
        raise NotImplementedError

    def _answer(self, example: Any, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        """Make the answer of an example.

        Args:
            example: By `_read`.
            rows: What was made of it.
            outputs: What `score` gave for each.
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
