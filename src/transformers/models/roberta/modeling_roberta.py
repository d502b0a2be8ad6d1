"""RoBERTa (Liu et al., 2019), read from top to bottom in the order of use.

The encoder works on packed tokens (`transformers.layers.packing`): padding is taken out before the embeddings and put
back only for a caller who wants the padded output. LoRA goes in where `RobertaSelfAttention` builds its linear layers.
What the heads at the end share with other families is in `transformers.heads`.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``Q`` tokens that a layer is asked for
(``T``, or ``B`` where only each row's first token is wanted), ``D`` hidden size, ``H`` attention heads, ``d`` size of
a head, ``G`` rows of a group, ``n`` their length, ``V`` vocabulary size, ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ...adapters.mixing import mixed_adapters
from ...configuration.checks import check_classifies, check_encoder_only
from ...configuration_utils import PretrainedConfig
from ...heads.causal_lm import CausalLM
from ...heads.encoding import Encoding, PooledEncoding
from ...heads.masked_lm import MaskedLM
from ...heads.multiple_choice import MultipleChoice
from ...heads.question_answering import QuestionAnswering
from ...heads.sequence_classification import SequenceClassification
from ...heads.token_classification import TokenClassification
from ...layers.activations import get_activation
from ...layers.attention import grouped_attention
from ...layers.batch import lay_out
from ...layers.dropout import Dropout
from ...layers.half_products import apply_linear, fast_half_products, linear
from ...layers.inputs import EncoderInputs, look_up
from ...layers.packing import PackedLayout, PackedOutput, first_column
from ...layers.residual_norm import residual_norm
from ...methods.bottleneck import attention_adapter, feed_forward_adapter
from ...methods.lora.places import lora_linear
from ...methods.lora.shared_input import project
from ...modeling.load_report import drop_position_ids
from ...modeling_utils import PreTrainedModel, in_dtype_of, resized_parameter
from ...utils.generic import ModelOutput
from ...utils.lazy_names import LazyNames
from .configuration_roberta import RobertaConfig

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [
    "RobertaForCausalLM",
    "RobertaForMaskedLM",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaModel",
    "RobertaPreTrainedModel",
    "create_position_ids_from_input_ids",
]


def create_position_ids_from_input_ids(input_ids: Tensor, padding_idx: int, past_key_values_length: int = 0) -> Tensor:
    """Number the tokens of each row from ``padding_idx + 1``; padding tokens get ``padding_idx``.

    Args:
        input_ids: Token ids. Shape: (B, L).
        padding_idx: Id of the padding token.
        past_key_values_length: Added to the positions; 0 in an encoder.

    Returns:
        Positions. Shape: (B, L).
    """
    is_token = input_ids.ne(padding_idx).long()
    return (torch.cumsum(is_token, dim=1) + past_key_values_length) * is_token + padding_idx


class RobertaEmbeddings(nn.Module):
    """The sum of word, position and token-type embeddings, normalised.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.padding_idx = config.pad_token_id or 0
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=self.padding_idx)
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, config.hidden_size, padding_idx=self.padding_idx
        )
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.register_load_state_dict_pre_hook(drop_position_ids)

    def forward(
        self, words: Tensor, position_ids: Tensor, token_type_ids: Tensor | None, layout: PackedLayout
    ) -> Tensor:
        """Embed the packed tokens.

        Args:
            words: Token ids, shape (B, L), or ready-made word embeddings, shape (B, L, D).
            position_ids: Shape: (B, L).
            token_type_ids: Shape: (B, L); None means type 0 everywhere.
            layout: The batch's layout.

        Returns:
            Shape: (T, D).
        """
        packed = layout.pack(words)
        embeddings = look_up(self.word_embeddings, packed, "input_ids") if words.dim() == 2 else packed  # (T, D)
        embeddings = embeddings + look_up(self.position_embeddings, layout.pack(position_ids), "position_ids")
        types = layout.token_index.new_zeros(1) if token_type_ids is None else layout.pack(token_type_ids)
        embeddings = embeddings + look_up(self.token_type_embeddings, types, "token_type_ids")
        return self.dropout(self.LayerNorm(embeddings))


