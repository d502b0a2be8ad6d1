"""No head: the encoder's own output, padded as the caller's batch is.

Letters in shapes: ``B`` batch, ``D`` hidden size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..layers.inputs import EncoderInputs
from ..layers.packing import PackedOutput
from ..modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from .head import Head

__all__ = ["Encoding", "PooledEncoding"]


class _BareEncoder(Head):
    """What is asked for is the encoder's own output; which way it reads is its own matter."""

    task_type: ClassVar[str | None] = "FEATURE_EXTRACTION"
    pipeline_tag: ClassVar[str | None] = "feature-extraction"
    may_decode: ClassVar[bool] = True

    def _encoded(self, inputs: EncoderInputs) -> PackedOutput:
        """Encode a batch, unless that was done for all rows of a mixed one (`Head.encode` asks below a head)."""
        return self.encode(inputs) if self.encoded is None else self.encoded


class Encoding(_BareEncoder):
    """A bare encoder without a pooler."""

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        return {"last_hidden_state": self._encoded(inputs).padded()}

    def _compute(self, inputs: EncoderInputs) -> BaseModelOutput:
        """Encode a padded batch.

        Args:
            inputs: What the encoder is given.

        Returns:
            The output; a tuple without ``return_dict``.

        Raises:
            ValueError: If both or neither of ``input_ids`` and ``inputs_embeds`` are given, a shape is not as
                described, an index is outside of its table, or a text is longer than the table of positions.
        """
        encoded = self._encoded(inputs)
        return BaseModelOutput(
            last_hidden_state=encoded.padded(), hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )


class PooledEncoding(_BareEncoder):
    """A bare encoder with a pooler of each row's first token."""

    def _pool(self, encoded: PackedOutput) -> Tensor | None:
        """Pool each row's first valid token; None where there is no pooler. Shape: (B, D).

        Raises:
            NotImplementedError: Here; a model says how.
        """
        raise NotImplementedError

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        encoded = self._encoded(inputs)
        pooled = self._pool(encoded)
        return {"last_hidden_state": encoded.padded(), **({} if pooled is None else {"pooler_output": pooled})}

    def _compute(self, inputs: EncoderInputs) -> BaseModelOutputWithPooling:
        """Encode a padded batch.

        Args:
            inputs: What the encoder is given.

        Returns:
            The output. Without ``return_dict`` a tuple, whose second element is None where there is no pooler. The
            pooled token is each row's first valid one.

        Raises:
            ValueError: If both or neither of ``input_ids`` and ``inputs_embeds`` are given, a shape is not as
                described, an index is outside of its table, a text is longer than the table of positions, or a
                decoder's input is given.
        """
        encoded = self._encoded(inputs)
        return BaseModelOutputWithPooling(
            last_hidden_state=encoded.padded(),
            pooler_output=self._pool(encoded),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
