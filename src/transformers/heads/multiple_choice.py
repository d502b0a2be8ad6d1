"""The best of several texts, such as answers to a question.

In the checkpoint: a pooler (RoBERTa's ``roberta.pooler.dense``, DeBERTa's ``pooler.dense``) and ``classifier``, which
gives a text one score. PEFT has no name for the task.

Letters in shapes: ``B`` batch, ``C`` choices, ``L`` padded length, ``D`` hidden size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..layers.inputs import EncoderInputs
from ..layers.losses import mean_cross_entropy
from ..layers.packing import PackedOutput
from ..modeling_outputs import MultipleChoiceModelOutput
from .head import Head

__all__ = ["MultipleChoice"]


class MultipleChoice(Head):
    """A scorer of texts, several of which are compared; a model builds it and says how it scores."""

    pipeline_tag: ClassVar[str | None] = "multiple-choice"

    @property
    def _first_token_only(self) -> bool:
        """Whether the head reads each text's first token alone."""
        return True

    def texts_a_row(self, inputs: EncoderInputs) -> int:
        """Count the choices of an example.

        Raises:
            ValueError: If an input has no dimension for them.
        """
        words = inputs.input_ids if inputs.input_ids is not None else inputs.inputs_embeds
        dimensions = 3 if inputs.input_ids is not None else 4
        if words is not None and words.dim() != dimensions:
            raise ValueError(
                f"The input has the shape {tuple(words.shape)}; (batch, choices, length) was expected for input_ids, "
                "and (batch, choices, length, width of the embeddings) for inputs_embeds."
            )
        return 1 if words is None else words.shape[1]

    def score_texts(self, encoded: PackedOutput) -> Tensor:
        """Score each text. Shape: (B·C, 1).

        Raises:
            NotImplementedError: Here; a model says how.
        """
        raise NotImplementedError

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        choices = self.texts_a_row(inputs)
        encoded = self.encode(inputs.map_rows(_each_text), first_token_only=self._first_token_only)
        return {"logits": self.score_texts(encoded).view(-1, choices)}

    def _compute(self, inputs: EncoderInputs, labels: Tensor | None = None) -> MultipleChoiceModelOutput:
        """Score the choices of each example. All inputs of tokens have a dimension more: (B, C, L).

        Args:
            inputs: What the encoder is given.
            labels: The right choices; -100 where none counts. Shape: (B,).

        Returns:
            The output; a tuple without ``return_dict``. The layers' outputs are those of the texts, B·C rows.

        Raises:
            ValueError: As of the encoder's ``forward``, if an input is not of that shape, or a label is no choice.
        """
        choices = self.texts_a_row(inputs)
        encoded = self.encode(inputs.map_rows(_each_text), first_token_only=self._first_token_only)
        logits = self.score_texts(encoded).view(-1, choices)
        return MultipleChoiceModelOutput(
            loss=None if labels is None else mean_cross_entropy(logits, labels),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _each_text(values: Tensor) -> Tensor:
    """Make a row of each choice. Shape: (B, C, …) to (B·C, …)."""
    return values.flatten(0, 1)