class RobertaSelfAttention(nn.Module):
    """Multi-head attention within each row. LoRA layers for query and value are built here.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = config.hidden_size
        self.query = lora_linear(config, "query", config.hidden_size, config.hidden_size)
        self.key = lora_linear(config, "key", config.hidden_size, config.hidden_size)
        self.value = lora_linear(config, "value", config.hidden_size, config.hidden_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)
        self.is_decoder = config.is_decoder

    def forward(
        self,
        hidden_states: Tensor,
        queries: Tensor,
        layout: PackedLayout,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Let the queries attend to all valid tokens of their rows; in a decoder to those up to their own place.

        Args:
            hidden_states: What keys and values are made of. Shape: (T, D).
            queries: What queries are made of: all tokens, or each row's first. Shape: (Q, D).
            layout: The batch's layout.
            head_mask: Factor of each head's probabilities. Shape: (H,).
            output_attentions: Return the probabilities too.

        Returns:
            The context, shape (Q, D), and the probabilities, shape (B, H, L, L), or None.
        """
        heads = (self.num_attention_heads, -1)
        query, key, value = project(queries, hidden_states, self.query, self.key, self.value)
        return grouped_attention(
            query.unflatten(-1, heads),  # (Q, H, d)
            key.unflatten(-1, heads),  # (T, H, d)
            value.unflatten(-1, heads),  # (T, H, d)
            layout,
            dropout_prob=self.dropout.p if self.dropout.training else 0.0,
            head_mask=head_mask,
            causal=self.is_decoder,
            output_attentions=output_attentions,
        )


class RobertaSelfOutput(nn.Module):
    """Projection of the context, bottleneck adapter where there is one, residual and normalisation.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.adapter = attention_adapter(config)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Add the projected context to the block's input. Shape: (Q, D) and (Q, D) to (Q, D)."""
        if self.adapter is not None:
            return self.adapter(self.dropout(self.dense(hidden_states)), input_tensor, self.LayerNorm)
        return residual_norm(hidden_states, input_tensor, self.dense, self.dropout, self.LayerNorm)


class RobertaAttention(nn.Module):
    """The attention sub-layer.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.self = RobertaSelfAttention(config)
        self.output = RobertaSelfOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        queries: Tensor,
        layout: PackedLayout,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, project, add and normalise; arguments and result as of `RobertaSelfAttention`."""
        context, probabilities = self.self(hidden_states, queries, layout, head_mask, output_attentions)
        return self.output(context, queries), probabilities


class RobertaIntermediate(nn.Module):
    """The first half of the feed-forward network.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = get_activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Widen and activate. Shape: (Q, D) to (Q, intermediate_size)."""
        return self.intermediate_act_fn(apply_linear(self.dense, hidden_states))


class RobertaOutput(nn.Module):
    """The second half of the feed-forward network, bottleneck adapter where there is one, residual, normalisation.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.adapter = feed_forward_adapter(config)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Narrow and add. Shape: (Q, intermediate_size) and (Q, D) to (Q, D)."""
        if self.adapter is not None:
            return self.adapter(self.dropout(self.dense(hidden_states)), input_tensor, self.LayerNorm)
        return residual_norm(hidden_states, input_tensor, self.dense, self.dropout, self.LayerNorm)


class RobertaLayer(nn.Module):
    """One layer: attention, then feed-forward.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.attention = RobertaAttention(config)
        self.intermediate = RobertaIntermediate(config)
        self.output = RobertaOutput(config)

    @fast_half_products
    def forward(
        self,
        hidden_states: Tensor,
        layout: PackedLayout,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
        first_token_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the layer.

        Args:
            hidden_states: Shape: (T, D).
            layout: The batch's layout.
            head_mask: Factor of each head's probabilities. Shape: (H,).
            output_attentions: Return the probabilities too.
            first_token_only: Compute the output of each row's first token alone.

        Returns:
            The output, shape (T, D) or (B, D) in packed order of rows, and the probabilities or None.
        """
        queries = layout.first_tokens(hidden_states) if first_token_only else hidden_states
        attended, probabilities = self.attention(hidden_states, queries, layout, head_mask, output_attentions)
        return self.output(self.intermediate(attended), attended), probabilities


