"""DeBERTa-V2 and V3 (He et al., 2021a, 2021b), read from top to bottom in the order of use.

The encoder works on packed tokens (`transformers.layers.packing`): padding is taken out before the embeddings and put
back only for a caller who wants the padded output. Positions are in the attention itself (`disentangled_attention`),
and there LoRA goes in. What the heads at the end share with other families is in `transformers.heads`.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``Q`` tokens that a layer is asked for
(``T``, or ``B`` where only each row's first token is wanted), ``D`` hidden size, ``E`` width of the embedding tables,
``H`` attention heads, ``d`` size of a head, ``G`` rows of a group, ``n`` their length, ``N`` the longest row, ``R``
rows of the table of relative embeddings that occur, ``V`` vocabulary size, ``C`` labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...adapters.mixing import mixed_adapters
from ...configuration.checks import check_classifies, check_encoder_only
from ...configuration_utils import PretrainedConfig
from ...heads.encoding import Encoding
from ...heads.masked_lm import MaskedLM
from ...heads.multiple_choice import MultipleChoice
from ...heads.question_answering import QuestionAnswering
from ...heads.sequence_classification import SequenceClassification
from ...heads.token_classification import TokenClassification
from ...layers.activations import get_activation
from ...layers.batch import lay_out
from ...layers.dropout import StableDropout
from ...layers.half_products import apply_linear, fast_half_products
from ...layers.inputs import EncoderInputs, look_up, whole_table
from ...layers.packing import PackedLayout, PackedOutput, first_column
from ...layers.residual_norm import residual_norm
from ...methods.bottleneck import attention_adapter, feed_forward_adapter
from ...methods.lora.layers import LoraLayer
from ...modeling.load_report import drop_position_ids
from ...modeling_utils import PreTrainedModel, in_dtype_of, resized_parameter
from ...utils.lazy_names import LazyNames
from .configuration_deberta_v2 import DebertaV2Config
from .disentangled_attention import DisentangledSelfAttention
from .lm_heads import DebertaV2LMPredictionHead, LegacyDebertaV2LMPredictionHead
from .relative_positions import RelativePositions, rows_of_all_distances, table_rows

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [
    "DebertaV2ForMaskedLM",
    "DebertaV2ForMultipleChoice",
    "DebertaV2ForQuestionAnswering",
    "DebertaV2ForSequenceClassification",
    "DebertaV2ForTokenClassification",
    "DebertaV2Model",
    "DebertaV2PreTrainedModel",
    "DisentangledSelfAttention",
    "StableDropout",
]


class DebertaV2Embeddings(nn.Module):
    """Word embeddings, and position and token-type embeddings where the configuration has them, normalised.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        width = config.word_embedding_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        if config.position_biased_input:
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        if config.type_vocab_size > 0:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        if width != config.hidden_size:
            self.embed_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = StableDropout(config.hidden_dropout_prob)
        self.register_load_state_dict_pre_hook(drop_position_ids)

    def forward(
        self, words: Tensor, position_ids: Tensor | None, token_type_ids: Tensor | None, layout: PackedLayout
    ) -> Tensor:
        """Embed the packed tokens; those that the mask excludes are zero.

        Args:
            words: Token ids, shape (B, L), or ready-made word embeddings, shape (B, L, E).
            position_ids: Shape: (B, L); None counts the columns.
            token_type_ids: Shape: (B, L); None means type 0 everywhere.
            layout: The batch's layout.

        Returns:
            Shape: (T, D).

        Raises:
            ValueError: If a text is longer than the position table.
        """
        packed = layout.pack(words)
        embeddings = look_up(self.word_embeddings, packed, "input_ids") if words.dim() == 2 else packed  # (T, E)
        if hasattr(self, "position_embeddings"):
            positions = self._positions(position_ids, layout)
            embeddings = embeddings + look_up(self.position_embeddings, positions, "position_ids")
        if hasattr(self, "token_type_embeddings"):
            types = torch.zeros_like(layout.token_index) if token_type_ids is None else layout.pack(token_type_ids)
            embeddings = embeddings + look_up(self.token_type_embeddings, types, "token_type_ids")
        if hasattr(self, "embed_proj"):
            embeddings = self.embed_proj(embeddings)  # (T, D)
        embeddings = self.LayerNorm(embeddings)
        if layout.valid is not None:
            embeddings = embeddings * layout.valid[:, None].to(embeddings.dtype)
        return self.dropout(embeddings)

    def _positions(self, position_ids: Tensor | None, layout: PackedLayout) -> Tensor:
        """Give the packed tokens' absolute positions: their columns where none are given. Shape: (T,)."""
        longest = self.position_embeddings.num_embeddings
        if position_ids is not None:
            return layout.pack(position_ids.expand(layout.batch_size, -1))
        if layout.padded_length > longest:
            raise ValueError(
                f"The batch is {layout.padded_length} tokens long, but this model has {longest} absolute positions "
                "(max_position_embeddings); truncate it (tokenizer(..., truncation=True, max_length=...), or "
                "--max_seq_length)."
            )
        return layout.columns()


