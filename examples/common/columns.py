"""Which columns of a table are the text, and which the label: by the user's word, by known names, or by what is left.

What is chosen is always said. What is not clear is an error that lists the columns, never a choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.utils import logging

from .tables import Cell, Table, is_number

__all__ = ["ColumnFlags", "Columns", "choose_columns"]

logger = logging.get_logger("transformers.examples.columns")

PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
)
TEXTS = ("sentence", "text", "comment_text", "review_text", "review_body", "content", "tweet", "review", "comment")
LABELS = ("label", "labels", "class", "target", "category")
_NO_TEXTS = ("id", "idx", "index", "guid", "uuid", "row", "nr", "no")


@dataclass(frozen=True)
class ColumnFlags:
    """What the user said of the columns; None where nothing.

    Attributes:
        text: The text, or the first of a pair.
        text_pair: The second of a pair.
        label: The label; several names are columns of 0 and 1, one for each class.
    """

    text: str | None = None
    text_pair: str | None = None
    label: Sequence[str] | None = None


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
        texts: The text, or the two of a pair.
        labels: The label; several are columns of 0 and 1; none where labels are not needed.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]


def choose_columns(table: Table, flags: ColumnFlags, labelled: bool) -> Columns:
    """Choose the columns of a run by its first table, and say which.

    Args:
        table: The table.
        flags: The user's word.
        labelled: Whether the run needs labels.

    Raises:
        ValueError: If a column is lacking, or the choice is not clear.
    """
    labels = _label_columns(table, flags, labelled)
    texts = _text_columns(table, flags, labels)
    if labelled and "label" in texts:
        raise ValueError(
            f"The text of '{table.source}' is in a column named 'label'; rename it, to 'text' for example."
        )
    read = f"the text from {_quoted(texts)}" + (f" and the label from {_quoted(labels)}" if labelled else "")
    logger.info("'%s': reading %s.", table.source, read)
    if labelled and len(labels) == 1:
        for name in texts:
            if _repeats(table.columns[name], table.columns[labels[0]]):
                logger.warning(
                    "The column '%s' of '%s' determines the label (a leak): each of its few values stands beside one "
                    "label only. A model that reads it learns nothing else.",
                    name,
                    table.source,
                )
    return Columns(texts, labels)


# Labels -----------------------------------------------------------------------------------------------------------


def _label_columns(table: Table, flags: ColumnFlags, labelled: bool) -> tuple[str, ...]:
    if flags.label is not None:
        if labelled:
            for name in flags.label:
                table.column(name)
        return tuple(flags.label)
    known = _known(table, LABELS)
    if known:
        if len(known) > 1 and labelled:
            logger.warning("The label is in '%s'; %s is not used.", known[0], _quoted(known[1:]))
        return (known[0],)
    if not labelled:
        return ()
    switches = _switch_columns(table)
    if len(switches) > 1:
        logger.warning(
            "'%s' has no column 'label', but columns of 0 and 1, which are read as one class each, several of which "
            "may be true of a text: %s. Name others with --label_column.",
            table.source,
            _quoted(switches),
        )
        return switches
    raise ValueError(
        f"'{table.source}' has no column 'label'; its columns are {table.names_in_words()}. Name the one that holds "
        "the label with --label_column, or several of 0 and 1."
    )


def _switch_columns(table: Table) -> tuple[str, ...]:
    """Find the columns that hold 0 and 1 only."""
    allowed = {"0", "1", "0.0", "1.0", "true", "false"}
    return tuple(
        name
        for name, cells in table.columns.items()
        if name.lower() not in _NO_TEXTS and all(isinstance(cell, str) and cell.lower() in allowed for cell in cells)
    )


# Texts ------------------------------------------------------------------------------------------------------------


def _text_columns(table: Table, flags: ColumnFlags, labels: Sequence[str]) -> tuple[str, ...]:
    if flags.text is not None:
        chosen = (flags.text,) if flags.text_pair is None else (flags.text, flags.text_pair)
        for name in chosen:
            table.column(name)
            if name in labels:
                raise ValueError(f"The column '{name}' is named as text and as label; a column is one of them.")
        return chosen
    others = [name for name in table.columns if name not in labels]
    pair = next((found for pair in PAIRS if len(found := _known(table, pair, others)) == 2), None)
    single = _known(table, TEXTS, others)
    if pair is not None and not [name for name in single if name not in pair]:
        return _say_unused(table, pair, others)
    if pair is None and len(single) == 1:
        return _say_unused(table, (single[0],), others)
    if pair is not None or single:
        raise _unclear(table, [*(pair or ()), *single])
    return _unknown_texts(table, labels, others)


def _unknown_texts(table: Table, labels: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Choose among columns without a known name: the one that holds text, or the two."""
    found = [name for name in others if _holds_text(name, table.columns[name])]
    label = table.columns[labels[0]] if len(labels) == 1 and labels[0] in table.columns else None
    leaks = [name for name in found if label is not None and _repeats(table.columns[name], label)]
    found = [name for name in found if name not in leaks] or found
    if not found:
        raise ValueError(
            f"'{table.source}' has no column of text; its columns are {table.names_in_words()}. Expected 'sentence' "
            "or 'text', or 'sentence1' and 'sentence2', and 'label'; name others with --text_column and "
            "--text_pair_column."
        )
    if len(found) > 2:
        raise _unclear(table, found)
    if len(found) == 2:
        logger.warning(
            "'%s': the columns of text have no known names, so '%s' and '%s' are read as a pair. Name the text alone "
            "with --text_column.",
            table.source,
            *found,
        )
    return _say_unused(table, tuple(found), others)


