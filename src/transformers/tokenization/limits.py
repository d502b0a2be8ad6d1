"""How long a row may and must be: padding and truncation as callers ask for them, resolved for one call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..utils import logging
from ..utils.generic import ExplicitEnum, PaddingStrategy

__all__ = ["NO_LIMIT", "VERY_LARGE_INTEGER", "Limits", "TruncationStrategy", "read_old_strategies", "warn_once"]

logger = logging.get_logger(__name__)

VERY_LARGE_INTEGER = int(1e30)  # the model_max_length of a tokenizer that has none, as upstream writes it
NO_LIMIT = int(1e20)  # a model_max_length above this is no limit

_warned: set[str] = set()


def warn_once(topic: str, message: str) -> None:
    """Log a warning unless one on this topic was logged before.

    Args:
        topic: What the warning is about.
        message: One line.
    """
    if topic not in _warned:
        _warned.add(topic)
        logger.warning(message)


class TruncationStrategy(ExplicitEnum):
    """Which sequence of a pair loses tokens when the pair is too long."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


@dataclass(frozen=True)
class Limits:
    """How one call pads and truncates.

    Attributes:
        padding: How far rows are filled up.
        truncation: Which sequence is cut.
        max_length: In tokens, special ones included; None for no limit.
        stride: How many tokens neighbouring parts of a cut text share.
        pad_to_multiple_of: Round the padded length up to a multiple of this.
        padding_side: ``"right"`` or ``"left"``.
    """

    padding: PaddingStrategy
    truncation: TruncationStrategy
    max_length: int | None
    stride: int = 0
    pad_to_multiple_of: int | None = None
    padding_side: str = "right"

    @classmethod
    def resolve(
        cls,
        padding: bool | str | PaddingStrategy,
        truncation: bool | str | TruncationStrategy | None,
        max_length: int | None,
        *,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str = "right",
        model_max_length: int = VERY_LARGE_INTEGER,
    ) -> Limits:
        """Read what the caller asked for.

        Args:
            padding: A strategy, its name, or True for ``"longest"``.
            truncation: A strategy, its name, or True for ``"longest_first"``; None cuts only where ``max_length`` is
                given and padding is not.
            max_length: In tokens; the model's by default.
            stride: In tokens.
            pad_to_multiple_of: In tokens.
            padding_side: ``"right"`` or ``"left"``.
            model_max_length: The longest input of the model in tokens.

        Returns:
            The limits; a strategy that needs a length falls away, with a warning, where there is none.

        Raises:
            ValueError: If a strategy or side is unknown, a length is negative, or the length to cut to is no multiple
                of ``pad_to_multiple_of``.
        """
        pad = _padding_strategy(padding)
        cut = _truncation_strategy(truncation, max_length, pad)
        if max_length is not None and max_length < 0:
            raise ValueError(f"max_length is {max_length}; a number of tokens (0 or more) was expected.")
        if padding_side not in ("right", "left"):
            raise ValueError(f"padding_side is {padding_side!r}; choose 'right' or 'left'.")
        if max_length is None and (pad is PaddingStrategy.MAX_LENGTH or cut is not TruncationStrategy.DO_NOT_TRUNCATE):
            if model_max_length > NO_LIMIT:
                pad, cut = _without_length(pad, cut)
            else:
                max_length = model_max_length
        is_cut = cut is not TruncationStrategy.DO_NOT_TRUNCATE
        if pad is not PaddingStrategy.DO_NOT_PAD and is_cut and (max_length or 0) % (pad_to_multiple_of or 1):
            raise ValueError(
                f"Rows are cut at {max_length} tokens and padded to a multiple of {pad_to_multiple_of}: choose a "
                "max_length that is such a multiple."
            )
        return cls(pad, cut, max_length, stride, pad_to_multiple_of, padding_side)

    def padded_length(self, sizes: Sequence[int]) -> int:
        """Give the length that rows are filled up to.

        Args:
            sizes: The lengths of the rows of a call, in tokens, special ones included.

        Returns:
            The length; 0 without padding.
        """
        if self.padding is PaddingStrategy.DO_NOT_PAD:
            return 0
        fixed = self.padding is PaddingStrategy.MAX_LENGTH and self.max_length is not None
        length = (self.max_length or 0) if fixed else max(sizes, default=0)
        return -(-length // (self.pad_to_multiple_of or 1)) * (self.pad_to_multiple_of or 1)


def _padding_strategy(padding: bool | str | PaddingStrategy) -> PaddingStrategy:
    if padding is True:
        return PaddingStrategy.LONGEST
    if padding is False or padding is None:
        return PaddingStrategy.DO_NOT_PAD
    return PaddingStrategy(padding)


def _truncation_strategy(
    truncation: bool | str | TruncationStrategy | None, max_length: int | None, padding: PaddingStrategy
) -> TruncationStrategy:
    if truncation is True:
        return TruncationStrategy.LONGEST_FIRST
    if truncation is False:
        return TruncationStrategy.DO_NOT_TRUNCATE
    if truncation is not None:
        return TruncationStrategy(truncation)
    if max_length is None:
        return TruncationStrategy.DO_NOT_TRUNCATE
    if padding is PaddingStrategy.DO_NOT_PAD:
        warn_once(
            "truncation by max_length",
            "max_length is given without truncation: long texts are cut, longest first. Say truncation=True or False.",
        )
        return TruncationStrategy.LONGEST_FIRST
    if padding is PaddingStrategy.LONGEST:
        warn_once(
            "max_length ignored",
            "max_length is ignored: with padding=True and no truncation it has no use. Say truncation=True, or "
            "padding='max_length'.",
        )
    return TruncationStrategy.DO_NOT_TRUNCATE


def _without_length(
    padding: PaddingStrategy, truncation: TruncationStrategy
) -> tuple[PaddingStrategy, TruncationStrategy]:
    """Drop the strategies that need a length, and say so."""
    if truncation is not TruncationStrategy.DO_NOT_TRUNCATE:
        warn_once(
            "no length to cut to",
            "Truncation is asked for, but neither max_length nor the tokenizer's model_max_length is set: nothing is "
            "cut.",
        )
    if padding is PaddingStrategy.MAX_LENGTH:
        warn_once(
            "no length to pad to",
            "padding='max_length' is asked for, but neither max_length nor the tokenizer's model_max_length is set: "
            "nothing is padded.",
        )
        padding = PaddingStrategy.DO_NOT_PAD
    return padding, TruncationStrategy.DO_NOT_TRUNCATE


def read_old_strategies(
    padding: bool | str | PaddingStrategy,
    truncation: bool | str | TruncationStrategy | None,
    max_length: int | None,
    kwargs: dict[str, Any],
) -> tuple[bool | str | PaddingStrategy, bool | str | TruncationStrategy | None]:
    """Understand the two arguments that said before Transformers 3 how to pad and truncate, and warn of them.

    Args:
        padding: As the caller gave it; counts more than the old argument.
        truncation: As the caller gave it; counts more than the old argument.
        max_length: In tokens. With ``pad_to_max_length`` a text is cut to it too, as 4.4.2 does; without it the batch
            is padded to its longest.
        kwargs: The call's other arguments; ``pad_to_max_length`` and ``truncation_strategy`` are taken out.

    Returns:
        ``padding`` and ``truncation``.
    """
    if kwargs.pop("pad_to_max_length", False):
        _warn_of_old_name("pad_to_max_length=True", "padding='max_length' (or padding=True for the longest)")
        if padding is False:
            padding = "longest" if max_length is None else "max_length"
            truncation = True if truncation is None and max_length is not None else truncation
    old = kwargs.pop("truncation_strategy", "do_not_truncate")
    if old != "do_not_truncate":
        _warn_of_old_name(f"truncation_strategy='{old}'", f"truncation='{old}'")
        truncation = truncation or old
    return padding, truncation


def _warn_of_old_name(old: str, new: str) -> None:
    warnings.warn(f"{old} is an old name; say {new}.", FutureWarning, stacklevel=4)