class DebertaV2SelfOutput(nn.Module):
    """Projection of the context, bottleneck adapter where there is one, residual and normalisation.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = StableDropout(config.hidden_dropout_prob)
        self.adapter = attention_adapter(config)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Add the projected context to the block's input. Shape: (Q, D) and (Q, D) to (Q, D)."""
        if self.adapter is not None:
            return self.adapter(self.dropout(self.dense(hidden_states)), input_tensor, self.LayerNorm)
        return residual_norm(hidden_states, input_tensor, self.dense, self.dropout, self.LayerNorm)


class DebertaV2Attention(nn.Module):
    """The attention sub-layer.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.self = DisentangledSelfAttention(config)
        self.output = DebertaV2SelfOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        queries: Tensor,
        layout: PackedLayout,
        positions: RelativePositions | None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, project, add and normalise; arguments and result as of `DisentangledSelfAttention`."""
        context, probabilities = self.self(hidden_states, queries, layout, positions, output_attentions)
        return self.output(context, queries), probabilities


class DebertaV2Intermediate(nn.Module):
    """The first half of the feed-forward network.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = get_activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Widen and activate. Shape: (Q, D) to (Q, intermediate_size)."""
        return self.intermediate_act_fn(apply_linear(self.dense, hidden_states))


class DebertaV2Output(nn.Module):
    """The second half of the feed-forward network, bottleneck adapter where there is one, residual, normalisation.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = StableDropout(config.hidden_dropout_prob)
        self.adapter = feed_forward_adapter(config)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Narrow and add. Shape: (Q, intermediate_size) and (Q, D) to (Q, D)."""
        if self.adapter is not None:
            return self.adapter(self.dropout(self.dense(hidden_states)), input_tensor, self.LayerNorm)
        return residual_norm(hidden_states, input_tensor, self.dense, self.dropout, self.LayerNorm)


class DebertaV2Layer(nn.Module):
    """One layer: attention, then feed-forward.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.attention = DebertaV2Attention(config)
        self.intermediate = DebertaV2Intermediate(config)
        self.output = DebertaV2Output(config)

    @fast_half_products
    def forward(
        self,
        hidden_states: Tensor,
        layout: PackedLayout,
        positions: RelativePositions | None,
        output_attentions: bool = False,
        first_token_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the layer.

        Args:
            hidden_states: Shape: (T, D).
            layout: The batch's layout.
            positions: The relative embeddings; None without relative attention.
            output_attentions: Return the probabilities too.
            first_token_only: Compute the output of each row's first token alone.

        Returns:
            The output, shape (T, D) or (B, D) in packed order of rows, and the probabilities or None.
        """
        queries = layout.first_tokens(hidden_states) if first_token_only else hidden_states
        attended, probabilities = self.attention(hidden_states, queries, layout, positions, output_attentions)
        return self.output(self.intermediate(attended), attended), probabilities


