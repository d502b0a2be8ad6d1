"""The loss of a sequence classifier, chosen by the configuration.

Letters in shapes: ``B`` batch, ``N`` labels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .configuration_utils import PretrainedConfig

__all__ = ["sequence_classification_loss"]


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
        ValueError: If ``problem_type`` is unknown.
    """
    logits = logits.float()
    problem_type = config.problem_type or _guess_problem_type(labels, config.num_labels)
    if problem_type == "regression":
        return functional.mse_loss(logits.reshape(labels.shape), labels.to(logits.dtype))
    if problem_type == "single_label_classification":
        return functional.cross_entropy(logits.view(-1, config.num_labels), labels.view(-1))
    if problem_type == "multi_label_classification":
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    raise ValueError(
        f"config.problem_type is '{problem_type}'; expected 'regression', 'single_label_classification', "
        "'multi_label_classification' or None."
    )


def _guess_problem_type(labels: Tensor, num_labels: int) -> str:
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
