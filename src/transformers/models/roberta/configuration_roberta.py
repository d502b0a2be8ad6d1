"""The configuration of RoBERTa."""

from __future__ import annotations

from typing import Any, ClassVar

from ...configuration.checks import check_encoder_only
from ...configuration.shapes import ENCODER, check_padding_id
from ...configuration_utils import PretrainedConfig
from ...utils.shapes import Real, Record, optional

__all__ = ["RobertaConfig"]

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


class RobertaConfig(PretrainedConfig):
    """Sizes and switches of a RoBERTa encoder (Liu et al., 2019), defaults as in Transformers 4.4.2.

    Args:
        vocab_size: Number of words.
        hidden_size: Width of the hidden states.
        num_hidden_layers: Number of layers.
        num_attention_heads: Attention heads of a layer; divides ``hidden_size``.
        intermediate_size: Width of the feed-forward network.
        hidden_act: Its activation; see `transformers.layers.activations`.
        hidden_dropout_prob: Dropout after the embeddings and after each sub-layer.
        attention_probs_dropout_prob: Dropout on the attention probabilities.
        max_position_embeddings: Rows of the position table; the longest text has ``pad_token_id + 1`` fewer tokens.
        type_vocab_size: Number of token types (segments).
        initializer_range: Standard deviation of new weights.
        layer_norm_eps: Added to the variance in layer normalisation.
        pad_token_id: Id of the padding token; positions are counted from the one behind it.
        bos_token_id: Id of the first token.
        eos_token_id: Id of the last token.
        classifier_dropout: Dropout in the classification head; ``hidden_dropout_prob`` where None.
        **kwargs: Fields of `PretrainedConfig`; with ``is_decoder`` each token sees itself and those before it alone.

    Raises:
        ValueError: If the sizes do not fit together, or a field of `PretrainedConfig` is out of range.
    """

    field_shapes: ClassVar[Record] = Record({**ENCODER, "classifier_dropout": optional(Real(0, below=1))})
    model_type: ClassVar[str] = "roberta"
    lora_targets: ClassVar[tuple[str, ...]] = ("query", "value")
    takes_bottleneck_adapters: ClassVar[bool] = True

    is_decoder: bool

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int = 1,
        bos_token_id: int = 0,
        eos_token_id: int = 2,
        classifier_dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.classifier_dropout = classifier_dropout
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)
        self.check_sizes(*_SIZES)
        if hidden_size % num_attention_heads:
            raise ValueError(
                f"hidden_size is {hidden_size}, which {num_attention_heads} attention heads (num_attention_heads) do "
                "not divide."
            )
        check_padding_id(self.pad_token_id, vocab_size=vocab_size, max_position_embeddings=max_position_embeddings)
        check_encoder_only(self, may_decode=True)
