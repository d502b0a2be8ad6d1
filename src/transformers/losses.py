"""The loss of a sequence classifier, chosen by the configuration.

Letters in shapes: ``B`` batch, ``N`` labels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .configuration_utils import PretrainedConfig

__all__ = ["PROBLEM_TYPES", "sequence_classification_loss"]

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


def sequence_classification_loss(logits: Tensor, labels: Tensor, config: PretrainedConfig) -> Tensor:
    """Compute the mean loss of a batch, in fp32.

    ``config.problem_type`` decides (``regression``, ``single_label_classification``,
    ``multi_label_classification``). Where it is None: one label means regression, integer labels mean one class of
    several, floating-point labels mean several classes at once.

    Args:
        logits: Scores before the softmax. Shape: (B, N).
        labels: Class ids, or values for regression. Shape: (B,); (B, N) for several values or classes at once.
        config: Its ``problem_type`` and ``num_labels`` are read.

    Returns:
        The loss. Shape: ().

    Raises:
        ValueError: If ``problem_type`` is unknown, or labels are not of its shape or outside the classes.
    """
    logits = logits.float()
    problem_type = config.problem_type or _guess_problem_type(labels, config.num_labels)
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"config.problem_type is '{problem_type}'; expected {', '.join(PROBLEM_TYPES)} or None.")
    expected = len(logits) if problem_type == "single_label_classification" else logits.numel()
    if labels.numel() != expected:
        raise ValueError(
            f"labels have the shape {tuple(labels.shape)} and logits {tuple(logits.shape)}, which does not fit "
            f"{problem_type.replace('_', ' ')}."
        )
    if problem_type == "regression":
        return functional.mse_loss(logits, labels.reshape(logits.shape).to(logits.dtype))
    if problem_type == "multi_label_classification":
        return functional.binary_cross_entropy_with_logits(logits, labels.reshape(logits.shape).to(logits.dtype))
    try:
        return functional.cross_entropy(logits, labels.reshape(-1).long())
    except IndexError as error:  # on a CPU; an accelerator stops the process
        raise ValueError(f"A label is outside 0 … {logits.shape[-1] - 1}, the model's: {labels.tolist()}.") from error


def _guess_problem_type(labels: Tensor, num_labels: int) -> str:
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
