"""What a Trainer learns by: its optimizer, its schedule and its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..modeling_utils import PreTrainedModel
from ..optimization import create_optimizer, get_scheduler, waits_for_metrics
from ..trainer_utils import IntervalStrategy, SchedulerType
from ..utils import logging
from . import batches as data
from .base import TrainerBase
from .graphed_steps import GraphedSteps
from .overrides import overrides, takes

__all__ = ["LearningTrainer"]

logger = logging.get_logger(__name__)


class LearningTrainer(TrainerBase):
    """The part of a ``Trainer`` that has an optimizer, a schedule and a loss; see ``Trainer`` for the arguments."""

    _operations_a_token: int | None = None  # of the run's model, once it was counted

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Build the optimizer and the schedule, unless they were given."""
        self.create_optimizer()
        self.create_scheduler(self.optimizer, num_training_steps)

    def _renew_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Build optimizer and schedule for a run; what an earlier run built for itself is not taken again."""
        optimizer, scheduler = self._made_by_run
        if self.optimizer is optimizer:
            self.optimizer = None
        if self.lr_scheduler is scheduler:
            self.lr_scheduler = None
        given = (self.optimizer, self.lr_scheduler)
        self.create_optimizer_and_scheduler(num_training_steps)
        if waits_for_metrics(self.lr_scheduler) and self.args.evaluation_strategy == IntervalStrategy.NO:
            raise ValueError(
                "The schedule ReduceLROnPlateau moves by evaluations: set evaluation_strategy to 'steps' or 'epoch'."
            )
        self._made_by_run = (
            self.optimizer if given[0] is None else None,
            self.lr_scheduler if given[1] is None else None,
        )

    def _warn_of_used_schedule(self) -> None:
        """Say what a second training with a schedule of the caller's, which cannot be made anew, starts with."""
        if self.state.global_step and self.lr_scheduler not in (None, self._made_by_run[1]):
            logger.warning(
                "The schedule was given to the Trainer and goes on where the last training left it, at a learning "
                "rate of %.2e; give a new one, or let the arguments name it, for a training from the start.",
                self._get_learning_rate(),
            )

    def _get_learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Build the optimizer, unless it was given."""
        if self.optimizer is None:
            self.optimizer = create_optimizer(self.args, model if model is not None else self.model)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def create_scheduler(self, optimizer: Any = None, num_training_steps: Any = None) -> Any:
        """Build the schedule, unless it was given.

        Args:
            optimizer: The optimizer. It and the next argument may change places: 4.4.2 and 5.x differ in the order.
            num_training_steps: Steps of the whole run.
        """
        if isinstance(optimizer, int):
            optimizer, num_training_steps = num_training_steps, optimizer
        if self.lr_scheduler is None:
            settings = dict(self.args.lr_scheduler_kwargs or {})
            if self.args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
                settings.setdefault("mode", "max" if self.args.greater_is_better else "min")
            self.lr_scheduler = get_scheduler(
                self.args.lr_scheduler_type,
                optimizer if optimizer is not None else self.create_optimizer(),
                num_warmup_steps=self.args.get_warmup_steps(num_training_steps),
                num_training_steps=num_training_steps,
                scheduler_specific_kwargs=settings,
            )
        return self.lr_scheduler

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Give the loss of a batch; override it for a loss of your own.

        Args:
            model: The model.
            inputs: A batch on the device.
            return_outputs: Give the pair (loss, outputs).
            num_items_in_batch: What the step's mean loss is a mean over: labels other than -100 (without labels
                examples) of all its passes and processes. A loss may be its pass's sum divided by it; a loss that
                is not computed with it is taken for the mean of its pass, and weighted by the pass's share.

        Raises:
            ValueError: If the model gives no loss.
        """
        loss: Tensor | None
        counted = {"num_items_in_batch": num_items_in_batch}
        if self._computes_loss_outside(inputs):
            labels = inputs["labels"]
            outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
            if self.compute_loss_func is not None:
                given = counted if takes(self.compute_loss_func, "num_items_in_batch") else {}
                loss = self.compute_loss_func(outputs, labels, **given)
            elif self.label_smoother is not None:
                loss = self.label_smoother(outputs, labels)
        else:
            given = counted if "num_items_in_batch" in (data.forward_arguments(self.model) or ()) else {}
            outputs = model(**inputs, **given)
            loss = _loss_of(outputs)
        if loss is None:
            raise ValueError(
                f"The model gave no loss for a batch of {sorted(inputs)}. Its labels are called {self.label_names}: "
                "is that column in the data set, or was it left out as unused?"
            )
        return (loss, outputs) if return_outputs else loss

    def _computes_loss_outside(self, inputs: Any) -> bool:
        """Say whether the loss comes from smoothing or the caller's function, not from the model itself."""
        return (self.compute_loss_func is not None or self.label_smoother is not None) and "labels" in inputs

    def _check_loss(self) -> None:
        """Refuse a loss from outside where the model's own has a part that it would drop."""
        consistency = getattr(getattr(self.model, "config", None), "consistency", None)
        outside = self._computes_loss_outside({"labels": None}) and not overrides(
            self, "compute_loss", LearningTrainer
        )
        if consistency is not None and outside:
            what = "label_smoothing_factor" if self.compute_loss_func is None else "compute_loss_func"
            raise ValueError(
                f"The model's configuration asks for consistency training ('{consistency}'), whose second pass is "
                f"part of the model's own loss; {what} takes that loss's place. Use one of them."
            )

    def _prepare_graphs(self, *, own_step: bool) -> None:
        """Get ready to launch passes as CUDA graphs, where that is wanted.

        Args:
            own_step: Whether the script has a ``training_step`` of its own.

        Raises:
            ValueError: If a step is not the same operations for each batch of a shape, or may not be: a method of the
                script's own would be called for captures alone.
        """
        self._graphs = None
        if not self.args.cuda_graphs:
            return
        if self.args.world_size > 1:
            raise ValueError("cuda_graphs is for one process; leave it out.")
        own = {
            "training_step": own_step,
            "compute_loss": overrides(self, "compute_loss", LearningTrainer),
            "compute_loss_func": self.compute_loss_func is not None,
        }
        if any(own.values()):
            name = next(name for name, is_own in own.items() if is_own)
            raise ValueError(
                f"cuda_graphs is set, and {name} is the script's own, which would not be called in every step. Train "
                "without it."
            )
        self._graphs = GraphedSteps(self.model, self._loss_to_capture, capture=self.args.device.type == "cuda")

    def _loss_to_capture(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute a batch's loss in the run's precision."""
        with self.precision.context(training=True):
            loss: Tensor = self.compute_loss(self.model, batch)
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Estimate the operations of a forward and backward pass, by the model's own method; 0 if it has none."""
        estimate = getattr(self.model, "floating_point_ops", None)
        if estimate is None or not isinstance(inputs, Mapping):
            return 0
        if getattr(estimate, "__func__", None) is not PreTrainedModel.floating_point_ops:
            return int(estimate(inputs))
        if self._operations_a_token is None:  # to count values takes a millisecond, so once a run
            self._operations_a_token = int(self.model.operations_a_token())  # type: ignore[operator]
        return int(self._operations_a_token * self.model.estimate_tokens(inputs))  # type: ignore[operator]


def _loss_of(outputs: Any) -> Tensor | None:
    """Read the loss of a model's outputs: the entry or attribute of that name, or the first of a tuple."""
    if isinstance(outputs, Mapping):
        return outputs.get("loss")
    if hasattr(outputs, "loss"):
        loss: Tensor | None = outputs.loss
        return loss
    first: Tensor | None = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return first
