"""The end of a step: clipping, the update of the weights, and what is known of the step then."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from ..optimization import waits_for_metrics
from ..trainer_utils import OnNonfinite
from ..utils import logging
from .learning import LearningTrainer
from .nonfinite import describe_step, report_step, write_step
from .unread_steps import Step, UnreadSteps, leaves_out_updates

__all__ = ["UpdatingTrainer"]

logger = logging.get_logger(__name__)


class UpdatingTrainer(LearningTrainer):
    """The part of a ``Trainer`` that updates the weights; see ``Trainer`` for the arguments."""

    _unread: UnreadSteps

    def _update(self, loss: Tensor) -> float | Tensor:
        """Clip the gradients and update the weights, unless something is not finite.

        Returns:
            The loss as a number; where it need not be known yet (`transformers.training.unread_steps`), as it is.
        """
        scaler, later = self.precision.scaler, self._may_read_later()
        scaler.unscale_(self.optimizer)
        norm = self.parallel.clip(self.model, self.args.max_grad_norm).to(self.args.device)
        values, rate = torch.stack([loss.float(), norm.float()]), self._get_learning_rate()
        if later:
            self._unread.add(self.state, rate, values)
        else:
            step = Step(self.state, rate, *values.tolist())
            self._gradient_norm = step.gradient_norm
            if not (step.is_finite or self._goes_on(step)):
                self.parallel.clear_gradients(self.optimizer)
                return step.loss
        self.control = self.callback_handler.on_pre_optimizer_step(self.args, self.state, self.control)
        self._learning_rate = self._get_learning_rate()
        with self._unread.guarding(self.optimizer) if later and self._stops_at_nonfinite else nullcontext():
            updated = self.parallel.step(self.optimizer, scaler)
        self.control = self.callback_handler.on_optimizer_step(self.args, self.state, self.control)
        self.parallel.clear_gradients(self.optimizer)
        if updated and not waits_for_metrics(self.lr_scheduler):  # a skipped step leaves the schedule where it is
            self.lr_scheduler.step()
        return loss if later else step.loss

    @property
    def _stops_at_nonfinite(self) -> bool:
        return OnNonfinite(self.args.on_nonfinite) == OnNonfinite.STOP

    def _may_read_later(self) -> bool:
        """Say whether the run goes on before a step's loss is known; what is not finite is held back all the same.

        Not where such a step is left out (``skip``, fp16), since the schedule must know, nor among several processes,
        which wait for each other anyway.
        """
        held_back = leaves_out_updates(self.optimizer) if self._stops_at_nonfinite else True
        wanted = OnNonfinite(self.args.on_nonfinite) != OnNonfinite.SKIP and not self.precision.scaler.is_enabled()
        return self.args.device.type != "cpu" and self.parallel.may_run_ahead and wanted and held_back

    def _read_steps(self) -> None:
        """Learn the losses of the steps that nobody has looked at yet.

        Raises:
            FloatingPointError: If one is not finite and the run is to stop before it.
        """
        for step in self._unread.read():
            self._gradient_norm = step.gradient_norm
            if not step.is_finite:
                self._goes_on(step)
            self._note_loss(step.loss)

    def _note_loss(self, loss: float) -> None:
        """Add a step's loss to those of the run."""
        if math.isfinite(loss):  # else fp16 overflowed and the step was skipped
            self.state.loss_sum += loss
            self.state.unlogged_loss_sum += loss
            self.state.unlogged_steps += 1

    def _goes_on(self, step: Step) -> bool:
        """Say whether values that are not finite are to reach the optimizer: fp16 first tries a smaller scale.

        Raises:
            FloatingPointError: If the run is to stop before them; its state is then that before the step.
        """
        if self.parallel.may_scale_less(self.precision.scaler):
            number = step.state.global_step + 1
            logger.warning("Step %d overflowed in fp16; it is skipped and the loss scaled less.", number)
            return True
        step_facts = describe_step(
            step.state,
            self.callback_handler.train_dataloader,
            loss=step.loss,
            gradient_norm=step.gradient_norm,
            learning_rate=step.learning_rate,
        )
        where = ""
        if self.is_world_process_zero():
            where = write_step(Path(self.args.output_dir), step_facts)
        if self._stops_at_nonfinite:
            self.state.go_back(step.state)
        report_step(step_facts, where, OnNonfinite(self.args.on_nonfinite))
        if self.args.on_nonfinite == OnNonfinite.WARN:
            return True
        if self.precision.scaler.is_enabled():
            self.precision.scaler.update()
        return False
