"""The sequences of a file's texts, on the disk: made once, and found again where file and settings are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mlm_files import Piece, read_pieces
from mlm_packing import Tokens, pack, tokenize
from transformers import PreTrainedTokenizerBase
from transformers.data.whole_word_mask import NO_WORD, WORD_IDS
from transformers.utils import logging
from transformers.utils.writing import replacing, write_text

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

__all__ = ["Recipe", "make_sequences"]

logger = logging.get_logger("transformers.examples.mlm_sequences")

_ROWS = 1_000  # written at once


@dataclass(frozen=True)
class Recipe:
    """Which texts of a file become sequences, and how. The same recipe makes the same sequences.

    Attributes:
        file: The sha256 of the file.
        column: Where the texts stand; None in plain text.
        encoding: The file's; None where it was found out.
        tokenizer: The tokenizer's sha256.
        length: Tokens of a sequence.
        joined: Whether a sequence holds several texts.
        with_words: Whether it is kept which word a token belongs to.
        percentage: How many of 100 texts are parted off for an evaluation; 0 for none.
        parted_off: Whether these are meant, or the others.
        limit: The most sequences; None for all.
        form: Of the files in the cache; another number where that changes.
    """

    file: str
    column: str | None
    encoding: str | None
    tokenizer: str
    length: int
    joined: bool
    with_words: bool
    percentage: int
    parted_off: bool
    limit: int | None
    form: int = 1

    @property
    def sha256(self) -> str:
        """The hash of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass
class _Count:
    """What became of the texts.

    Attributes:
        texts: How many there are.
        lost: Of how many the tokenizer leaves nothing.
        long: How many are longer than a sequence.
        tokens: How many tokens they have.
        sequences: How many sequences they fill.
    """

    texts: int = 0
    lost: int = 0
    long: int = 0
    tokens: int = 0
    sequences: int = 0

    def through(self, tokens: Iterable[Tokens], room: int) -> Iterator[Tokens]:
        """Count texts and tokens that pass."""
        size = 0
        for piece in tokens:
            size += len(piece.ids)
            if piece.ends:
                self.texts += 1
                self.tokens += size
                self.lost += not size
                self.long += size > room
                size = 0
            yield piece

    def tell(self, source: str, recipe: Recipe) -> None:
        """Say it in one line."""
        longer = f" {self.long:,} of them are longer and go on in the next." if self.long else ""
        lost = f" Of {self.lost:,} the tokenizer leaves nothing." if self.lost else ""
        logger.info(
            "'%s': %s texts with %s tokens fill %s sequences of up to %s tokens.%s%s",
            source,
            *(f"{number:,}" for number in (self.texts, self.tokens, self.sequences, recipe.length)),
            longer,
            lost,
        )


def make_sequences(path: str, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, anew: bool = False) -> Dataset:
    """Make sequences of a file's texts, or find those that were made before.

    Args:
        path: The file; neither it nor what becomes of it is ever in memory as a whole, but for tables.
        recipe: How.
        tokenizer: The model's.
        anew: Make them again though they are there.

    Returns:
        Rows of ``input_ids`` with special tokens, and with words `WORD_IDS`.

    Raises:
        OSError: If the file cannot be read, or the cache not be written.
        ValueError: If it holds no texts, or cannot be read; the message says where.
    """
    import datasets.config
    from datasets import Dataset

    rows = Path(datasets.config.HF_DATASETS_CACHE) / "masked-texts" / f"{recipe.sha256[:32]}.arrow"
    counted = rows.with_suffix(".json")
    if anew or not (rows.is_file() and counted.is_file()):
        rows.parent.mkdir(parents=True, exist_ok=True)
        count = _write(rows, path, recipe, tokenizer)
        write_text(counted, json.dumps(asdict(count)) + "\n")
    count = _Count(**json.loads(counted.read_text(encoding="utf-8")))
    count.tell(path, recipe)
    if not count.sequences:
        raise ValueError(_nothing(path, recipe))
    return Dataset.from_file(str(rows))


def _nothing(path: str, recipe: Recipe) -> str:
    if recipe.parted_off:
        return (
            f"'{path}' has too few texts to part {recipe.percentage} % of them off for the evaluation; give "
            "--validation_file, or a larger --validation_split_percentage."
        )
    return f"'{path}' holds no texts{' beside those for the evaluation' if recipe.percentage else ''}."


def _write(rows: Path, path: str, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> _Count:
    """Write the sequences as Arrow's stream, as the `datasets` library maps it."""
    import pyarrow

    names = ["input_ids", WORD_IDS] if recipe.with_words else ["input_ids"]
    schema = pyarrow.schema(dict.fromkeys(names, pyarrow.list_(pyarrow.int32())))
    count = _Count()
    with (
        replacing(rows) as beside,
        pyarrow.OSFile(str(beside), "wb") as sink,
        pyarrow.ipc.new_stream(sink, schema) as writer,
    ):
        contents = _contents(path, recipe, tokenizer, count)
        while batch := list(islice(contents, _ROWS)):
            writer.write_batch(_record(batch, recipe, tokenizer, schema))
            count.sequences += len(batch)
    return count


def _contents(path: str, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, count: _Count) -> Iterator[Tokens]:
    """Give the content of each sequence, without special tokens at its ends."""
    room = recipe.length - tokenizer.num_special_tokens_to_add()
    pieces = _meant(read_pieces(path, recipe.column or "", recipe.encoding), recipe)
    tokens = count.through(tokenize(pieces, tokenizer, recipe.with_words), room)
    return islice(pack(tokens, room, tokenizer.special_token("sep_token")[1], recipe.joined), recipe.limit)


def _meant(pieces: Iterable[Piece], recipe: Recipe) -> Iterator[Piece]:
    """Choose the texts that are parted off, or the others: every twentieth for 5 percent."""
    number = 0
    for piece in pieces:
        parted = (number + 1) * recipe.percentage // 100 > number * recipe.percentage // 100
        if parted == recipe.parted_off:
            yield piece
        number += piece.ends


def _record(
    batch: Iterable[Tokens], recipe: Recipe, tokenizer: PreTrainedTokenizerBase, schema: pyarrow.Schema
) -> pyarrow.RecordBatch:
    import pyarrow

    around = tokenizer.build_inputs_with_special_tokens([])
    first, last = around[:1], around[1:]
    columns = [[first + tokens.ids + last for tokens in batch]]
    if recipe.with_words:
        columns.append([[NO_WORD] * len(first) + tokens.words + [NO_WORD] * len(last) for tokens in batch])
    arrays = [pyarrow.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    return pyarrow.record_batch(arrays, schema=schema)