def _unclear(table: Table, names: Sequence[str]) -> ValueError:
    return ValueError(
        f"Which columns of '{table.source}' hold the text is not clear: {_quoted(list(dict.fromkeys(names)))} may. "
        f"Name it with --text_column, and the second of a pair with --text_pair_column. All columns: "
        f"{table.names_in_words()}."
    )


def _say_unused(table: Table, chosen: tuple[str, ...], others: Sequence[str]) -> tuple[str, ...]:
    ignored = [name for name in others if name not in chosen and _holds_text("", table.columns[name])]
    if ignored:
        shown = _quoted(ignored[:10]) + (f" and {len(ignored) - 10} more" if len(ignored) > 10 else "")
        logger.warning(
            "The text is in %s; the columns of text %s are not used. Name others with --text_column and "
            "--text_pair_column.",
            _quoted(chosen),
            shown,
        )
    return chosen


def _holds_text(name: str, cells: Sequence[Cell]) -> bool:
    """Say whether a column may be the text: no numbers, lists or objects, and not named as a number of the row."""
    if name.lower() in _NO_TEXTS or name.lower().endswith(("_id", "_idx")) or name.endswith("Id"):
        return False
    found = [cell for cell in cells if cell is not None]
    return bool(found) and all(isinstance(cell, str) for cell in found) and not is_number(found)


def _repeats(cells: Sequence[Cell], labels: Sequence[Cell]) -> bool:
    """Say whether a column says the label in other words: few values, each beside one label only."""
    if not all(isinstance(cell, str) for cell in (*cells, *labels)):
        return False
    pairs = Counter(zip(cells, labels, strict=True))
    values, classes = {cell for cell, _ in pairs}, {label for _, label in pairs}
    return len(pairs) == len(values) and len(values) <= max(2, len(classes)) and len(cells) >= 2 * len(values) > 2


def _known(table: Table, names: Sequence[str], among: Sequence[str] | None = None) -> tuple[str, ...]:
    """Find columns by known names in the order of these, whatever their case."""
    spelled = {name.lower(): name for name in reversed(list(table.columns if among is None else among))}
    return tuple(spelled[name] for name in names if name in spelled)


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names) if len(names) < 3 else ", ".join(f"'{name}'" for name in names)
