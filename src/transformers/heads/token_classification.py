"""A label for each token, such as the kind of name that it is a part of.

In the checkpoint: ``classifier``, for RoBERTa and DeBERTa alike.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``D`` hidden size, ``N`` labels.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ..configuration_utils import PretrainedConfig
from ..layers.inputs import EncoderInputs
from ..layers.losses import mean_cross_entropy
from ..modeling_outputs import TokenClassifierOutput
from ..modeling_utils import in_dtype_of
from .head import Head

__all__ = ["TokenClassification"]


class TokenClassification(Head):
    """A classifier of every token."""

    task_type: ClassVar[str | None] = "TOKEN_CLS"
    pipeline_tag: ClassVar[str | None] = "token-classification"
    labels_each_token: ClassVar[bool] = True

    def _build_head(self, config: PretrainedConfig, dropout: nn.Module) -> None:
        """Make the head's modules; a model says what dropout its features get."""
        self.num_labels = config.num_labels
        self.dropout = dropout
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def score_tokens(self, features: Tensor) -> Tensor:
        """Score the labels of tokens. Shape: (…, D) to (…, N)."""
        return self.classifier(in_dtype_of(self.classifier, self.dropout(features)))

    def label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return ["classifier.weight", "classifier.bias"]

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        encoded = self.encode(inputs)
        return {"logits": encoded.layout.unpack(self.score_tokens(encoded.last_hidden_state))}

    def _compute(self, inputs: EncoderInputs, labels: Tensor | None = None) -> TokenClassifierOutput:
        """Classify every valid token.

        Args:
            inputs: What the encoder is given.
            labels: Class ids; -100 where none counts, and never counted where the mask is 0. Shape: (B, L).

        Returns:
            The output; a tuple without ``return_dict``. Its logits are zero where the mask is 0, its loss is 0 where
            no label counts.

        Raises:
            ValueError: As of the encoder's ``forward``, or if a label is none of the classes.
        """
        encoded = self.encode(inputs)
        logits = self.score_tokens(encoded.last_hidden_state)  # (T, N)
        return TokenClassifierOutput(
            loss=None if labels is None else mean_cross_entropy(logits, encoded.layout.pack_labels(labels)),
            logits=encoded.layout.unpack(logits),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
