"""The modules that score words: DeBERTa's masked-LM head in the two layouts that checkpoints carry.

Letters in shapes: ``T`` packed tokens, ``D`` hidden size, ``V`` vocabulary size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...layers.activations import get_activation
from ...layers.half_products import fast_half_products, linear
from ...modeling_utils import in_dtype_of
from .configuration_deberta_v2 import DebertaV2Config

__all__ = ["DebertaV2LMPredictionHead", "DebertaV2PredictionTransform", "LegacyDebertaV2LMPredictionHead"]


class DebertaV2PredictionTransform(nn.Module):
    """Dense layer, activation and normalisation in front of the scores.

    Args:
        config: The model's configuration.
        width: Width of the result: that of the table of word embeddings.
    """

    def __init__(self, config: DebertaV2Config, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, width)
        self.transform_act_fn = get_activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    @fast_half_products
    def forward(self, features: Tensor) -> Tensor:
        """Shape: (T, D) to (T, width)."""
        features = self.dense(in_dtype_of(self.dense, features))
        return self.LayerNorm(self.transform_act_fn(features))


class DebertaV2LMPredictionHead(DebertaV2PredictionTransform):
    """The masked-LM head as the authors' own checkpoints name it (``lm_predictions.lm_head``).

    It has no scoring matrix of its own: words are scored with their embeddings.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If the embeddings are not as wide as the hidden states.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        if config.word_embedding_size != config.hidden_size:
            raise ValueError(
                "legacy is False, which scores words with embeddings as wide as the hidden states, but embedding_size "
                f"is {config.embedding_size} and hidden_size {config.hidden_size}. Set legacy to True."
            )
        super().__init__(config, config.hidden_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, features: Tensor, word_embeddings: Tensor) -> Tensor:  # type: ignore[override]
        """Score all words. Shape: (T, D) and (V, D) to (T, V)."""
        features = super().forward(features).to(word_embeddings.dtype)
        return linear(features, word_embeddings) + self.bias


class _Scores(nn.Linear):
    """A linear layer whose weight is tied to embeddings that may be frozen in half precision; its bias is not."""

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layer. Shape: (T, width) to (T, V)."""
        return linear(features.to(self.weight.dtype), self.weight) + self.bias


class LegacyDebertaV2LMPredictionHead(nn.Module):
    """The masked-LM head as Transformers 4 names it (``cls.predictions``).

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.transform = DebertaV2PredictionTransform(config, config.word_embedding_size)
        self.decoder = _Scores(config.word_embedding_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, features: Tensor) -> Tensor:
        """Score all words. Shape: (T, D) to (T, V)."""
        return self.decoder(self.transform(features))
