"""One label, one value, or several labels for each text.

In the checkpoint: RoBERTa's ``classifier.dense`` and ``classifier.out_proj``; DeBERTa's ``pooler.dense`` and
``classifier``. All of these are the head: with a frozen base they are trained, and saved with the adapter.

Letters in shapes: ``B`` batch, ``L`` padded length, ``D`` hidden size, ``N`` labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from ..layers.inputs import EncoderInputs
from ..layers.packing import PackedOutput
from ..methods.consistency import classification_loss
from ..modeling_outputs import SequenceClassifierOutput
from .head import Head

__all__ = ["SequenceClassification"]


class SequenceClassification(Head):
    """A classification or regression head on each row's first token; a model builds it and says what differs."""

    task_type: ClassVar[str | None] = "SEQ_CLS"
    pipeline_tag: ClassVar[str | None] = "text-classification"

    @property
    def _first_token_only(self) -> bool:
        """Whether the head reads each row's first token alone; one put in place from elsewhere may read them all."""
        return True

    def score_rows(self, features: Tensor) -> Tensor:
        """Score the labels of each row's features, as `_features` gives them; to (B, N).

        Raises:
            NotImplementedError: Here; a model says how.
        """
        raise NotImplementedError

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        encoded = self.encode(inputs, first_token_only=self._first_token_only)
        return {"logits": self.score_rows(self._features(encoded))}

    def _compute(self, inputs: EncoderInputs, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """Classify each row. In training under ``config.consistency`` the loss takes a second pass.

        Args:
            inputs: What the encoder is given.
            labels: See `transformers.layers.losses`. Shape: (B,) or (B, N).

        Returns:
            The output; a tuple without ``return_dict``.

        Raises:
            ValueError: As of the encoder's ``forward``, if ``config.problem_type`` is unknown, if labels do not fit,
                or as of `transformers.heads.mixed.mixed_output`.
        """
        encoded = self.encode(inputs, first_token_only=self._first_token_only)
        logits = self.score_rows(self._features(encoded))

        def second_pass(words: Tensor | None) -> Tensor:
            again = replace(inputs, input_ids=words, output_attentions=False, output_hidden_states=False)
            return self.score_rows(self._features(self.encode(again, first_token_only=self._first_token_only)))

        return SequenceClassifierOutput(
            loss=classification_loss(logits, labels, inputs.input_ids, second_pass, self.config, self.training),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def _features(self, encoded: PackedOutput) -> Tensor:
        """Give what the head reads: first tokens, shape (B, D), or all from the first valid on, shape (B, L, D)."""
        return encoded.first_tokens() if self._first_token_only else encoded.from_first_tokens()
