"""What every Trainer has before it trains: model, device, data loaders, optimizer, loss, log, callbacks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Sampler, SequentialSampler

from .. import trainer_pt_utils
from ..data.samplers import ExampleSampler
from ..integrations import get_reporting_integration_callbacks
from ..kernels.calls import use_kernels
from ..trainer_callback import DefaultFlowCallback, PrinterCallback, ProgressCallback
from ..trainer_pt_utils import LabelSmoother
from ..trainer_utils import EvalPrediction, TrainerMemoryTracker, set_seed
from ..training_args import TrainingArguments
from ..utils import logging
from . import batches as data
from .callback_base import CallbackHandler, TrainerCallback
from .devices import build_accelerator
from .graphed_steps import GraphedSteps
from .heap import keep_freed_memory
from .item_count import ItemCount
from .overrides import overrides, warn_of_methods_without_effect
from .precision import choose_precision
from .sharing import choose_parallel
from .signals import StopRequest
from .state import TrainerControl, TrainerState
from .threads import use_threads
from .unread_steps import UnreadSteps

__all__ = ["TrainerBase"]

logger = logging.get_logger(__name__)

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class TrainerBase:
    """The parts of a ``Trainer``; see there for the arguments."""

    is_in_train = False
    _pass_weight = 1.0
    _item_count: ItemCount | None = None
    _graphs: GraphedSteps | None = None
    _made_by_run: tuple[Any, Any] = (None, None)
    _learning_rate = 0.0
    _examples_seen = 0
    _gradient_norm = math.nan
    _ignore_keys_for_eval: list[str] | None = None
    _is_best = _all_stop = False

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        tokenizer: Any = None,
        model_init: Callable[..., nn.Module] | None = None,
        compute_metrics: Callable[[EvalPrediction], Mapping[str, Any]] | None = None,
        callbacks: Sequence[TrainerCallback | type[TrainerCallback]] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, Any] = (None, None),
        *,
        processing_class: Any = None,
        compute_loss_func: Callable[..., Tensor] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if model is None and model_init is None:
            raise ValueError("Trainer needs either a model or model_init.")
        if model_init is not None and any(item is not None for item in optimizers):
            raise ValueError(
                "Trainer was given model_init and optimizers: every train() makes a new model, which they would not "
                "train. Let the arguments name the optimizer, or override create_optimizer."
            )
        if model is not None and model_init is not None:
            logger.warning("Trainer was given a model and model_init: train() will make the model anew by model_init.")
        self.args = args = args if args is not None else TrainingArguments("tmp_trainer")
        self._memory_tracker = TrainerMemoryTracker(args.skip_memory_metrics)
        self._memory_tracker.start()
        set_seed(args.seed, bool(args.use_deterministic_algorithms))
        if args.num_threads is not None:
            use_threads(args.num_threads)
        self.accelerator = build_accelerator(args.no_cuda, args.ddp_timeout)
        self.parallel = choose_parallel(args)
        self.tokenizer = tokenizer if tokenizer is not None else processing_class
        self.data_collator = data_collator if data_collator is not None else _default_collator(self.tokenizer)
        self.compute_metrics, self.compute_loss_func = compute_metrics, compute_loss_func
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.model_init = model_init
        self.label_smoother = LabelSmoother(args.label_smoothing_factor) if args.label_smoothing_factor > 0 else None
        self.optimizer: Any = optimizers[0]
        self.lr_scheduler: Any = optimizers[1]
        self._place_model(model if model is not None else self.call_model_init())
        self.train_dataset = self._for_loader(train_dataset, "get_train_dataloader", "training")
        self.eval_dataset = self._for_loader(eval_dataset, "get_eval_dataloader", "evaluation")
        self.state = TrainerState(
            is_local_process_zero=self.is_local_process_zero(), is_world_process_zero=self.is_world_process_zero()
        )
        self.control = TrainerControl()
        self._changes: dict[str, tuple[Any, Any]] = {}
        self._unread, self._stop = UnreadSteps(), StopRequest()
        self.callback_handler = self._build_callbacks(callbacks or [])
        warn_of_methods_without_effect(self)
        self._prepare_publishing()
        self.control = self.callback_handler.on_init_end(args, self.state, self.control)
        self._memory_tracker.stop_and_update_metrics(stage="init")

    def _prepare_publishing(self) -> None:
        """Get ready for uploads; the part that does them says how."""

    def _build_callbacks(self, callbacks: Sequence[TrainerCallback | type[TrainerCallback]]) -> CallbackHandler:
        common, bar = self._default_callbacks()
        progress = PrinterCallback if self.args.disable_tqdm else bar
        reports = get_reporting_integration_callbacks(self.args.report_to or [])
        return CallbackHandler(
            [*common, *reports, *callbacks, progress],
            self.model,
            self.tokenizer,
            self.optimizer,
            self.lr_scheduler,
        )

    def _default_callbacks(self) -> tuple[Sequence[type[TrainerCallback]], type[TrainerCallback]]:
        """Give the callbacks of every run, and the one that shows its progress."""
        return [DefaultFlowCallback], ProgressCallback

    # -- model ---------------------------------------------------------------------------------------------------

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Make a model by ``model_init``.

        Args:
            trial: Passed on, if ``model_init`` wants an argument.

        Raises:
            ValueError: If there is no ``model_init``, or it gives nothing.
        """
        model = None
        if self.model_init is not None:
            model = self.model_init(trial) if self._model_init_takes_trial() else self.model_init()
        if model is None:
            raise ValueError("model_init must give a model; it gave None.")
        return model

    def _model_init_takes_trial(self) -> bool:
        """Say whether ``model_init`` wants an argument."""
        parameters = {} if self.model_init is None else inspect.signature(self.model_init).parameters
        return any(name == "trial" or item.default is item.empty for name, item in parameters.items())

    def _place_model(self, model: nn.Module) -> None:
        """Take a model: move it to the device and into the run's precision, and read what its batches hold."""
        self.model = self.model_wrapped = model.to(self.args.device)
        self.precision = choose_precision(
            self.args, model, self.args.device, cast_frozen=self.parallel.casts_frozen_parameters
        )
        self.label_names = self.args.label_names or data.find_label_names(model)
        takes = data.forward_arguments(model) if self.args.remove_unused_columns else None
        self._known_columns = None if takes is None else {*takes, *self.label_names, "label", "label_ids"}

    def _prepare_processor(self) -> None:
        """Let steps on a CPU keep the memory that they free, and use compiled kernels."""
        keep_freed_memory(self.model)
        use_kernels(self.args.compile_kernels and self.args.device.type == "cpu")

    # -- data ----------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Build the loader of the training set.

        Raises:
            ValueError: If there is no training set, or nothing in it.
        """
        if self.train_dataset is None:
            raise ValueError("Training needs a train_dataset.")
        dataset, collator = self._without_unused_columns(self.train_dataset, "training")
        # Of its later versions an override may want the data set.
        wanted = any(item.kind in _BY_PLACE for item in inspect.signature(self._get_train_sampler).parameters.values())
        sampler = self._get_train_sampler(*([dataset] if wanted else []))
        return data.train_loader(dataset, collator, self.args, sampler)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        """Give the order of the training examples; override it for another one, such as one that balances classes.

        What an override gives draws the examples of all processes, anew in every epoch, unless it is one of PyTorch's
        ``DistributedSampler``; None means the data set's own order.

        Args:
            train_dataset: The training set, without columns that are not used; the Trainer's own by default.
        """
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if isinstance(dataset, IterableDataset):
            if self.args.train_tokens_per_batch is not None:
                raise ValueError("train_tokens_per_batch needs a training set with a length; this one is a stream.")
            return None
        lengths = None
        if self.args.group_by_length or self.args.train_tokens_per_batch is not None:
            names = getattr(self.tokenizer, "model_input_names", None) or ["input_ids"]
            lengths = data.example_lengths(self.train_dataset, self.args.length_column_name, names[0])
        return ExampleSampler(data.global_batches(len(dataset), self.args, lengths=lengths))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Build the loader of the evaluation set, or of another one.

        Raises:
            ValueError: If there is none.
        """
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        if dataset is None:
            raise ValueError("Evaluation needs an eval_dataset.")
        kept, collator = self._without_unused_columns(dataset, "evaluation")
        return data.eval_loader(kept, collator, self.args, self._get_eval_sampler(dataset))

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Build the loader of a test set."""
        kept, collator = self._without_unused_columns(test_dataset, "test")
        return data.eval_loader(kept, collator, self.args, self._get_eval_sampler(test_dataset))

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int] | None:
        """Give the order of an evaluation: the data set's. Predictions come in the order of an override's sampler."""
        return None if isinstance(eval_dataset, IterableDataset) else SequentialSampler(eval_dataset)

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        """Let a ``datasets.Dataset`` show only what the model takes, in place, and give it back.

        This is what loaders copied from 4.4.2 call; an override that leaves the data set as it is keeps all columns.
        """
        return data.hide_unused_columns(dataset, self._known_columns, description or "given")

    def _for_loader(self, dataset: Any, method: str, description: str) -> Any:
        """Show a script's own loader what it finds in 4.4.2: the columns that the model takes (in a copy)."""
        if not hasattr(dataset, "set_format") or not overrides(self, method, TrainerBase):
            return dataset
        shown = copy(dataset)
        changed = self._remove_unused_columns(shown, description)
        return shown if changed is None else changed

    def _without_unused_columns(self, dataset: Any, description: str) -> tuple[Any, Callable[[list[Any]], Any]]:
        """Give a data set and its collator, which together leave out what the model does not take."""
        if overrides(self, "_remove_unused_columns", TrainerBase):
            changed = self._remove_unused_columns(dataset, description)
            return dataset if changed is None else changed, self.data_collator
        kept = data.without_unused_columns(dataset, self._known_columns, description)
        if self._known_columns is None or kept is not dataset:
            return kept, self.data_collator
        return dataset, data.KnownColumns(self.data_collator, self._known_columns)

    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        """Count the examples of a loader's data set."""
        return len(dataloader.dataset)  # type: ignore[arg-type]

    def _prepare_inputs(self, inputs: Any) -> Any:
        """Move a batch to the device."""
        return data.to_device(inputs, self.args.device)

    # -- log and callbacks ---------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the epoch to some figures, remember them with the step, and show them to the callbacks.

        Args:
            logs: The figures.
            start_time: Of no use here.
        """
        if self.state.epoch is not None:
            logs["epoch"] = round(self.state.epoch, 4)
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def add_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """Add a callback, or one built from a class."""
        self.callback_handler.add_callback(callback)

    def pop_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> TrainerCallback | None:
        """Take out a callback, or the first one of a class, and give it back; None if there is none."""
        return self.callback_handler.pop_callback(callback)

    def remove_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """Take out a callback, or the first one of a class."""
        self.callback_handler.remove_callback(callback)

    metrics_format = trainer_pt_utils.metrics_format
    log_metrics = trainer_pt_utils.log_metrics
    save_metrics = trainer_pt_utils.save_metrics
    save_state = trainer_pt_utils.save_state

    def is_local_process_zero(self) -> bool:
        """Say whether this is the main process of its machine."""
        return self.args.local_process_index == 0

    def is_world_process_zero(self) -> bool:
        """Say whether this is the main process of all."""
        return self.args.process_index == 0

    # -- names of 4.4.2 that copied method bodies read -----------------------------------------------------------

    use_apex = False
    sharded_ddp = None
    is_model_parallel = False  # several GPUs in one process
    current_flos = 0  # counted in the state

    @property
    def use_amp(self) -> bool:
        """Whether the loss is scaled, by ``scaler``, for fp16."""
        return self.precision.scaler.is_enabled()

    @property
    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss for fp16."""
        return self.precision.scaler

    @property
    def deepspeed(self) -> Any:
        """DeepSpeed's engine while it is in use; else None."""
        return self.parallel.engine

    @property
    def place_model_on_device(self) -> bool:
        """Whether the Trainer moves the model to the device."""
        return self.args.place_model_on_device

    @property
    def processing_class(self) -> Any:
        """Another name of ``tokenizer``."""
        return self.tokenizer

    @processing_class.setter
    def processing_class(self, value: Any) -> None:
        self.tokenizer = value


def _default_collator(tokenizer: Any) -> Callable[[list[Any]], Any]:
    from ..data.data_collator import DataCollatorWithPadding, default_data_collator

    return default_data_collator if tokenizer is None else DataCollatorWithPadding(tokenizer)