class ConvLayer(nn.Module):
    """A convolution along each row of embeddings, added to the first layer's output (He et al., 2021a, section 5.3).

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        size = config.hidden_size
        kernel, groups = config.conv_kernel_size, config.conv_groups
        self.conv = nn.Conv1d(size, size, kernel, padding=(kernel - 1) // 2, groups=groups)
        self.conv_act = get_activation(config.conv_act)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = StableDropout(config.hidden_dropout_prob)

    @fast_half_products
    def forward(self, embeddings: Tensor, residual_states: Tensor, layout: PackedLayout) -> Tensor:
        """Convolve each row, add and normalise.

        Args:
            embeddings: Zero where the mask is 0, as are the neighbours beyond a row's ends. Shape: (T, D).
            residual_states: The first layer's output. Shape: (T, D).
            layout: The batch's layout.

        Returns:
            Shape: (T, D).
        """
        rows = [tokens.transpose(1, 2) for tokens in layout.split(embeddings)]  # (G, D, n)
        convolved = torch.cat([self.conv(row).transpose(1, 2).flatten(0, 1) for row in rows])  # (T, D)
        return self.LayerNorm(residual_states + self.conv_act(self.dropout(convolved)))


class DebertaV2Encoder(nn.Module):
    """The stack of layers, with the relative embeddings that all of them share.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        check_encoder_only(config)  # fields may have been set since the configuration was made
        self.config = config
        self.layer = nn.ModuleList(DebertaV2Layer(config) for _ in range(config.num_hidden_layers))
        self.relative_attention = config.relative_attention
        if config.relative_attention:
            self.rel_embeddings = nn.Embedding(2 * config.position_span, config.hidden_size)
            self.row_settings = (config.position_span, config.position_buckets, config.max_distance)
        self.all_rows: Tensor | None = None  # of all distances that there are, once static shapes were asked for
        self.norm_rel_ebd = config.norm_rel_ebd
        if config.norm_rel_ebd == "layer_norm":
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.conv = ConvLayer(config) if config.conv_kernel_size > 0 else None
        self.gradient_checkpointing = config.gradient_checkpointing

    def forward(
        self,
        hidden_states: Tensor,
        layout: PackedLayout,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        first_token_only: bool = False,
    ) -> PackedOutput:
        """Run all layers.

        Args:
            hidden_states: The embeddings. Shape: (T, D).
            layout: The batch's layout.
            output_hidden_states: Keep every layer's output, padded.
            output_attentions: Keep every layer's probabilities.
            first_token_only: Let the last layer compute each row's first token alone.

        Returns:
            The packed output.
        """
        positions = self._relative_positions(layout)
        if self.conv is not None and len(self.layer) == 1:
            first_token_only = False  # the convolution is added to all of the only layer's output
        recompute = self.training and (self.gradient_checkpointing or self.config.gradient_checkpointing)
        states: list[Tensor] | None = [] if output_hidden_states else None
        attentions = []
        embeddings = hidden_states = layout.show(hidden_states, states)
        for number, layer in enumerate(self.layer, start=1):
            last = number == len(self.layer)
            arguments = (hidden_states, layout, positions, output_attentions, first_token_only and last)
            if recompute:
                hidden_states, probabilities = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                hidden_states, probabilities = layer(*arguments)
            if number == 1 and self.conv is not None:
                hidden_states = self.conv(embeddings, hidden_states, layout)
            hidden_states = layout.show(hidden_states, states)
            attentions.append(probabilities)
        return PackedOutput(
            hidden_states,
            layout,
            hidden_states=None if states is None else tuple(states),
            attentions=tuple(attentions) if output_attentions else None,
            first_token_only=first_token_only,
        )

    def _relative_positions(self, layout: PackedLayout) -> RelativePositions | None:
        """Take the relative embeddings of the distances that occur, normalised where the configuration says so."""
        if not self.relative_attention:
            return None
        if layout.static_shapes and self.all_rows is not None:
            positions = RelativePositions.of_length(self.rel_embeddings, self.all_rows, layout.padded_length)
        else:
            longest = max(group.length for group in layout.groups)
            rows = table_rows(longest, *self.row_settings)
            positions = RelativePositions.from_table(self.rel_embeddings, rows, layout.token_index.device)
        if self.norm_rel_ebd == "none":
            return positions
        return RelativePositions(self.LayerNorm(positions.embeddings), positions.rows)


