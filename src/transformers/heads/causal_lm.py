"""The next word at each place: each token sees itself and those before it (``config.is_decoder``).

In the checkpoint: RoBERTa's ``lm_head``, as of the masked language model. DeBERTa has no such task.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``D`` hidden size, ``V`` vocabulary size.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from torch import Tensor
from torch.nn import functional

from ..configuration_utils import PretrainedConfig
from ..layers.inputs import EncoderInputs
from ..layers.losses import IGNORED_LABEL, mean_cross_entropy
from ..modeling_outputs import CausalLMOutputWithCrossAttentions
from .head import Head

__all__ = ["CausalLM"]


class CausalLM(Head):
    """A head that scores all words as the next one; a model builds it and says how it scores.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If ``config.is_decoder`` is not set.
    """

    task_type: ClassVar[str | None] = "CAUSAL_LM"
    pipeline_tag: ClassVar[str | None] = "text-generation"
    may_decode: ClassVar[bool] = True
    labels_each_token: ClassVar[bool] = True

    def __init__(self, config: PretrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        if isinstance(config, PretrainedConfig) and not getattr(config, "is_decoder", False):
            raise ValueError(
                f"{type(self).__name__} needs is_decoder=True: without it tokens see those behind them, the very "
                f"words that are to be found. Call {type(self).__name__}.from_pretrained(name, is_decoder=True)."
            )
        super().__init__(config, *inputs, **kwargs)

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

    def _compute(self, inputs: EncoderInputs, labels: Tensor | None = None) -> CausalLMOutputWithCrossAttentions:
        """Score all words as the next one at every valid position.

        Args:
            inputs: What the encoder is given.
            labels: The text's own ids, which are moved here: position i is to find the label of i + 1. -100 where none
                counts, and never counted where the mask is 0 at either. Shape: (B, L).

        Returns:
            The output; a tuple without ``return_dict``. Its loss is 0 where no label counts.

        Raises:
            ValueError: As of the encoder's ``forward``, or if a label is no word.
        """
        encoded = self.encode(inputs)
        layout = encoded.layout
        scores = self._score_words(encoded.last_hidden_state)  # (T, V)
        loss = None
        if labels is not None:
            following = functional.pad(layout.mask_labels(labels)[:, 1:], (0, 1), value=IGNORED_LABEL)
            loss = mean_cross_entropy(scores, layout.pack_labels(following))
        return CausalLMOutputWithCrossAttentions(
            loss=loss,
            logits=layout.unpack(scores),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past: None = None, attention_mask: Tensor | None = None, **model_kwargs: Any
    ) -> dict[str, Any]:
        """Give the arguments of a call that scores the next word; 4.4.2's generation asked for them.

        Args:
            input_ids: The text so far. Shape: (B, L).
            past: Must be None: every call reads the whole text.
            attention_mask: Shape: (B, L).
            **model_kwargs: Without effect.
        """
        return {"input_ids": input_ids, "attention_mask": attention_mask, "past_key_values": past}

    def generate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "generate() is not part of this package. The next words of texts without padding are "
            "model(input_ids).logits[:, -1].argmax(-1); append them and call the model again."
        )
