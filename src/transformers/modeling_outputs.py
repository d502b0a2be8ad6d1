"""What models return: dataclasses that are read by name, by key, or by position like a tuple.

Letters in shapes: ``B`` batch, ``L`` padded length, ``D`` hidden size, ``H`` attention heads, ``N`` labels,
``V`` vocabulary size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .utils.generic import ModelOutput
from .utils.lazy_names import LazyNames

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [
    "BaseModelOutput",
    "BaseModelOutputWithPastAndCrossAttentions",
    "BaseModelOutputWithPooling",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "CausalLMOutputWithCrossAttentions",
    "CausalLMOutputWithPast",
    "MaskedLMOutput",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "QuestionAnsweringModelOutput",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
]


@dataclass
class BaseModelOutput(ModelOutput):
    """An encoder's output.

    Attributes:
        last_hidden_state: Output of the last layer; zero where the mask is 0. Shape: (B, L, D).
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """An encoder's output with the pooled first token.

    Attributes:
        last_hidden_state: Output of the last layer; zero where the mask is 0. Shape: (B, L, D).
        pooler_output: The first token through a dense layer and tanh. Shape: (B, D).
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """Output of a masked language model.

    Attributes:
        loss: Mean cross entropy over the labels that are not -100; given with ``labels``. Shape: ().
        logits: Scores of every word at every position; zero where the mask is 0. Shape: (B, L, V).
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """Output of a sequence classifier.

    Attributes:
        loss: Cross entropy, or squared error for regression; given with ``labels``. Shape: ().
        logits: Scores of the labels, before the softmax. Shape: (B, N).
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class MultipleChoiceModelOutput(SequenceClassifierOutput):
    """Output of a model that chooses among texts: ``logits`` has a column per choice."""


@dataclass
class TokenClassifierOutput(ModelOutput):
    """Output of a token classifier.

    Attributes:
        loss: Mean cross entropy over the labels that are not -100; given with ``labels``. Shape: ().
        logits: Scores of the labels of every token; zero where the mask is 0. Shape: (B, L, N).
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """Output of an extractive question answerer.

    Attributes:
        loss: Mean cross entropy of both ends; given with positions. Shape: ().
        start_logits: Scores of each token as the answer's first; the least number where the mask is 0. Shape: (B, L).
        end_logits: Scores of each token as the answer's last, likewise. Shape: (B, L).
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class CausalLMOutputWithPast(ModelOutput):
    """Output of a language model that writes.

    Attributes:
        loss: Mean cross entropy over the labels that are not -100; given with ``labels``. Shape: ().
        logits: Scores of every word as the next one; zero where the mask is 0. Shape: (B, L, V).
        past_key_values: None: every call reads the whole text.
        hidden_states: Embeddings and every layer's output, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's attention probabilities, where asked for. Shape of each: (B, H, L, L).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class CausalLMOutputWithCrossAttentions(CausalLMOutputWithPast):
    """Output of a language model that writes; without an encoder beside it ``cross_attentions`` stays None.

    Attributes:
        cross_attentions: Every layer's probabilities of attending to the encoder.
    """

    cross_attentions: tuple[Tensor, ...] | None = None


# Outputs of models that this package does not hold; 4.4.2's name them, of which many a model of one's own is a copy.


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(BaseModelOutputWithPooling):
    """A decoder's output with the pooled first token; an encoder leaves the two fields of its own None.

    Attributes:
        past_key_values: What it remembers of the text so far.
        cross_attentions: Every layer's probabilities of attending to the encoder.
    """

    past_key_values: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(BaseModelOutput):
    """A decoder's output; an encoder leaves the two fields of its own None.

    Attributes:
        past_key_values: What it remembers of the text so far.
        cross_attentions: Every layer's probabilities of attending to the encoder.
    """

    past_key_values: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


# Of a batch whose rows have adapters of several kinds of heads.


@dataclass
class MixedOutput(ModelOutput):
    """What each row's own head made of it.

    Attributes:
        outputs: For each row of the batch the output of its adapter's kind, as a batch of that row alone.
    """

    outputs: tuple[ModelOutput, ...] | None = None
