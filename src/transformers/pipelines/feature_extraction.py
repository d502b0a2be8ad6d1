"""The encoder's output for every token of a text.

Letters in shapes: ``L`` tokens of a text, ``D`` hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..heads.encoding import Encoding, PooledEncoding
from .base import Pipeline
from .computing import Batch, Row
from .options import Options

__all__ = ["FeatureExtractionPipeline"]


@dataclass(frozen=True)
class _Options(Options):
    """What may be chosen.

    Attributes:
        return_tensors: Give tensors instead of lists of numbers.
    """

    return_tensors: bool = False


class FeatureExtractionPipeline(Pipeline):
    """Gives the last layer of a text. Shape of an answer: (1, L, D), as nested lists or a tensor."""

    task = "feature-extraction"
    head = "base"
    _heads = (Encoding, PooledEncoding)
    options_class = _Options

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Give the last layer of each row; see `Pipeline.score`."""
        layer = self.model.scores(batch.inputs)["last_hidden_state"].cpu()
        return [layer[place : place + 1, : len(row.input_ids)] for place, row in enumerate(batch.rows)]

    def _answer(self, example: Any, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        return outputs[0].clone() if options.return_tensors else outputs[0].tolist()
