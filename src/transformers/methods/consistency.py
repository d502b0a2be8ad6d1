"""Consistency training: two passes over a batch, which are to give the same distribution.

The passes differ in their dropout, and with *cutoff* (Shen et al., 2020) also in tokens that the second one sees as
unknown; *R-Drop* (Wu et al., 2021) masks none. Training only. In both, the loss is
``CE(first) + CE(second) + 0.5 · reg_loss_wgt · divergence``, with the divergences of the original LoRA example.

Letters in shapes: ``B`` batch, ``L`` padded length, ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ..configuration.checks import masking_ids
from ..configuration_utils import PretrainedConfig
from ..layers.losses import sequence_classification_loss

__all__ = [
    "classification_loss",
    "consistency_loss",
    "cutoff_divergence",
    "kl_divergence",
    "mask_tokens",
    "rdrop_divergence",
]


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Compute ``KL(p || q)``, as the mean over rows and labels (not the sum over labels).

    Args:
        log_p: Logarithms of probabilities. Shape: (B, N).
        log_q: The same of the other distribution. Shape: (B, N).

    Returns:
        Shape: ().
    """
    return (log_p.exp() * (log_p - log_q)).mean()


def cutoff_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Compute ``KL(p1 || m) + KL(p2 || m)``, where ``m`` is the softmax of the mean logits.

    Args:
        first: Logits of the first pass. Shape: (B, N).
        second: Logits of the second pass. Shape: (B, N).

    Returns:
        Shape: ().
    """
    log_mean = functional.log_softmax((first + second) / 2, dim=-1)
    log_first, log_second = functional.log_softmax(first, dim=-1), functional.log_softmax(second, dim=-1)
    return kl_divergence(log_first, log_mean) + kl_divergence(log_second, log_mean)


def rdrop_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Compute ``KL(p1 || p2) + KL(p2 || p1)``.

    Args:
        first: Logits of the first pass. Shape: (B, N).
        second: Logits of the second pass. Shape: (B, N).

    Returns:
        Shape: ().
    """
    log_first, log_second = functional.log_softmax(first, dim=-1), functional.log_softmax(second, dim=-1)
    return kl_divergence(log_first, log_second) + kl_divergence(log_second, log_first)


def consistency_loss(first: Tensor, second: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Compute the loss of two passes, in fp32.

    Args:
        first: Logits of the first pass. Shape: (B, N).
        second: Logits of the second pass. Shape: (B, N).
        labels: Class ids. Shape: (B,).
        config: Its ``consistency`` chooses the divergence, ``reg_loss_wgt`` weighs it.

    Returns:
        The loss. Shape: ().

    Raises:
        ValueError: If the labels are no class ids, or do not fit.
    """
    if labels.is_floating_point():
        raise ValueError(
            f"consistency is '{config.consistency}', which needs one class of several a row, but the labels are "
            "numbers with a fraction: it does not apply to regression or to several classes at once."
        )
    divergence = cutoff_divergence if config.consistency == "cutoff" else rdrop_divergence
    plain = sequence_classification_loss(first, labels, config) + sequence_classification_loss(second, labels, config)
    return plain + 0.5 * config.reg_loss_wgt * divergence(first.float(), second.float())


def mask_tokens(input_ids: Tensor, config: PretrainedConfig) -> Tensor:
    """Replace tokens by the unknown one with probability ``masking_prob``; CLS, SEP and padding stay.

    Args:
        input_ids: Token ids. Shape: (B, L).
        config: Its ``masking_prob`` and the ids of the special tokens.

    Returns:
        New ids. Shape: (B, L).

    Raises:
        ValueError: If the configuration does not know the ids.
    """
    ids = masking_ids(config)
    chosen = torch.rand(input_ids.shape, device=input_ids.device) < config.masking_prob
    for name in ("cls_token_id", "sep_token_id", "pad_token_id"):
        chosen &= input_ids != ids[name]
    return input_ids.masked_fill(chosen, ids["unk_token_id"])


def classification_loss(
    logits: Tensor,
    labels: Tensor | None,
    input_ids: Tensor | None,
    second_pass: Callable[[Tensor | None], Tensor],
    config: PretrainedConfig,
    training: bool,
) -> Tensor | None:
    """Compute a classifier's loss, with a second pass where consistency is trained.

    Args:
        logits: Of the first pass. Shape: (B, N).
        labels: See `transformers.layers.losses`; None for no loss.
        input_ids: What the first pass saw, shape (B, L); None where it saw embeddings.
        second_pass: Gives the logits, shape (B, N), for ids, shape (B, L), with dropout of its own.
        config: Its ``consistency`` decides.
        training: In evaluation there is one pass and the plain loss.

    Returns:
        The loss, shape (), or None.

    Raises:
        ValueError: As of `consistency_loss` and `sequence_classification_loss`, or if tokens are to be masked and
            there are embeddings only.
    """
    if labels is None:
        return None
    if config.consistency is None or not training:
        return sequence_classification_loss(logits, labels, config)
    if config.masking_prob > 0:
        if input_ids is None:
            raise ValueError("masking_prob is above 0, which needs input_ids: embeddings cannot be masked.")
        input_ids = mask_tokens(input_ids, config)
    return consistency_loss(logits, second_pass(input_ids), labels, config)
