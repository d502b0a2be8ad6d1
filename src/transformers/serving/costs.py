"""What passes cost, measured while serving, and the cheapest way to compute what is waiting.

A pass over ``T`` tokens costs ``a + b·T`` where all rows have one adapter, and ``a' + b'·T + c·k`` where they have
``k``. On a CPU many small passes lose ``a`` each, and mixing loses what picking each adapter's tokens out costs: which
is less depends on the machine, the model and what is waiting. The coefficients are fitted by recursive least squares
with forgetting (Haykin, Adaptive Filter Theory, chapter 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Planner", "RunningCost"]

_FORGET = 0.99
_PRIOR = 1e-6  # how little is known at first
_MEASURED = 6  # passes of each kind before they are compared
_SETTLED = 20  # passes after which one is held to be near what is expected
_OUTLIER = 3.0
_LEAST = 1e-3  # seconds; nothing less is an outlier
_EVERY = 50  # after so many choices the other one is tried, so that what is known of it stays true
Group = list[int]


@dataclass
class RunningCost:
    """Seconds of a pass as a linear function of what is in it.

    Attributes:
        size: Number of features.
        count: Passes that were measured.
    """

    size: int
    count: int = 0
    _weights: np.ndarray = field(init=False)
    _inverse: np.ndarray = field(init=False)
    _scale: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self._weights = np.zeros(self.size)
        self._inverse = np.eye(self.size) / _PRIOR
        self._scale = np.array([1.0, 1e-3, 1e-1])[: self.size]  # tokens come in thousands, adapters in tens

    def measured(self, features: Sequence[float], seconds: float) -> None:
        """Take down what a pass took."""
        x = np.asarray(features) * self._scale
        if self.count > _SETTLED:  # one pass that something held up says little
            expected = self.expected(features)
            seconds = min(max(seconds, expected / _OUTLIER), max(expected * _OUTLIER, _LEAST))
        reach = self._inverse @ x
        gain = reach / (_FORGET + x @ reach)
        self._weights = self._weights + gain * (seconds - self._weights @ x)
        inverse = (self._inverse - np.outer(gain, reach)) / _FORGET
        # Directions in which nothing is seen for long would grow without bound.
        self._inverse = inverse * min(1.0, self.size / _PRIOR / max(float(np.trace(inverse)), 1e-300))
        self.count += 1

    def expected(self, features: Sequence[float]) -> float:
        """Say what a pass is going to take."""
        return max(0.0, float(self._weights @ (np.asarray(features) * self._scale)))


class Planner:
    """Chooses between one pass for all and passes for single adapters."""

    def __init__(self) -> None:
        self._alone, self._mixed = RunningCost(2), RunningCost(3)
        self._choices = 0

    def plan(self, tokens: Sequence[int]) -> list[Group]:
        """Say which adapters are computed together.

        Args:
            tokens: For each adapter of a batch that mixes, how many tokens it has.

        Returns:
            Groups of numbers of adapters; those with most tokens may be computed alone and the others together.
        """
        if len(tokens) < 2:
            return [[number] for number in range(len(tokens))]
        order = sorted(range(len(tokens)), key=lambda number: tokens[number], reverse=True)
        plans = [self._split(order, first) for first in range(len(order) + 1) if first != len(order) - 1]
        together, apart = plans[0], plans[-1]
        self._choices += 1
        if min(self._alone.count, self._mixed.count) < _MEASURED:
            return together if self._mixed.count < self._alone.count else apart
        best = min(plans, key=lambda plan: self._expected(plan, tokens))
        if self._choices % _EVERY == 0:
            return apart if best is together else together
        return best

    @staticmethod
    def _split(order: Sequence[int], first: int) -> list[Group]:
        """Compute the first few alone and the rest together."""
        rest = list(order[first:])
        return [*([number] for number in order[:first]), *([rest] if rest else [])]

    def _expected(self, plan: Sequence[Group], tokens: Sequence[int]) -> float:
        total = 0.0
        for group in plan:
            number = sum(tokens[each] for each in group)
            total += (
                self._alone.expected((1, number)) if len(group) == 1 else self._mixed.expected((1, number, len(group)))
            )
        return total

    def measured(self, adapters: int, tokens: int, seconds: float) -> None:
        """Take down what a pass took.

        Args:
            adapters: How many its rows had.
            tokens: How many it computed.
            seconds: How long it took.
        """
        if adapters == 1:
            self._alone.measured((1, tokens), seconds)
        else:
            self._mixed.measured((1, tokens, adapters), seconds)
