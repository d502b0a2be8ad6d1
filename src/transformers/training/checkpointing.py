"""The part of a ``Trainer`` that writes checkpoints and goes on from them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

from ..optimization import own_rates, renew_rates
from ..trainer_utils import SaveStrategy
from ..utils import logging
from .checkpoint import (
    TornCheckpointError,
    find_last_checkpoint,
    is_of_transformers,
    partial_folder,
    rotate_checkpoints,
    verify_checkpoint,
    writing_checkpoint,
)
from .checkpoint_state import capture_rng_state
from .evaluation import EvaluatingTrainer
from .foreign_models import check_holds_trained, saves_itself, write_module_state
from .lock import locked_folder
from .resumed_arguments import changed_arguments, report_changes, settle
from .same_run import check_same_run, describe_model, describe_run, threads_of_run, write_run
from .saving import (
    STATE_NAMES,
    TRAINER_STATE_NAME,
    TRAINING_ARGS_NAME,
    is_training_checkpoint,
    load_training_state,
    read_model,
    save_training_state,
    write_arguments,
    write_model,
)
from .signals import TrainingStopped
from .state import TrainerState
from .threads import keep_threads

__all__ = ["CheckpointingTrainer"]

logger = logging.get_logger(__name__)


class CheckpointingTrainer(EvaluatingTrainer):
    """The part of a ``Trainer`` that saves and resumes; see ``Trainer`` for the arguments."""

    # -- save ----------------------------------------------------------------------------------------------------

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model, its tokenizer and the arguments; of a LoRA model the adapter and the head only.

        All processes call it. An override also writes the model of every checkpoint: it is given the folder in which
        the checkpoint is prepared.

        Args:
            output_dir: The folder; ``args.output_dir`` by default.
        """
        with self.parallel.whole_model(self.model):
            if self.is_world_process_zero():
                self._save(output_dir or self.args.output_dir)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None) -> None:
        """Do what ``save_model`` does, on the main process: 4.4.2's name, which may be overridden as well."""
        write_model(self.model, output_dir or self.args.output_dir, self.tokenizer, self.args)

    def _save_checkpoint(self, model: nn.Module, trial: Any = None, metrics: Mapping[str, Any] | None = None) -> None:
        """Write ``checkpoint-<step>``; nothing that was there before is lost, whatever happens meanwhile.

        Args:
            model: As in 4.4.2; of no use here, what is written is ``self.model``.
            trial: As in 4.4.2; of no use here.
            metrics: What the evaluation before it gave, if there was one.
        """
        from accelerate.utils import gather_object

        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        if self._is_best:
            self.state.best_model_checkpoint = str(folder)
        optimizer_state = None if self.args.save_only_model else self.parallel.optimizer_state(self.optimizer)
        with self._writing(folder) as partial:
            self.save_model(str(partial))
            self._complete_weights(partial)
            rng_states = gather_object([capture_rng_state(self.args.device)])  # every process is done with its files
            if self.is_world_process_zero():
                self._write_state(partial, optimizer_state, rng_states)
        self._keep_to_limit()

    def _keep_to_limit(self) -> None:
        """Delete the checkpoints beyond the limit, if the newest is of this very step."""
        newest = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        if self.is_world_process_zero() and self.args.save_strategy != SaveStrategy.NO and newest.is_dir():
            rotate_checkpoints(self.args.output_dir, self.args.save_total_limit, self.state.best_model_checkpoint)
        self.accelerator.wait_for_everyone()

    def _complete_weights(self, folder: Path) -> None:
        """See to it that training can go on with the weights of a checkpoint, whatever has written them."""
        with self.parallel.whole_model(self.model) if saves_itself(self.model) else nullcontext():
            if self.is_world_process_zero():
                if saves_itself(self.model):
                    write_module_state(self.model, folder)
                check_holds_trained(self.model, folder)
                if not (folder / TRAINING_ARGS_NAME).is_file():
                    write_arguments(self.args, folder)

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[Path]:
        """Give all processes the folder in which a checkpoint is prepared; the main one seals and names it."""
        if not self.is_world_process_zero():
            self.accelerator.wait_for_everyone()
            yield partial_folder(folder)
            return
        state_names = () if self.args.save_only_model else STATE_NAMES
        with writing_checkpoint(folder, (TRAINER_STATE_NAME, TRAINING_ARGS_NAME, *state_names)) as partial:
            self.accelerator.wait_for_everyone()
            yield partial
            check_holds_trained(self.model, partial)  # still

    def _write_state(self, folder: Path, optimizer_state: dict[str, Any] | None, rng_states: list[Any]) -> None:
        self.state.callback_states = self.callback_handler.state_dict()
        self.state.save_to_json(folder / TRAINER_STATE_NAME)
        write_run(folder, self._describe_run())
        if optimizer_state is not None:
            save_training_state(
                folder,
                optimizer_state=optimizer_state,
                scheduler=self.lr_scheduler,
                scaler=self.precision.scaler,
                rng_states=rng_states,
            )

    # -- stop ----------------------------------------------------------------------------------------------------

    def _sole_in_folder(self) -> AbstractContextManager[None]:
        """Keep other runs out of ``output_dir`` while this one may write checkpoints into it."""
        writes = self.is_world_process_zero() and self.args.save_strategy != SaveStrategy.NO
        return locked_folder(self.args.output_dir) if writes else nullcontext()

    def _stops_here(self) -> bool:
        """Say whether the training stops after this step: all processes say the same."""
        return self._all_stop if self.args.world_size > 1 else self._stop.number is not None

    def _end_stopped(self) -> NoReturn:
        """End after the checkpoint that a signal has asked for.

        Raises:
            TrainingStopped: Always.
        """
        stopped = TrainingStopped(self._stop.number or signal.SIGTERM)  # another process was asked
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
            logger.warning("Stopped by %s after a whole step; training goes on from %s.", stopped.signal_name, folder)
        raise stopped

    # -- resume --------------------------------------------------------------------------------------------------

    def _find_checkpoint(self, wanted: str | bool | None) -> Path | None:
        """Give the training to go on with; None for a training from the start."""
        if not wanted:
            return None
        if wanted is True:
            found = find_last_checkpoint(self.args.output_dir) if Path(self.args.output_dir).is_dir() else None
            if found is None:
                raise ValueError(f"There is no whole checkpoint in '{self.args.output_dir}' to go on from.")
            return found
        if is_training_checkpoint(wanted):
            return Path(wanted)
        what = (
            "was written by Transformers itself, whose pickles of optimizer and schedule are not read"
            if is_of_transformers(wanted)
            else "holds a model, not a training"
        )
        logger.warning("'%s' %s: its weights are taken; optimizer, schedule and steps start anew.", wanted, what)
        read_model(self.model, wanted, only_fitting=True)
        return None

    def _settle_arguments(self, checkpoint: Path) -> None:
        """Compare the arguments with the checkpoint's, before anything is made of them; see ``resumed_arguments``."""
        self._changes = changed_arguments(checkpoint, self.args)
        settle(self._changes, self.args, checkpoint)
        keep_threads(threads_of_run(checkpoint))

    def _note_run(self, checkpoint: Path | None) -> None:
        """Note which run this is, before anything of the model is sharded; it must be the checkpoint's."""
        facts = describe_model(self.model)
        self._describe_run = cache(partial(describe_run, facts, self.train_dataset))
        if checkpoint is not None:
            check_same_run(checkpoint, self._describe_run)

    def _resume(self, checkpoint: Path) -> dict[str, Any] | None:
        """Put everything back as it was when the checkpoint was written; give the state of the random generators."""
        own = own_rates(self.optimizer, self.lr_scheduler) if all(self._made_by_run) else None
        with self.parallel.whole_model(self.model, change=True):
            read_model(self.model, checkpoint)
        rng_states = load_training_state(
            checkpoint,
            optimizer=self.optimizer,
            parallel=self.parallel,
            scheduler=self.lr_scheduler,
            scaler=self.precision.scaler,
        )
        if own is not None:
            renew_rates(self.optimizer, self.lr_scheduler, own, other_rate="learning_rate" in self._changes)
        report_changes(self._changes, checkpoint, own_optimizer=own is not None)
        saved = TrainerState.load_from_json(checkpoint / TRAINER_STATE_NAME)
        self._adapt_state(saved, checkpoint)
        self.state = saved
        self.callback_handler.load_state_dict(saved.callback_states)
        logger.info("Model, optimizer and schedule are those of %s; nothing of them is new.", checkpoint)
        if len(rng_states) != self.args.world_size:
            logger.warning("The checkpoint has %d processes: dropout goes on with other numbers.", len(rng_states))
            return None
        return rng_states[self.args.process_index]

    def _adapt_state(self, saved: TrainerState, checkpoint: Path) -> None:
        """Bring a saved state to this run's settings, and say aloud where they make it another run."""
        new = self.state
        if saved.max_steps != new.max_steps:
            logger.warning("The checkpoint was one of %d steps, this run has %d.", saved.max_steps, new.max_steps)
        if saved.global_batch_size != new.global_batch_size:
            logger.warning(
                "The global batch was %d and is %d: this is not the same run. It goes on at the same example.",
                saved.global_batch_size,
                new.global_batch_size,
            )
            saved.epoch_steps_done = saved.epoch_steps_done * saved.global_batch_size // new.global_batch_size
        if {"metric_for_best_model", "greater_is_better"} & self._changes.keys():  # another scale than the best's
            saved.best_metric = saved.best_model_checkpoint = None
        if self.args.ignore_data_skip:
            saved.epoch_steps_done = 0
        if saved.best_model_checkpoint is not None and not Path(saved.best_model_checkpoint).is_dir():
            saved.best_model_checkpoint = str(checkpoint.parent / Path(saved.best_model_checkpoint).name)
        if self.args.load_best_model_at_end and saved.best_model_checkpoint is not None:
            try:
                verify_checkpoint(saved.best_model_checkpoint)
            except TornCheckpointError as error:
                logger.warning("The best checkpoint is lost (%s). The best of the evaluations to come is kept.", error)
                saved.best_metric = saved.best_model_checkpoint = None
        saved.max_steps, saved.num_train_epochs = new.max_steps, new.num_train_epochs
        saved.global_batch_size = new.global_batch_size
        saved.is_local_process_zero, saved.is_world_process_zero = new.is_local_process_zero, new.is_world_process_zero

    def _read_best(self, folder: str) -> None:
        """Take the best checkpoint's weights; where it is damaged the last ones stay."""
        try:
            verify_checkpoint(folder)
        except TornCheckpointError as error:
            logger.warning("The best model cannot be loaded (%s); the last weights stay.", error)
            return
        logger.info("Loading the best model, %s (%s).", folder, self.state.best_metric)
        with self.parallel.whole_model(self.model, change=True):
            read_model(self.model, folder)