class RobertaEncoder(nn.Module):
    """The stack of layers.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        check_encoder_only(config, may_decode=True)  # fields may have been set since the configuration was made
        self.config = config
        self.layer = nn.ModuleList(RobertaLayer(config) for _ in range(config.num_hidden_layers))
        self.gradient_checkpointing = config.gradient_checkpointing

    def forward(
        self,
        hidden_states: Tensor,
        layout: PackedLayout,
        head_mask: Sequence[Tensor | None],
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        first_token_only: bool = False,
    ) -> PackedOutput:
        """Run all layers.

        Args:
            hidden_states: The embeddings. Shape: (T, D).
            layout: The batch's layout.
            head_mask: One mask a layer, each None or of shape (H,).
            output_hidden_states: Keep every layer's output, padded.
            output_attentions: Keep every layer's probabilities.
            first_token_only: Let the last layer compute each row's first token alone.

        Returns:
            The packed output.
        """
        recompute = self.training and (self.gradient_checkpointing or self.config.gradient_checkpointing)
        states: list[Tensor] | None = [] if output_hidden_states else None
        attentions = []
        hidden_states = layout.show(hidden_states, states)
        for number, (layer, mask) in enumerate(zip(self.layer, head_mask, strict=True), start=1):
            arguments = (
                hidden_states,
                layout,
                mask,
                output_attentions,
                first_token_only and number == len(self.layer),
            )
            if recompute:
                hidden_states, probabilities = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                hidden_states, probabilities = layer(*arguments)
            hidden_states = layout.show(hidden_states, states)
            attentions.append(probabilities)
        return PackedOutput(
            hidden_states,
            layout,
            hidden_states=None if states is None else tuple(states),
            attentions=tuple(attentions) if output_attentions else None,
            first_token_only=first_token_only,
        )


class RobertaPooler(nn.Module):
    """A dense layer and tanh on the first token.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    @fast_half_products
    def forward(self, hidden_states: Tensor) -> Tensor:
        """Pool each row's first token. Shape: (B, D), or (B, L, D) as in 4.4.2, to (B, D)."""
        return torch.tanh(self.dense(in_dtype_of(self.dense, first_column(hidden_states))))


class RobertaPreTrainedModel(PreTrainedModel):
    """What all RoBERTa models share."""

    config: RobertaConfig
    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"

    @property
    def longest_text(self) -> int:
        """The most tokens that a text may have: positions begin behind that of padding."""
        return self.config.max_position_embeddings - (self.config.pad_token_id or 0) - 1


# What its models take, in 4.4.2's order; see `transformers.layers.inputs`.
ARGUMENTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds")
DECODER_ARGUMENTS = ("encoder_hidden_states", "encoder_attention_mask")