class DebertaV2PreTrainedModel(PreTrainedModel):
    """What all DeBERTa-V2 models share."""

    config: DebertaV2Config
    config_class: ClassVar[type[PretrainedConfig]] = DebertaV2Config
    base_model_prefix: ClassVar[str] = "deberta"

    @property
    def longest_text(self) -> int | None:
        """The most tokens that a text may have; None where positions are relative alone."""
        return self.config.max_position_embeddings if self.config.position_biased_input else None

    def use_static_shapes(self, wanted: bool = True) -> None:
        """Compute padding too from now on, and look the rows of relative positions up in a table of all."""
        super().use_static_shapes(wanted)
        encoder = self.base_model.encoder
        assert isinstance(encoder, DebertaV2Encoder)
        if wanted and encoder.relative_attention and encoder.all_rows is None:
            encoder.all_rows = rows_of_all_distances(*encoder.row_settings).to(self.device)

    def set_position_query(self, adapted: bool) -> None:
        """Choose whether a shared position query goes through the adapted layer (see ``lora_position_query``)."""
        self.config.lora_position_query = adapted
        for attention in self._attentions():
            attention.lora_position_query = adapted

    def untie_position_projections(self) -> None:
        """Part the positions' projections from the content's, where merging would change a shared one."""
        adapted = any(isinstance(attention.query_proj, LoraLayer) for attention in self._attentions())
        if adapted and self.config.shares_position_query and not self.config.lora_position_query:
            for attention in self._attentions():
                attention.untie_position_projections()
            self.config.share_att_key = False

    def serves_all_rows(self, path: str) -> bool:
        """Say whether a layer projects relative positions, which all rows of a batch share, or is an embedding."""
        name, config = path.rpartition(".")[2], self.config
        if name == "key_proj":
            return bool(config.relative_attention and config.share_att_key)
        if name == "query_proj":
            return config.adapts_position_query
        return name in ("pos_key_proj", "pos_query_proj") or super().serves_all_rows(path)

    def _attentions(self) -> list[DisentangledSelfAttention]:
        return [module for module in self.modules() if isinstance(module, DisentangledSelfAttention)]


# What its models take, in 4.4.2's order; see `transformers.layers.inputs`.
ARGUMENTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")


