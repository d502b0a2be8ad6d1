"""The losses of the heads: a sequence classifier's, chosen by the configuration, and cross-entropy over labels.

Letters in shapes: ``B`` batch, ``N`` labels, ``R`` rows: examples of a classifier, tokens of a masked language model.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..configuration_utils import PretrainedConfig

__all__ = ["IGNORED_LABEL", "PROBLEM_TYPES", "mean_cross_entropy", "sequence_classification_loss"]

IGNORED_LABEL = -100  # of what does not count, in PyTorch and everywhere else

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


def mean_cross_entropy(
    logits: Tensor, labels: Tensor, *, ignore_index: int = IGNORED_LABEL, label_smoothing: float = 0.0
) -> Tensor:
    """Compute the mean cross-entropy over the rows whose label counts, in fp32.

    Where none counts it is 0, with gradients of 0, unlike PyTorch's NaN: such a batch must not ruin the mean over the
    forward passes of a step, in which its weight is 0.

    Args:
        logits: Scores before the softmax. Shape: (R, N).
        labels: Class ids; ``ignore_index`` where a row does not count. Shape: (R,).
        ignore_index: Any number that is no class id.
        label_smoothing: Share of the target that is spread evenly over all classes.

    Returns:
        The loss. Shape: ().

    Raises:
        ValueError: If a label is no class id; an accelerator stops the process instead.
    """
    try:
        total = functional.cross_entropy(
            logits.float(), labels, ignore_index=ignore_index, reduction="sum", label_smoothing=label_smoothing
        )
    except IndexError as error:
        classes = logits.shape[-1]
        outside = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
        raise ValueError(
            f"A label is {int(outside[0])}, which is outside 0 … {classes - 1}, the model's; {ignore_index} marks "
            "what does not count."
        ) from error
    return total / (labels != ignore_index).sum().clamp(min=1)


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
        The loss; of class ids the mean over those other than -100, and 0 where there is none. Shape: ().

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
    return mean_cross_entropy(logits, labels.reshape(-1).long())


def _guess_problem_type(labels: Tensor, num_labels: int) -> str:
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
