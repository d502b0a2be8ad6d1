"""The part of a text that answers a question: its first and its last token.

In the checkpoint: ``qa_outputs``, for RoBERTa and DeBERTa alike; its two rows score the start and the end.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``D`` hidden size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..configuration_utils import PretrainedConfig
from ..layers.inputs import EncoderInputs
from ..layers.losses import IGNORED_LABEL, mean_cross_entropy
from ..layers.packing import PackedOutput
from ..modeling_outputs import QuestionAnsweringModelOutput
from ..modeling_utils import in_dtype_of
from .head import Head

__all__ = ["QuestionAnswering"]


class QuestionAnswering(Head):
    """A scorer of every token as an answer's start and end."""

    task_type: ClassVar[str | None] = "QUESTION_ANS"
    pipeline_tag: ClassVar[str | None] = "question-answering"

    def _build_head(self, config: PretrainedConfig) -> None:
        """Make the head's modules.

        Raises:
            ValueError: If ``num_labels`` is not 2.
        """
        if config.num_labels != 2:
            raise ValueError(
                f"num_labels is {config.num_labels}, but question answering has two scores for each token, start and "
                "end. Pass num_labels=2."
            )
        self.num_labels = config.num_labels
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)

    def score_tokens(self, features: Tensor) -> Tensor:
        """Score tokens as start and end. Shape: (…, D) to (…, 2)."""
        return self.qa_outputs(in_dtype_of(self.qa_outputs, features))

    def label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return ["qa_outputs.weight", "qa_outputs.bias"]

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        start_logits, end_logits = self._logits(self.encode(inputs))
        return {"start_logits": start_logits, "end_logits": end_logits}

    def _logits(self, encoded: PackedOutput) -> tuple[Tensor, Tensor]:
        """Score all tokens as start and as end, with the least number where the mask is 0. Shape of each: (B, L)."""
        scores = self.score_tokens(encoded.last_hidden_state)  # (T, 2)
        outside = ~encoded.layout.valid_places()[..., None]
        logits = encoded.layout.unpack(scores).masked_fill(outside, torch.finfo(scores.dtype).min)  # (B, L, 2)
        return logits[..., 0], logits[..., 1]

    def _compute(
        self, inputs: EncoderInputs, start_positions: Tensor | None = None, end_positions: Tensor | None = None
    ) -> QuestionAnsweringModelOutput:
        """Score every valid token as the answer's first and as its last.

        Args:
            inputs: What the encoder is given.
            start_positions: Columns of the answers' first tokens; one that is no valid token does not count. A
                negative one is column 0. Shape: (B,) or (B, 1).
            end_positions: Columns of their last tokens, likewise.

        Returns:
            The output; a tuple without ``return_dict``. Where the mask is 0 a logit is the least number of its dtype,
            so that such a token is no answer. The loss is the mean of those of start and end, each 0 where none
            counts.

        Raises:
            ValueError: As of the encoder's ``forward``, or if there is one kind of positions without the other.
        """
        if (start_positions is None) != (end_positions is None):
            raise ValueError("Give both start_positions and end_positions, or neither.")
        encoded = self.encode(inputs)
        start_logits, end_logits = self._logits(encoded)
        loss = None
        if start_positions is not None and end_positions is not None:
            valid = encoded.layout.valid_places()
            start_loss = mean_cross_entropy(start_logits, _columns(start_positions, valid))
            loss = (start_loss + mean_cross_entropy(end_logits, _columns(end_positions, valid))) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _columns(positions: Tensor, valid: Tensor) -> Tensor:
    """Give each row's column as a label, -100 where there is no valid token. Shape: (B,) or (B, 1) to (B,)."""
    positions = positions.reshape(-1).clamp(min=0)
    inside = positions < valid.shape[1]
    columns = positions.clamp(max=valid.shape[1] - 1)
    counts = inside & valid.gather(1, columns[:, None])[:, 0]
    return columns.masked_fill(~counts, IGNORED_LABEL)
