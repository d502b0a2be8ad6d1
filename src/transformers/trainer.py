"""``Trainer``: train -> epoch -> step -> log, evaluate, save.

The loop is plain PyTorch; devices, processes and gathering are ``accelerate``'s. What a step sees is decided by
``data.samplers``, what a checkpoint holds by ``training.saving``, in which precision it computes by
``training.precision``, and what happens beside the training by callbacks.

A step of several forward passes (accumulation, processes) gives the gradient of the mean loss over all its examples:
each pass is weighted by its share of them, so that a short last batch or padding labels change nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .data.samplers import GlobalBatchSampler
from .layers.quantized import number_of_values
from .optimization import waits_for_metrics
from .trainer_callback import DefaultFlowCallback, ProgressCallback, TrainerCallback, is_better, metric_key
from .trainer_utils import SaveStrategy, TrainOutput, set_seed, speed_over
from .training import batches as data
from .training.checkpoint import clear_leftovers
from .training.checkpoint_state import restore_rng_state
from .training.few_bits import check_few_bits
from .training.item_count import ItemCount
from .training.lost_processes import explaining_lost_processes
from .training.overrides import overrides, takes
from .training.parallel import whole_size
from .training.saving import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from .training.search import SearchingTrainer
from .training.signals import listening_for_stop
from .training.state import TrainerState
from .training.unread_steps import MOST_UNREAD, UnreadSteps
from .utils import logging

__all__ = ["DEFAULT_CALLBACKS", "DEFAULT_PROGRESS_CALLBACK", "TRAINER_STATE_NAME", "TRAINING_ARGS_NAME", "Trainer"]

# What every Trainer starts with. Scripts for 4.4.2 add to the list, or put another bar in place.
DEFAULT_CALLBACKS: list[type[TrainerCallback]] = [DefaultFlowCallback]
DEFAULT_PROGRESS_CALLBACK: type[TrainerCallback] = ProgressCallback

logger = logging.get_logger(__name__)

ForwardPass = tuple[Any, bool]  # a batch, and whether its loss counts


@dataclass
class _Run:
    """The plan of one call of ``train``.

    Attributes:
        loader: Gives this process's batches.
        steps_per_epoch: Optimizer steps in an epoch; None if the data has no length.
        max_steps: Optimizer steps of the whole run.
        epochs: Epochs that the run touches.
    """

    loader: DataLoader[Any]
    steps_per_epoch: int | None
    max_steps: int
    epochs: int


class Trainer(SearchingTrainer):
    """Trains, evaluates, predicts, saves and resumes.

    Args:
        model: Any module whose ``forward`` takes a batch as keywords and gives an object or dict with ``loss`` and
            ``logits``, or a tuple that starts with them.
        args: The arguments; ``TrainingArguments("tmp_trainer")`` by default.
        data_collator: Makes a batch of a list of examples. By default it pads with the tokenizer, or only stacks.
        train_dataset: What to train on.
        eval_dataset: What to evaluate on; a dict of several is evaluated one by one.
        tokenizer: Saved with the model. ``processing_class`` is another name of it.
        model_init: Makes the model anew at the start of every training; takes the place of ``model``. If it takes an
            argument, it is given ``train``'s ``trial``.
        compute_metrics: Turns predictions and labels into a dict of figures.
        callbacks: Further callbacks, or classes of them.
        optimizers: An optimizer and its schedule, in place of those that the arguments name.
        processing_class: See ``tokenizer``.
        compute_loss_func: Called with the outputs and the labels (and ``num_items_in_batch``), in place of the
            model's own loss.
        preprocess_logits_for_metrics: Called with the logits and labels of every evaluated batch; what it gives is
            kept in place of the logits.

    Raises:
        ValueError: If there is no model.
    """

    def _default_callbacks(self) -> tuple[list[type[TrainerCallback]], type[TrainerCallback]]:
        return DEFAULT_CALLBACKS, DEFAULT_PROGRESS_CALLBACK

    # -- training ------------------------------------------------------------------------------------------------

    @explaining_lost_processes()
    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
        *,
        model_path: str | None = None,
    ) -> TrainOutput:
        """Train to the end, from the start or exactly from where a checkpoint stands.

        Args:
            resume_from_checkpoint: A checkpoint's folder, or True for the newest whole one in ``output_dir``. A
                folder that holds only a model gives its weights to a training from the start.
            trial: Of `hyperparameter_search`: sets arguments, and is passed on to a ``model_init`` that takes one.
            ignore_keys_for_eval: Outputs that evaluations during training leave out.
            model_path: The old name of ``resume_from_checkpoint``.

        Returns:
            Steps, mean loss and speed figures.

        Raises:
            ValueError: If there is no training data, or the checkpoint cannot be resumed from.
            FloatingPointError: If a step's loss or gradient is not finite; the weights are as before that step.
            ConnectionError: If another process has died.
            FolderInUseError: If another process trains into ``output_dir``.
            TrainingStopped: After a signal that asks for the end (``training.signals``); a checkpoint is written.
        """
        self._hp_search_setup(trial)
        with (
            self._closed_by_errors(),
            self._sole_in_folder(),
            listening_for_stop(self.args) as self._stop,
        ):
            self._memory_tracker.start()
            return self._train(resume_from_checkpoint or model_path, trial, ignore_keys_for_eval)

    def _train(self, wanted: str | bool | None, trial: Any, ignore_keys_for_eval: list[str] | None) -> TrainOutput:
        """Do what ``train`` says."""
        self._ignore_keys_for_eval = ignore_keys_for_eval
        if self.model_init is not None:
            set_seed(self.args.seed)
            self._place_model(self.call_model_init(trial))
        checkpoint = self._find_checkpoint(wanted)
        self.is_in_train = True
        try:
            return self._train_from(checkpoint)
        finally:
            self.is_in_train = False
            self.model_wrapped, self._graphs = self.model, None
            self.parallel.unwrap()

    def _train_from(self, checkpoint: Path | None) -> TrainOutput:
        """Train to the end from where a checkpoint stands, or from the start."""
        if checkpoint is None:
            self._warn_of_used_schedule()
        else:
            self._settle_arguments(checkpoint)
        self._note_run(checkpoint)
        run = self._prepare_run()
        self._prepare_processor()
        set_seed(self.args.seed + self.args.process_index)  # processes must not share their dropout
        rng_state = None if checkpoint is None else self._resume(checkpoint)
        self._announce(run)
        start_time, first_step, self._examples_seen = time.monotonic(), self.state.global_step, 0
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)
        if self.args.eval_on_start and first_step == 0:
            self._evaluate_in_training()
        if rng_state is not None:
            restore_rng_state(rng_state, self.args.device)
        for epoch in range(self.state.current_epoch, run.epochs):
            self._train_epoch(run, epoch)
            if self.control.should_training_stop:
                break
        return self._finish(start_time, self.state.global_step - first_step)

    def _train_epoch(self, run: _Run, epoch: int) -> None:
        """Go through one epoch, from the step at which the state stands."""
        self.control = self.callback_handler.on_epoch_begin(self.args, self.state, self.control)
        state = self.state
        exhausted = state.global_step < run.max_steps or state.epoch_steps_done == run.steps_per_epoch
        for passes in self._steps(run, epoch):
            self.control = self.callback_handler.on_step_begin(self.args, self.state, self.control)
            loss = self._train_step(passes)
            self._count_step(run, epoch, loss)
            self.control = self.callback_handler.on_step_end(
                self.args, self.state, self.control, loss=loss, learning_rate=self._learning_rate
            )
            stops = self._stops_here()
            self.control.should_save |= stops
            self._log_evaluate_save()
            if stops:
                self._end_stopped()
            if self.control.should_epoch_stop or self.control.should_training_stop:
                exhausted = self.control.should_epoch_stop or state.epoch_steps_done == run.steps_per_epoch
                break
        self._read_steps()
        if exhausted:
            state.current_epoch, state.epoch_steps_done = epoch + 1, 0
        self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
        self._log_evaluate_save()

    def _steps(self, run: _Run, epoch: int) -> Iterator[list[ForwardPass]]:
        """Give the forward passes of every step that is left of an epoch."""
        first, sampler = self.state.epoch_steps_done, getattr(run.loader, "batch_sampler", None)
        if self.state.global_step >= run.max_steps:
            return
        data.tell_epoch(run.loader, epoch)
        if isinstance(sampler, GlobalBatchSampler):
            sampler.set_epoch(epoch, first)
            batches = iter(run.loader)
            for step in range(first, sampler.steps_per_epoch):
                yield [(next(batches), counts) for counts in sampler.passes_of_step(step)]
            return
        accumulation = self.args.gradient_accumulation_steps
        rest = islice(run.loader, first * accumulation, None)  # not our loader: go past what is done
        while group := list(islice(rest, accumulation)):
            yield [(batch, True) for batch in group]

    def _train_step(self, passes: list[ForwardPass]) -> float | Tensor:
        """Make one optimizer step and give the mean loss of its examples, over all processes; see ``_update``."""
        loss = torch.zeros((), device=self.args.device)
        weights, count = self._weigh(passes)
        self._examples_seen += (
            sum(data.batch_size_of(batch) for batch, counts in passes if counts) * self.args.world_size
        )
        for number, (batch, _) in enumerate(passes):
            self._pass_weight, self._item_count = weights[number], ItemCount(count, self.args.device)
            last = number == len(passes) - 1
            with self.parallel.forward_pass(last=last), self._around_training_step():
                loss = loss + self._call_training_step(batch)
            if not last:
                self.control = self.callback_handler.on_substep_end(self.args, self.state, self.control)
        self._pass_weight, self._item_count = 1.0, None
        if self.args.world_size > 1:
            loss = self.accelerator.reduce(loss, "mean")
        return self._update(loss)

    def _call_training_step(self, batch: Any) -> Tensor:
        """Run a forward and backward pass; an override in 4.4.2's manner does not know of the number of items."""
        if takes(self.training_step, "num_items_in_batch"):
            return self.training_step(self.model_wrapped, batch, num_items_in_batch=self._item_count)
        return self.training_step(self.model_wrapped, batch)

    def _weigh(self, passes: list[ForwardPass]) -> tuple[list[float], int]:
        """Give each forward pass its share of the step's loss, and the number of items in the step.

        The shares are multiplied by the number of processes, whose gradients are averaged.
        """
        items = [data.count_items(batch, self.label_names) if counts else 0 for batch, counts in passes]
        operations = sum(self.floating_point_ops(batch) for batch, counts in passes if counts)
        total, processes = sum(items), self.args.world_size
        if processes > 1:  # a wish to stop is told with the counts, so that all stop after the same step
            counts = [total, operations, self._stop.number or 0]
            totals = torch.tensor(counts, dtype=torch.float64, device=self.args.device)
            total, operations, asked = (int(value) for value in self.accelerator.reduce(totals, "sum").tolist())
            self._all_stop = asked > 0
        self.state.total_flos += operations
        return [count * processes / total if total else 1 / len(passes) for count in items], total

    def _around_training_step(self) -> AbstractContextManager[object]:
        """Give the precision to a training step of the script's own, which may not know of bf16."""
        own = overrides(self, "training_step", Trainer)
        return self.precision.context(training=True) if own else nullcontext()

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Run one forward and backward pass.

        Args:
            model: The model, as it is wrapped for several processes.
            inputs: A batch.
            num_items_in_batch: See ``compute_loss``.

        Returns:
            The pass's share of the step's loss, detached.
        """
        model.train()
        inputs = self._prepare_inputs(inputs)
        if self._graphs is not None:
            share = torch.full((), self._pass_weight, device=self.args.device)
            return self._graphs.run(inputs, self.precision.scaler.scale(share)) * share
        count = self._item_count if num_items_in_batch is None else num_items_in_batch
        given: dict[str, Any] = {"num_items_in_batch": count} if takes(self.compute_loss, "num_items_in_batch") else {}
        with self.precision.context(training=True):
            loss = self.compute_loss(model, inputs, **given)
        divided = isinstance(count, ItemCount) and count.used  # it is the pass's share of the step already
        weight = self.args.world_size if divided else self._pass_weight
        if weight != 1:
            loss = loss * weight
        self.parallel.backward(self.precision.scaler.scale(loss))
        return loss.detach()

    def _count_step(self, run: _Run, epoch: int, loss: float | Tensor) -> None:
        state = self.state
        state.global_step += 1
        state.epoch_steps_done += 1
        state.current_epoch = epoch
        state.epoch = epoch + state.epoch_steps_done / (run.steps_per_epoch or run.max_steps)
        if not isinstance(loss, Tensor):
            self._note_loss(loss)
        elif len(self._unread) >= MOST_UNREAD:
            self._read_steps()

    # -- log, evaluate, save -------------------------------------------------------------------------------------

    def _log_evaluate_save(self) -> None:
        """Do what the callbacks asked for."""
        if self.control.should_log or self.control.should_evaluate or self.control.should_save:
            self._read_steps()
        if self.control.should_log and self.state.unlogged_steps:
            self._log_training()
        self._is_best, metrics = False, None
        if self.control.should_evaluate:
            metrics = self._evaluate_in_training()
            self.control.should_evaluate = False  # an override of evaluate need not call on_evaluate
            self._report_evaluation(metrics)
            self._is_best = self._note_best(metrics)
            if waits_for_metrics(self.lr_scheduler):
                self.lr_scheduler.step(self._watched_metric(metrics))
            if self.args.save_strategy == SaveStrategy.BEST:
                self.control.should_save = self._is_best
        if self.control.should_save:
            self._save_checkpoint(self.model, None, metrics)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def _evaluate_in_training(self) -> dict[str, float]:
        """Evaluate; an override of ``evaluate`` need not know of ``ignore_keys`` that nobody gave."""
        ignored = self._ignore_keys_for_eval
        return self.evaluate() if ignored is None else self.evaluate(ignore_keys=ignored)

    def _log_training(self) -> None:
        state = self.state
        logs = {
            "loss": state.unlogged_loss_sum / state.unlogged_steps,
            "grad_norm": self._gradient_norm,
            "learning_rate": self._learning_rate,
        }
        state.unlogged_loss_sum, state.unlogged_steps = 0.0, 0
        self.log(logs)

    def _note_best(self, metrics: dict[str, float]) -> bool:
        """Remember the best evaluation; say whether this is it."""
        if self.args.metric_for_best_model is None:
            return False
        value = self._watched_metric(metrics)
        if not is_better(value, self.state.best_metric, self.args):
            return False
        self.state.best_metric = value
        return True

    def _watched_metric(self, metrics: dict[str, float]) -> float:
        """Give the metric that says which model is best: ``metric_for_best_model``, or the loss."""
        name = metric_key(self.args)
        if name not in metrics:
            raise ValueError(
                f"metric_for_best_model is '{name.removeprefix('eval_')}', but the evaluation gave "
                f"{', '.join(sorted(metrics))}."
            )
        return metrics[name]

    # -- start and end of a training -----------------------------------------------------------------------------

    def _prepare_run(self) -> _Run:
        """Build loader, optimizer and schedule, and start a new state."""
        self._check_loss()
        self._operations_a_token = None
        check_few_bits(self.model, self.args)
        if self.is_world_process_zero():
            clear_leftovers(self.args.output_dir)
        loader = self.get_train_dataloader()
        steps = self._steps_per_epoch(loader)
        if self.args.max_steps > 0:
            max_steps = self.args.max_steps
        elif steps is not None:
            max_steps = math.ceil(self.args.num_train_epochs * steps)
        else:
            raise ValueError("The training set has no length; say with max_steps how long to train.")
        epochs = max_steps if steps is None else math.ceil(max_steps / steps)
        if self.args.gradient_checkpointing:
            self._recompute_activations()
        self.parallel.shard(self.model)
        self._renew_optimizer_and_scheduler(max_steps)
        self.model_wrapped, self.precision = self.parallel.wrap(self.model, self.optimizer, self.precision)
        self._prepare_graphs(own_step=overrides(self, "training_step", Trainer))
        self._unread = UnreadSteps()  # an error may have left some
        self.state = TrainerState(
            epoch=0.0,
            max_steps=max_steps,
            num_train_epochs=epochs,
            global_batch_size=self.args.global_batch_size,
            is_local_process_zero=self.is_local_process_zero(),
            is_world_process_zero=self.is_world_process_zero(),
            **self._state_of_trial(),
        )
        handler = self.callback_handler
        handler.model, handler.optimizer, handler.lr_scheduler = self.model, self.optimizer, self.lr_scheduler
        handler.train_dataloader = loader
        return _Run(loader, steps, max_steps, epochs)

    def _recompute_activations(self) -> None:
        enable = getattr(self.model, "gradient_checkpointing_enable", None)
        if enable is None:
            raise ValueError(
                f"gradient_checkpointing: {type(self.model).__name__} has no gradient_checkpointing_enable()."
            )
        enable()

    def _steps_per_epoch(self, loader: DataLoader[Any]) -> int | None:
        sampler = getattr(loader, "batch_sampler", None)
        if isinstance(sampler, GlobalBatchSampler):
            return sampler.steps_per_epoch
        try:
            return math.ceil(len(loader) / self.args.gradient_accumulation_steps)
        except TypeError:  # a stream
            return None

    def _announce(self, run: _Run) -> None:
        args = self.args
        trained = number_of_values(self.model, lambda each: each.requires_grad, whole_size)
        logger.info(
            "Training on %s examples for %s epochs, %s steps%s. A step sees %d %s: %d per device x %d processes x %d "
            "forward passes. %s of %s values are trained.",
            f"{len(self.train_dataset):,}" if hasattr(self.train_dataset, "__len__") else "unknown",
            f"{run.max_steps / run.steps_per_epoch:g}" if run.steps_per_epoch else "unknown",
            f"{run.max_steps:,}",
            f", going on after step {self.state.global_step:,}" if self.state.global_step else "",
            args.global_batch_size,
            "examples" if args.train_tokens_per_batch is None else "tokens at most",
            args.train_tokens_per_batch or args.train_batch_size,
            args.world_size,
            args.gradient_accumulation_steps,
            f"{trained:,}",
            f"{number_of_values(self.model, size=whole_size):,}",
        )
        if args.world_size > 1:
            logger.info("Each process sends %s in a step.", self.parallel.traffic(self.model))

    def _finish(self, start_time: float, steps: int) -> TrainOutput:
        """Load the best weights if they are wanted, and report."""
        state = self.state
        self._keep_to_limit()  # a kill may have come between the last checkpoint and this
        if self.args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._read_best(state.best_model_checkpoint)
        metrics = speed_over("train", time.monotonic() - start_time, self._examples_seen, steps)
        metrics["train_loss"] = state.loss_sum / max(1, state.global_step)
        if state.total_flos:
            metrics["total_flos"] = state.total_flos
        self.log(metrics)
        self._memory_tracker.stop_and_update_metrics(metrics, "train")
        self._end_upload()
        self.control = self.callback_handler.on_train_end(self.args, state, self.control)
        return TrainOutput(state.global_step, metrics["train_loss"], metrics)