class DebertaV2Model(Encoding, DebertaV2PreTrainedModel):
    """The bare encoder.

    Args:
        config: The model's configuration.
    """

    forward = Encoding.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.embeddings = DebertaV2Embeddings(config)
        self.encoder = DebertaV2Encoder(config)
        self.post_init()

    def set_input_embeddings(self, new_embeddings: nn.Embedding) -> None:
        """Replace the table of word embeddings; the argument's name is 4.4.2's."""
        super().set_input_embeddings(new_embeddings)

    def encode(
        self,
        inputs: EncoderInputs,
        *,
        first_token_only: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> PackedOutput:
        """Encode a padded batch and leave the result packed; arguments, result and errors as of `Head.encode`."""
        inputs = inputs.with_choices_of(self.config)
        words, layout = lay_out(inputs, self.dtype, static_shapes=self.static_shapes)
        hidden_states = self.embeddings(words, inputs.position_ids, inputs.token_type_ids, layout)
        with mixed_adapters(self, layout, adapter_names):
            return self.encoder(
                hidden_states,
                layout,
                inputs.output_hidden_states,
                inputs.output_attentions,
                first_token_only=first_token_only and not inputs.wants_layers and not layout.static_shapes,
            )


# Heads ----------------------------------------------------------------------------------------------------------


class DebertaV2ForMaskedLM(MaskedLM, DebertaV2PreTrainedModel):
    """DeBERTa with a masked language-model head, in either of the two layouts that checkpoints carry.

    ``config.legacy`` chooses the layout; in loading, the checkpoint does.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If ``legacy`` is False and the embeddings are not as wide as the hidden states.
    """

    forward = MaskedLM.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.deberta = DebertaV2Model(config)
        self._build_head()
        self.post_init()

    def _build_head(self) -> None:
        """Make the head that ``config.legacy`` names, in place of another; ModuleDicts spell the checkpoints' keys."""
        self.cls: nn.ModuleDict | None = None
        self.lm_predictions: nn.ModuleDict | None = None
        if self.config.legacy:
            self.cls = nn.ModuleDict({"predictions": LegacyDebertaV2LMPredictionHead(self.config)})
        else:
            self.lm_predictions = nn.ModuleDict({"lm_head": DebertaV2LMPredictionHead(self.config)})

    def _head(self) -> Any:
        """Give whichever head there is."""
        return self.cls["predictions"] if self.cls is not None else self.lm_predictions["lm_head"]  # type: ignore[index]

    def _prepare_for(self, state_dict: Mapping[str, Tensor]) -> None:
        """Build the head that the checkpoint has."""
        found = [any(name.startswith(prefix) for name in state_dict) for prefix in ("cls.", "lm_predictions.")]
        if found[0] != found[1] and self.config.legacy != found[0]:
            self.config.legacy = found[0]
            with torch.device(self.device):  # without storage where the model has none yet
                self._build_head()
            self._head().apply(self._init_weights)
            self.tie_weights()

    def _tied_weights(self) -> dict[str, str]:
        """Name the decoder's parameters, which are the word embeddings and the head's own bias."""
        if self.cls is None or not self.config.tie_word_embeddings:
            return {}
        return {
            "cls.predictions.decoder.weight": "deberta.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        }

    def get_output_embeddings(self) -> nn.Module:
        """Give the layer that scores words: the legacy layout's decoder, the other's word embeddings."""
        return self.get_input_embeddings() if self.cls is None else self._head().decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer that scores words.

        Raises:
            ValueError: In the layout that scores them with the word embeddings themselves.
        """
        if self.cls is None:
            raise ValueError("With legacy=False the word embeddings score the words; call set_input_embeddings().")
        self._head().decoder = new_embeddings

    def _resize_output(self, new_num_tokens: int) -> None:
        """Bring bias and decoder to a new vocabulary; new words start at zero."""
        head = self._head()
        head.bias = resized_parameter(head.bias, new_num_tokens)
        if self.cls is not None:
            for name in ("weight", "bias"):  # tie_weights comes last
                setattr(head.decoder, name, resized_parameter(getattr(head.decoder, name), new_num_tokens))
            head.decoder.out_features = new_num_tokens

    def _score_words(self, features: Tensor) -> Tensor:
        """Apply whichever head there is. Shape: (T, D) to (T, V)."""
        head = self._head()
        if self.cls is not None:
            return head(features)
        return head(features, whole_table(self.get_input_embeddings(), features.device))


class ContextPooler(nn.Module):
    """Dropout, dense layer and activation on each row's first token.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = StableDropout(config.pooler_dropout)
        self.activation = get_activation(config.pooler_hidden_act)

    @property
    def output_dim(self) -> int:
        """Width of what it gives."""
        return self.dense.out_features

    @fast_half_products
    def forward(self, hidden_states: Tensor) -> Tensor:
        """Pool each row's first token. Shape: (B, D), or (B, L, D) as in 4.4.2, to (B, D)."""
        first_token = in_dtype_of(self.dense, first_column(hidden_states))
        return self.activation(self.dense(self.dropout(first_token)))


def _head_dropout(config: DebertaV2Config) -> StableDropout:
    """Make the dropout behind the pooler: of ``cls_dropout``, else ``hidden_dropout_prob``."""
    return StableDropout(config.hidden_dropout_prob if config.cls_dropout is None else config.cls_dropout)


class DebertaV2ForSequenceClassification(SequenceClassification, DebertaV2PreTrainedModel):
    """DeBERTa with a pooler and a classifier or regressor on each row's first token.

    Pooler and classifier are the head: with LoRA both are trained, and saved with the adapter.

    Args:
        config: The model's configuration; ``num_labels`` is the classifier's width, ``cls_dropout`` (else
            ``hidden_dropout_prob``) the dropout in front of it.

    Raises:
        ValueError: If ``config.consistency`` is set and does not apply.
    """

    forward = SequenceClassification.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        check_classifies(config)
        self.num_labels = config.num_labels
        self.deberta = DebertaV2Model(config)
        self.pooler = ContextPooler(config)
        self.dropout = _head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @property
    def _first_token_only(self) -> bool:
        """Whether the pooler is this module's own, which reads each row's first token alone."""
        return type(self.pooler).forward is ContextPooler.forward

    def score_rows(self, features: Tensor) -> Tensor:
        """Score the labels. Shape: (B, D), or (B, L, D) for a pooler from elsewhere, to (B, C)."""
        return self.classifier(self.dropout(self.pooler(features)))

    def label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return ["classifier.weight", "classifier.bias"]


class DebertaV2ForTokenClassification(TokenClassification, DebertaV2PreTrainedModel):
    """DeBERTa with a label for each token.

    Args:
        config: The model's configuration; ``num_labels`` is the classifier's width.
    """

    forward = TokenClassification.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.deberta = DebertaV2Model(config)
        self._build_head(config, StableDropout(config.hidden_dropout_prob))
        self.post_init()


class DebertaV2ForQuestionAnswering(QuestionAnswering, DebertaV2PreTrainedModel):
    """DeBERTa that finds the part of a text which answers a question.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If ``num_labels`` is not 2.
    """

    forward = QuestionAnswering.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.deberta = DebertaV2Model(config)
        self._build_head(config)
        self.post_init()


class DebertaV2ForMultipleChoice(MultipleChoice, DebertaV2PreTrainedModel):
    """DeBERTa that chooses the best of several texts by its pooled first token.

    Args:
        config: The model's configuration; the dropouts are those of `DebertaV2ForSequenceClassification`.
    """

    forward = MultipleChoice.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.deberta = DebertaV2Model(config)
        self.pooler = ContextPooler(config)
        self.dropout = _head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def score_texts(self, encoded: PackedOutput) -> Tensor:
        """Score each text. Shape: (B·C, 1)."""
        return self.classifier(self.dropout(self.pooler(encoded.first_tokens())))


class DebertaV2ForFeatureExtraction(Encoding, DebertaV2PreTrainedModel):
    """DeBERTa without a head, where adapters of bare encoders stand beside others; by itself it is `DebertaV2Model`.

    Args:
        config: The model's configuration.
    """

    is_headless: ClassVar[bool] = True
    forward = Encoding.forward_with(ARGUMENTS)

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.deberta = DebertaV2Model(config)
        self.post_init()


# Whose adapters may stand side by side on one encoder.
DebertaV2PreTrainedModel.head_classes = (
    DebertaV2ForSequenceClassification,
    DebertaV2ForTokenClassification,
    DebertaV2ForQuestionAnswering,
    DebertaV2ForMultipleChoice,
    DebertaV2ForMaskedLM,
    DebertaV2ForFeatureExtraction,
)
