"""The word that stands at each place: the task of pre-training.

In the checkpoint: RoBERTa's ``lm_head``; DeBERTa's ``cls.predictions`` or ``lm_predictions.lm_head``. The words are
scored with their embeddings, unless ``config.tie_word_embeddings`` is off. PEFT has no name for the task.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``D`` hidden size, ``V`` vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..layers.half_products import plans_by_shape
from ..layers.inputs import EncoderInputs
from ..layers.losses import IGNORED_LABEL, mean_cross_entropy
from ..layers.packing import SIZES, PackedLayout, PackedOutput
from ..layers.transfer import on_cpu, send_together
from ..modeling_outputs import MaskedLMOutput
from .head import Head

__all__ = ["MaskedLM"]


class MaskedLM(Head):
    """A head that scores all words at every place; a model builds it and says how it scores.

    Attributes:
        sparse_prediction: Score the places alone whose label counts, where there are labels: a seventh of the work and
            memory of the head. The logits are then those of these places, row by row. Shape: (number of places, V).
            It is a choice of who trains or evaluates, and not saved. With static shapes all places are scored.
    """

    pipeline_tag: ClassVar[str | None] = "fill-mask"
    labels_each_token: ClassVar[bool] = True
    sparse_prediction: bool = False

    def _score_words(self, features: Tensor) -> Tensor:
        """Score all words. Shape: (T, D) to (T, V).

        Raises:
            NotImplementedError: Here; a model says how.
        """
        raise NotImplementedError

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Give the output of `_compute` without a loss, as plain tensors by name."""
        encoded = self.encode(inputs)
        return {"logits": encoded.layout.unpack(self._score_words(encoded.last_hidden_state))}

    def scores_at(self, inputs: EncoderInputs, places: Tensor) -> Tensor:
        """Score all words at some places alone.

        Args:
            inputs: What the encoder is given.
            places: Whether each place, which the mask must not leave out, is meant. Shape: (B, L).

        Returns:
            The scores, row by row. Shape: (number of places, V).
        """
        encoded = self.encode(inputs)
        return self._score_words(encoded.last_hidden_state[_packed_places(places, encoded.layout)])

    def _compute(self, inputs: EncoderInputs, labels: Tensor | None = None) -> MaskedLMOutput:
        """Score all words at every valid position.

        Args:
            inputs: What the encoder is given.
            labels: The true ids; -100 where none counts, and never counted where the mask is 0. Shape: (B, L).

        Returns:
            The output; a tuple without ``return_dict``. Its loss is 0 where no label counts.

        Raises:
            ValueError: As of the encoder's ``forward``, or if a label is no word.
        """
        encoded = self.encode(inputs)
        if self.sparse_prediction and labels is not None and not encoded.layout.static_shapes:
            return self._compute_where_labels_count(encoded, labels, inputs.attention_mask)
        scores = self._score_words(encoded.last_hidden_state)  # (T, V)
        return MaskedLMOutput(
            loss=None if labels is None else mean_cross_entropy(scores, encoded.layout.pack_labels(labels)),
            logits=encoded.layout.unpack(scores),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def _compute_where_labels_count(
        self, encoded: PackedOutput, labels: Tensor, attention_mask: Tensor | None
    ) -> MaskedLMOutput:
        """Score the words where a label counts; see `sparse_prediction`."""
        packed = encoded.layout.pack_labels(labels)
        counts = on_cpu(labels) != IGNORED_LABEL
        if attention_mask is not None:
            counts = counts & (on_cpu(attention_mask) != 0)
        places = _packed_places(counts, encoded.layout)
        scores = self._score_words(encoded.last_hidden_state[_repeated(places, self.dtype)])[: len(places)]
        return MaskedLMOutput(
            loss=mean_cross_entropy(scores, packed[places]),
            logits=scores,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _packed_places(meant: Tensor, layout: PackedLayout) -> Tensor:
    """Give the packed places of the tokens that are meant, row by row. Shape: (B, L) to (number of places,)."""
    (places,) = send_together([on_cpu(meant).flatten().nonzero()[:, 0]], layout.token_index.device)
    return layout.packed_places()[places]


def _repeated(places: Tensor, dtype: torch.dtype) -> Tensor:
    """Repeat a place until their number comes again, where products of each new number are planned (`SIZES`)."""
    if not plans_by_shape(places.device, dtype):
        return places
    return torch.cat([places, places[:1].repeat(-len(places) % SIZES)])