class RobertaModel(PooledEncoding, RobertaPreTrainedModel):
    """The bare encoder.

    Args:
        config: The model's configuration.
        add_pooling_layer: Build the pooler, which the heads of this module do not use.
    """

    forward = PooledEncoding.forward_with((*ARGUMENTS, *DECODER_ARGUMENTS, "past_key_values", "use_cache"))

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = RobertaEmbeddings(config)
        self.encoder = RobertaEncoder(config)
        self.pooler = RobertaPooler(config) if add_pooling_layer else None
        self.post_init()

    def encode(
        self,
        inputs: EncoderInputs,
        *,
        first_token_only: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> PackedOutput:
        """Encode a padded batch and leave the result packed; arguments, result and errors as of `Head.encode`."""
        inputs.refuse_decoding()
        inputs = inputs.with_choices_of(self.config)
        words, layout = lay_out(inputs, self.dtype, static_shapes=self.static_shapes)
        positions = self._position_ids(words) if inputs.position_ids is None else inputs.position_ids
        hidden_states = self.embeddings(words, positions, inputs.token_type_ids, layout)
        with mixed_adapters(self, layout, adapter_names):
            return self.encoder(
                hidden_states,
                layout,
                _head_masks(inputs.head_mask, len(self.encoder.layer), self.config.num_attention_heads),
                inputs.output_hidden_states,
                inputs.output_attentions,
                first_token_only=first_token_only and not inputs.wants_layers and not layout.static_shapes,
            )

    def _position_ids(self, words: Tensor) -> Tensor:
        """Count positions from the ids; from the columns where there are embeddings only. Shape: (B, L)."""
        padding_idx = self.embeddings.padding_idx
        if words.dim() == 2:
            position_ids = create_position_ids_from_input_ids(words, padding_idx)
        else:
            columns = torch.arange(padding_idx + 1, padding_idx + 1 + words.shape[1], device=words.device)
            position_ids = columns.expand(words.shape[:2])
        longest = self.longest_text
        if self.static_shapes:
            return position_ids  # a graph cannot look at its values
        if words.shape[1] > longest and int(position_ids.max()) > longest + padding_idx:
            raise ValueError(
                f"A text has {int(position_ids.max()) - padding_idx} tokens, but this model has positions for "
                f"{longest}; truncate it (tokenizer(..., truncation=True, max_length=...), or --max_seq_length)."
            )
        return position_ids

    def _pool(self, encoded: PackedOutput) -> Tensor | None:
        """Pool the first tokens; a pooler from elsewhere gets all tokens, from each row's first valid one on."""
        if self.pooler is None:
            return None
        ours = type(self.pooler).forward is RobertaPooler.forward
        return self.pooler(encoded.first_tokens() if ours else encoded.from_first_tokens())

    def _returned(self, output: ModelOutput, return_dict: bool | None) -> Any:
        """Give the output as asked; in a tuple the pooler has its place even where there is none."""
        result = super()._returned(output, return_dict)
        if isinstance(result, tuple) and self.pooler is None:
            return result[0], None, *result[1:]
        return result


def _head_masks(head_mask: Tensor | None, layers: int, heads: int) -> list[Tensor | None]:
    """Give one head mask a layer, each None or of shape (H,)."""
    if head_mask is None:
        return [None] * layers
    if head_mask.shape not in ((heads,), (layers, heads)):
        raise ValueError(
            f"head_mask has the shape {tuple(head_mask.shape)}; ({heads},) or ({layers}, {heads}) was expected."
        )
    return list(head_mask.expand(layers, heads))


# Heads ----------------------------------------------------------------------------------------------------------


class _Decoder(nn.Linear):
    """A linear layer whose weight may be frozen in half precision, tied to the embeddings; its bias is trained."""

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layer in the weight's dtype, and add the bias in its own. Shape: (…, D) to (…, V)."""
        if self.weight.dtype == self.bias.dtype:
            return super().forward(features)
        return linear(features.to(self.weight.dtype), self.weight) + self.bias


class RobertaLMHead(nn.Module):
    """Scores of all words for each token.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder: nn.Linear = _Decoder(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    @fast_half_products
    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Score; ``kwargs`` are 4.4.2's, without effect. Shape: (…, D) to (…, V)."""
        features = functional.gelu(self.dense(in_dtype_of(self.dense, features)))
        features = self.layer_norm(features)
        return self.decoder(features)


class _ScoresWords(RobertaPreTrainedModel):
    """RoBERTa with the head of its pre-training, whatever the words are scored for."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(config)
        self.post_init()

    def _score_words(self, features: Tensor) -> Tensor:
        """Score all words. Shape: (T, D) to (T, V)."""
        return self.lm_head(features)

    def _tied_weights(self) -> dict[str, str]:
        """Name the decoder's parameters, which are the word embeddings and the head's own bias."""
        if not self.config.tie_word_embeddings:
            return {}
        return {
            "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        }

    def get_output_embeddings(self) -> nn.Linear:
        """Give the layer that scores words."""
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer that scores words."""
        self.lm_head.decoder = new_embeddings

    def _resize_output(self, new_num_tokens: int) -> None:
        """Bring bias and decoder to a new vocabulary; new words start at zero."""
        head = self.lm_head
        for module, name in ((head, "bias"), (head.decoder, "weight"), (head.decoder, "bias")):
            setattr(module, name, resized_parameter(getattr(module, name), new_num_tokens))  # tie_weights comes last
        head.decoder.out_features = new_num_tokens


class RobertaForMaskedLM(_ScoresWords, MaskedLM):
    """RoBERTa with the masked language-model head of its pre-training.

    Args:
        config: The model's configuration.
    """

    forward = MaskedLM.forward_with((*ARGUMENTS, *DECODER_ARGUMENTS))


class RobertaForCausalLM(_ScoresWords, CausalLM):
    """RoBERTa that scores the next word.

    Args:
        config: The model's configuration, with ``is_decoder``.
    """

    forward = CausalLM.forward_with((*ARGUMENTS, *DECODER_ARGUMENTS, "labels", "past_key_values", "use_cache"))


def _head_dropout(config: RobertaConfig) -> Dropout:
    """Make a head's dropout: of ``cls_dropout``, else ``classifier_dropout``, else ``hidden_dropout_prob``."""
    rates = (config.cls_dropout, config.classifier_dropout, config.hidden_dropout_prob)
    return Dropout(next(rate for rate in rates if rate is not None))


class RobertaClassificationHead(nn.Module):
    """Dense layer, tanh and projection on each row's first token.

    Args:
        config: The model's configuration. The dropout is ``cls_dropout``, else ``classifier_dropout``, else
            ``hidden_dropout_prob``.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = _head_dropout(config)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Score the labels; ``kwargs`` have no effect. Shape: (B, D), or (B, L, D) as in 4.4.2, to (B, N)."""
        features = self.dropout(in_dtype_of(self.dense, first_column(features)))
        features = torch.tanh(self.dense(features))
        return self.out_proj(self.dropout(features))


class RobertaForSequenceClassification(SequenceClassification, RobertaPreTrainedModel):
    """RoBERTa with a classification or regression head on each row's first token.

    Args:
        config: The model's configuration; ``num_labels`` is the head's width.

    Raises:
        ValueError: If ``config.consistency`` is set and does not apply.
    """

    forward = SequenceClassification.forward_with(ARGUMENTS)

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        check_classifies(config)
        self.num_labels = config.num_labels
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.classifier = RobertaClassificationHead(config)
        self.post_init()

    @property
    def _first_token_only(self) -> bool:
        """Whether the classifier is this module's own, which reads each row's first token alone."""
        return type(self.classifier).forward is RobertaClassificationHead.forward

    def score_rows(self, features: Tensor) -> Tensor:
        """Score the labels. Shape: (B, D), or (B, L, D) for a classifier from elsewhere, to (B, N)."""
        return self.classifier(in_dtype_of(self.classifier, features))

    def label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return ["classifier.out_proj.weight", "classifier.out_proj.bias"]


class RobertaForTokenClassification(TokenClassification, RobertaPreTrainedModel):
    """RoBERTa with a label for each token.

    Args:
        config: The model's configuration; ``num_labels`` is the classifier's width. Its dropout is that of
            `RobertaClassificationHead`.
    """

    forward = TokenClassification.forward_with(ARGUMENTS)

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self._build_head(config, _head_dropout(config))
        self.post_init()


class RobertaForQuestionAnswering(QuestionAnswering, RobertaPreTrainedModel):
    """RoBERTa that finds the part of a text which answers a question.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If ``num_labels`` is not 2.
    """

    forward = QuestionAnswering.forward_with(ARGUMENTS)

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self._build_head(config)
        self.post_init()


class RobertaForMultipleChoice(MultipleChoice, RobertaPreTrainedModel):
    """RoBERTa that chooses the best of several texts by its pooled first token.

    Args:
        config: The model's configuration.
    """

    forward = MultipleChoice.forward_with(
        ("input_ids", "token_type_ids", "attention_mask", "labels", "position_ids", "head_mask", "inputs_embeds")
    )

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def score_texts(self, encoded: PackedOutput) -> Tensor:
        """Score each text. Shape: (B·C, 1)."""
        pooled = self.dropout(self.roberta._pool(encoded))
        return self.classifier(in_dtype_of(self.classifier, pooled))


class RobertaForFeatureExtraction(Encoding, RobertaPreTrainedModel):
    """RoBERTa without a head, where adapters of bare encoders stand beside others; by itself it is `RobertaModel`.

    Args:
        config: The model's configuration.
    """

    is_headless: ClassVar[bool] = True
    forward = Encoding.forward_with(ARGUMENTS)

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.post_init()


# Whose adapters may stand side by side on one encoder.
RobertaPreTrainedModel.head_classes = (
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaForQuestionAnswering,
    RobertaForMultipleChoice,
    RobertaForMaskedLM,
    RobertaForFeatureExtraction,
)
