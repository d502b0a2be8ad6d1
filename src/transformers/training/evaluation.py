"""Evaluation and prediction with a model as it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..adapters.methods import AdapterMethods
from ..trainer_pt_utils import distributed_concat, nested_detach, nested_numpify
from ..trainer_utils import EvalLoopOutput, PredictionOutput, speed_over
from . import batches as data
from .evaluation_batches import (
    CollectedBatches,
    check_loader,
    example_count,
    is_dealt_out,
    owned_examples,
    summarize,
)
from .half_evaluation import computing_in
from .item_count import ItemCount
from .lost_processes import explaining_lost_processes
from .overrides import overrides, takes
from .updating import UpdatingTrainer

__all__ = ["EvaluatingTrainer"]


class EvaluatingTrainer(UpdatingTrainer):
    """The part of a ``Trainer`` that evaluates and predicts; see ``Trainer`` for the arguments."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate, and log the figures.

        Args:
            eval_dataset: What to evaluate on, in place of the Trainer's own; a dict of several sets is evaluated one
                by one, each with its name in the metrics' names.
            ignore_keys: Outputs of the model to leave out of the predictions.
            metric_key_prefix: Prefix of the metrics' names.

        Returns:
            ``<prefix>_loss``, what ``compute_metrics`` gives, speed figures and the epoch.

        Raises:
            ValueError: If figures were asked for that cannot be computed, because labels or outputs are missing.
        """
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        if isinstance(dataset, dict):
            metrics: dict[str, float] = {}
            for name, part in dataset.items():
                metrics.update(self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}"))
            return metrics
        only_loss = True if self.compute_metrics is None else None
        with self._closed_by_errors():
            self._memory_tracker.start()
            loader = self.get_eval_dataloader(dataset)
            output = self._timed_loop(loader, "Evaluation", only_loss, ignore_keys, metric_key_prefix)
            self._check_metrics(output)
        metrics = output.metrics
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._memory_tracker.stop_and_update_metrics(metrics, metric_key_prefix)
        return metrics

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> PredictionOutput:
        """Predict, in the data set's order; with labels there are metrics too.

        Args:
            test_dataset: What to predict for.
            ignore_keys: Outputs of the model to leave out of the predictions.
            metric_key_prefix: Prefix of the metrics' names.
        """
        with self._closed_by_errors():
            self._memory_tracker.start()
            loader = self.get_test_dataloader(test_dataset)
            output = self._timed_loop(loader, "Prediction", None, ignore_keys, metric_key_prefix)
        self.control = self.callback_handler.on_predict(self.args, self.state, self.control, output.metrics)
        self._memory_tracker.stop_and_update_metrics(output.metrics, "test")
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)

    @contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        """Close what an error inside leaves open: the measuring of memory, and the callbacks' bars."""
        with self._memory_tracker.ended_by_errors():
            try:
                yield
            except BaseException:
                self.callback_handler.close()
                raise

    def _check_metrics(self, output: EvalLoopOutput) -> None:
        """Refuse an evaluation without the figures that ``compute_metrics`` or ``label_names`` ask for.

        Raises:
            ValueError: Saying what was not there.
        """
        if (
            output.num_samples == 0
            or self.args.prediction_loss_only
            or overrides(self, "prediction_loop", EvaluatingTrainer)
        ):
            return
        asked = "compute_metrics" if self.compute_metrics is not None else "label_names"
        needs_outputs = self.compute_metrics is not None
        if needs_outputs and output.predictions is None and output.label_ids is not None:
            raise ValueError("The evaluation gave no outputs, so compute_metrics cannot be called. Is all ignored?")
        labelled = output.label_ids is not None or any(name.endswith("_loss") for name in output.metrics)
        if (needs_outputs and output.label_ids is None) or (self.args.label_names and not labelled):
            raise ValueError(
                f"The evaluation's batches have no labels, and {asked} asks for them: they should be called "
                f"{', '.join(self.label_names) or '(the model takes none)'}. Is that column in the evaluation set, "
                "and label_names spelt right?"
            )

    @explaining_lost_processes()
    def _timed_loop(
        self,
        loader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None,
        ignore_keys: list[str] | None,
        prefix: str,
    ) -> EvalLoopOutput:
        start = time.monotonic()
        if overrides(self, "prediction_loop", EvaluatingTrainer):
            found = self.prediction_loop(
                loader,
                description=description,
                prediction_loss_only=prediction_loss_only,
                ignore_keys=ignore_keys,
                metric_key_prefix=prefix,
            )
            output = EvalLoopOutput(found[0], found[1], found[2] or {}, example_count(loader))
        else:
            output = self.evaluation_loop(loader, description, prediction_loss_only, ignore_keys, prefix)
        steps = -(-output.num_samples // (self.args.eval_batch_size * self.args.world_size))
        output.metrics.update(speed_over(prefix, time.monotonic() - start, output.num_samples, steps))
        return output

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Go through a loader once and join what all processes found, every example once.

        Args:
            dataloader: One of the Trainer's loaders deals the data out to the processes; any other is gone through
                as a whole by every process.
            description: What this is.
            prediction_loss_only: Keep no predictions; ``args.prediction_loss_only`` by default.
            ignore_keys: Outputs of the model to leave out of the predictions.
            metric_key_prefix: Prefix of the metrics' names.

        Raises:
            ValueError: If a loader of another kind deals the data out to several processes.
        """
        check_loader(dataloader)
        only_loss = self.args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        self.callback_handler.eval_dataloader = dataloader
        self.model.eval()
        self._prepare_processor()
        batches = CollectedBatches()
        with_inputs = "inputs" in (self.args.include_for_metrics or ()) and not only_loss
        main_input = getattr(self.model, "main_input_name", "input_ids")
        seen = 0
        with self._through_a_half_copy():
            for number, inputs in enumerate(dataloader):
                examples = owned_examples(dataloader, number, seen, inputs)
                loss, logits, labels = self.prediction_step(self.model, inputs, only_loss, ignore_keys)
                if logits is not None and self.preprocess_logits_for_metrics is not None:
                    logits = self.preprocess_logits_for_metrics(logits, labels)
                if examples:
                    batches.add(examples, loss, logits, labels, inputs[main_input] if with_inputs else None)
                    seen += len(examples)
                if self.args.eval_accumulation_steps and (number + 1) % self.args.eval_accumulation_steps == 0:
                    batches.move_to_cpu()
                self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        batches.move_to_cpu()
        if is_dealt_out(dataloader):
            batches = batches.gathered(self.accelerator)
        with_losses = "loss" in (self.args.include_for_metrics or ())
        return summarize(batches, metric_key_prefix, self.compute_metrics, with_losses=with_losses)

    @contextmanager
    def _through_a_half_copy(self) -> Iterator[None]:
        """Let evaluations compute through a copy in half precision inside the ``with``, where that is asked for."""
        precision, model = self.precision, self.model
        if precision.eval_copy_dtype is None or not isinstance(model, AdapterMethods):
            yield
            return
        self.precision = replace(precision, eval_dtype=None)
        try:
            with computing_in(model, precision.eval_copy_dtype):
                yield
        finally:
            self.precision = precision

    def prediction_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> PredictionOutput:
        """Do what ``evaluation_loop`` does: 4.4.2's name. ``evaluate`` and ``predict`` call an override of it."""
        output = self.evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)

    def _gather_and_numpify(self, tensors: Any, name: str) -> Any:
        """Join the nested tensors of all processes as arrays, for prediction loops that are copied from 4.4.2."""
        return None if tensors is None else nested_numpify(distributed_concat(tensors))

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Any, Any, Any]:
        """Evaluate one batch.

        Args:
            model: The model.
            inputs: The batch.
            prediction_loss_only: Give the loss only.
            ignore_keys: Outputs of the model to leave out.

        Returns:
            Loss, logits and labels, detached; a single output or label stands by itself, several as a tuple; None
            where there are none.

        Raises:
            ValueError: If a batch has some of its labels only.
        """
        count = data.count_items(inputs, self.label_names)  # on the CPU still, where counting waits for nothing
        inputs = self._prepare_inputs(inputs)
        found = [name for name in self.label_names if inputs.get(name) is not None]
        has_labels = bool(found)
        if has_labels and len(found) < len(self.label_names):
            missing = next(name for name in self.label_names if name not in found)
            raise ValueError(
                f"A batch of the evaluation has the labels '{found[0]}' and lacks '{missing}', which label_names asks "
                "for as well."
            )
        labels = tuple(nested_detach(inputs[name]) for name in self.label_names) if has_labels else None
        with torch.no_grad(), self.precision.context(training=False):
            if has_labels:
                counted = {"num_items_in_batch": ItemCount(count, self.args.device)}
                given = counted if takes(self.compute_loss, "num_items_in_batch") else {}
                loss, outputs = self.compute_loss(model, dict(inputs), return_outputs=True, **given)
                loss = loss.mean().detach()
            else:
                loss, outputs = None, model(**inputs)
        if prediction_loss_only:
            return loss, None, None
        own_loss = has_labels and not self._computes_loss_outside(inputs)
        logits = nested_detach(_logits_of(outputs, self._ignored_outputs(ignore_keys), own_loss))
        return loss, _alone_if_single(logits), None if labels is None else _alone_if_single(labels)

    def _ignored_outputs(self, ignore_keys: list[str] | None) -> list[str]:
        if ignore_keys is not None:
            return ignore_keys
        return list(getattr(getattr(self.model, "config", None), "keys_to_ignore_at_inference", []))


def _logits_of(outputs: Any, ignored: list[str], own_loss: bool) -> tuple[Any, ...]:
    """Give a model's outputs without its loss.

    Args:
        outputs: A mapping, an object with ``logits``, or a tuple.
        ignored: Names to leave out.
        own_loss: Whether a tuple starts with the loss.
    """
    if isinstance(outputs, Mapping):
        return tuple(value for name, value in outputs.items() if name not in (*ignored, "loss") and value is not None)
    if hasattr(outputs, "logits"):
        return (outputs.logits,)
    items = tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)
    return tuple(item for item in (items[1:] if own_loss else items) if item is not None)


def _alone_if_single(values: tuple[Any, ...]) -> Any:
    """Give the only value, several as they are, and None for none."""
    return values[0] if len(values) == 1 else values or None
