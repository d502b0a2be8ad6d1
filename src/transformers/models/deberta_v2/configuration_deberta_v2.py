"""The configuration of DeBERTa-V2 and V3, which share one architecture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ...configuration.checks import check_encoder_only
from ...configuration.shapes import ENCODER, check_padding_id
from ...configuration_utils import PretrainedConfig
from ...utils.shapes import Flag, ListOf, Null, OneOf, Real, Record, Shape, Text, Whole, optional

__all__ = ["DebertaV2Config"]

POSITION_TERMS = ("c2p", "p2c")


_FIELDS: dict[str, Shape] = {
    **dict.fromkeys(("relative_attention", "position_biased_input", "share_att_key", "legacy"), Flag()),
    "attention_head_size": optional(Whole(1, 65_536)),
    "conv_act": Text(),
    "conv_groups": Whole(1, 65_536),
    "conv_kernel_size": Whole(0, 1_001),
    "embedding_size": optional(Whole(1, 65_536)),
    "lora_position_query": Flag(),
    "max_relative_positions": Whole(-(2**20), 2**20),
    "norm_rel_ebd": Text(),
    "pooler_dropout": Real(0, below=1),
    "pooler_hidden_act": Text(),
    "pooler_hidden_size": optional(Whole(1, 65_536)),
    "pos_att_type": OneOf((Null(), Text(), ListOf(Text()))),
    "position_buckets": Whole(-(2**20), 2**20),
}


class DebertaV2Config(PretrainedConfig):
    """Sizes and switches of a DeBERTa-V2 encoder (He et al., 2021), defaults as in Transformers 4.4.2.

    Args:
        vocab_size: Number of words.
        hidden_size: Width of the hidden states.
        num_hidden_layers: Number of layers.
        num_attention_heads: Attention heads of a layer; divides ``hidden_size``.
        intermediate_size: Width of the feed-forward network.
        hidden_act: Its activation; see `transformers.layers.activations`.
        hidden_dropout_prob: Dropout after the embeddings, after each sub-layer, and on the relative positions.
        attention_probs_dropout_prob: Dropout on the attention probabilities.
        max_position_embeddings: Rows of the absolute position table, where there is one.
        type_vocab_size: Number of token types (segments); 0 for none.
        initializer_range: Standard deviation of new weights.
        layer_norm_eps: Added to the variance in layer normalisation.
        relative_attention: Let attention see the distance between tokens.
        max_relative_positions: Distances beyond this are one; ``max_position_embeddings`` where it is below 1.
        pad_token_id: Id of the padding token.
        position_biased_input: Add absolute positions to the embeddings.
        pos_att_type: Which position terms the attention has, ``"c2p"`` (content to position) and ``"p2c"`` (position
            to content), as a list or joined by ``|``; the word ``"none"`` stands for none, as in Microsoft's files.
            The attribute is a list, or None for none.
        pooler_dropout: Dropout in front of the pooler's dense layer.
        pooler_hidden_act: The pooler's activation.
        position_buckets: Half the number of buckets that distances are put into; below 1 every distance is its own.
        share_att_key: Project positions with the content's query and key layers rather than with layers of their own.
        norm_rel_ebd: ``"layer_norm"`` to normalise the relative embeddings, or ``"none"``.
        conv_kernel_size: Width of the convolution beside the first layer, odd; 0 for none.
        conv_groups: Groups of that convolution.
        conv_act: Its activation.
        embedding_size: Width of the embedding tables; ``hidden_size`` where None.
        legacy: Which layout the masked-LM head has: ``cls.predictions`` where True, ``lm_predictions.lm_head`` where
            False. A checkpoint that holds the other one is loaded all the same.
        lora_position_query: What LoRA means for a shared position query (``share_att_key`` with ``p2c``): False, as in
            the original, projects positions with the frozen ``query_proj`` alone; True, as in PEFT, with its update.
        pooler_hidden_size: Width of the pooler; must be ``hidden_size``, which None means.
        cls_token_id: Id of the token that begins a text.
        sep_token_id: Id of the token that ends a text.
        unk_token_id: Id of the unknown token.
        **kwargs: Fields of `PretrainedConfig`; ``cls_dropout`` is the classifier's dropout, ``hidden_dropout_prob``
            where None.

    Raises:
        ValueError: If the fields do not fit together, or one is out of range.
    """

    field_shapes: ClassVar[Record] = Record({**ENCODER, **_FIELDS})
    model_type: ClassVar[str] = "deberta-v2"
    lora_targets: ClassVar[tuple[str, ...]] = ("query_proj", "value_proj")
    lora_initialization: ClassVar[str] = "normal"
    takes_bottleneck_adapters: ClassVar[bool] = True

    def __init__(
        self,
        vocab_size: int = 128100,
        hidden_size: int = 1536,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 24,
        intermediate_size: int = 6144,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 0,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-7,
        relative_attention: bool = False,
        max_relative_positions: int = -1,
        pad_token_id: int = 0,
        position_biased_input: bool = True,
        pos_att_type: str | Iterable[str] | None = None,
        pooler_dropout: float = 0,
        pooler_hidden_act: str = "gelu",
        position_buckets: int = -1,
        share_att_key: bool = False,
        norm_rel_ebd: str = "none",
        conv_kernel_size: int = 0,
        conv_groups: int = 1,
        conv_act: str = "tanh",
        embedding_size: int | None = None,
        legacy: bool = True,
        lora_position_query: bool = False,
        pooler_hidden_size: int | None = None,
        cls_token_id: int = 1,
        sep_token_id: int = 2,
        unk_token_id: int = 3,
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
        self.relative_attention = relative_attention
        self.max_relative_positions = max_relative_positions
        self.position_biased_input = position_biased_input
        self.pos_att_type = _position_terms(pos_att_type)
        self.pooler_dropout = pooler_dropout
        self.pooler_hidden_act = pooler_hidden_act
        self.pooler_hidden_size = hidden_size if pooler_hidden_size is None else pooler_hidden_size
        self.position_buckets = position_buckets
        self.share_att_key = share_att_key
        self.norm_rel_ebd = norm_rel_ebd
        self.conv_kernel_size = conv_kernel_size
        self.conv_groups = conv_groups
        self.conv_act = conv_act
        self.embedding_size = embedding_size
        self.legacy = legacy
        self.lora_position_query = lora_position_query
        super().__init__(
            pad_token_id=pad_token_id,
            sep_token_id=sep_token_id,
            cls_token_id=cls_token_id,
            unk_token_id=unk_token_id,
            **kwargs,
        )
        check_padding_id(self.pad_token_id, vocab_size=vocab_size)
        self._check_sizes()
        self._check_positions()
        self._check_convolution()
        check_encoder_only(self)

    @property
    def word_embedding_size(self) -> int:
        """Width of the embedding tables."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    @property
    def max_distance(self) -> int:
        """Distances from here on are one."""
        return self.max_position_embeddings if self.max_relative_positions < 1 else self.max_relative_positions

    @property
    def position_span(self) -> int:
        """Half the rows of the relative embeddings: distances from ``-span`` to ``span - 1`` have a row each."""
        return self.position_buckets if self.position_buckets > 0 else self.max_distance

    @property
    def shares_position_query(self) -> bool:
        """Whether relative positions go through the query's own projection."""
        return self.relative_attention and self.share_att_key and "p2c" in (self.pos_att_type or ())

    @property
    def adapts_position_query(self) -> bool:
        """Whether relative positions go through a LoRA layer, so rows of two adapters share none."""
        return self.shares_position_query and self.apply_lora and self.lora_position_query

    def _check_sizes(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}, which {self.num_attention_heads} attention heads "
                "(num_attention_heads) do not divide."
            )
        fixed = {
            "attention_head_size": self.hidden_size // self.num_attention_heads,
            "pooler_hidden_size": self.hidden_size,
        }
        for name, expected in fixed.items():
            value = getattr(self, name, expected)
            if value != expected:
                raise ValueError(
                    f"{name} is {value!r}; with hidden_size {self.hidden_size} and {self.num_attention_heads} heads "
                    f"only {expected} fits the layers around it, as in every published DeBERTa."
                )

    def _check_positions(self) -> None:
        if self.position_buckets > 0 and not self.relative_attention:
            raise ValueError(
                f"position_buckets is {self.position_buckets}, but relative_attention is not set: there would be no "
                "distances to put into buckets. Set relative_attention, or position_buckets to -1."
            )
        half, largest = self.position_buckets // 2, self.max_distance - 2
        if self.position_buckets > 0 and not 1 <= half <= largest:
            raise ValueError(
                f"position_buckets is {self.position_buckets}; from 2 to {2 * largest + 1} were expected with "
                f"distances up to {self.max_distance} (max_relative_positions), or -1 for no buckets."
            )
        if self.norm_rel_ebd not in ("none", "layer_norm"):
            raise ValueError(f"norm_rel_ebd is {self.norm_rel_ebd!r}; 'none' or 'layer_norm' was expected.")

    def _check_convolution(self) -> None:
        if self.conv_kernel_size > 0 and self.conv_kernel_size % 2 == 0:
            raise ValueError(
                f"conv_kernel_size is {self.conv_kernel_size}; an odd number was expected (or 0 for no convolution): "
                "an even one has no middle."
            )
        if self.conv_kernel_size > 0 and self.hidden_size % self.conv_groups:
            raise ValueError(
                f"conv_groups is {self.conv_groups}, which does not divide hidden_size {self.hidden_size}."
            )


def _position_terms(pos_att_type: str | Iterable[str] | None) -> list[str] | None:
    """Bring the ways to write position terms into one."""
    if pos_att_type is None:
        return None
    if not isinstance(pos_att_type, Iterable):
        _FIELDS["pos_att_type"].check(pos_att_type, "pos_att_type")
    written = pos_att_type.split("|") if isinstance(pos_att_type, str) else list(pos_att_type)
    ListOf(Text()).check(written, "pos_att_type")
    terms = [term for term in (part.strip().lower() for part in written) if term not in ("", "none")]
    unknown = [term for term in terms if term not in POSITION_TERMS]
    if unknown:
        raise ValueError(
            f"pos_att_type is {pos_att_type!r}, which holds {unknown[0]!r}; 'c2p', 'p2c', both or neither were "
            "expected, as a list or joined by '|'."
        )
    return terms or None
