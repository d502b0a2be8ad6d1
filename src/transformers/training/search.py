"""``hyperparameter_search``: one Trainer trains again and again, each time with other values of its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..trainer_pt_utils import LabelSmoother
from ..trainer_utils import IntervalStrategy, default_compute_objective
from ..utils import logging
from .argument_checks import check_training_arguments
from .publishing import PublishingTrainer
from .search_spaces import BestRun, HPSearchBackend, choose_backend, default_hp_space, hp_params

__all__ = ["SearchingTrainer"]

logger = logging.get_logger(__name__)


class SearchingTrainer(PublishingTrainer):
    """The part of a ``Trainer`` that searches; see ``Trainer`` for the arguments.

    Attributes:
        objective: What the last evaluation of the running trial amounts to; None before the first.
    """

    train: Callable[..., Any]
    hp_search_backend: HPSearchBackend | None = None
    hp_space: Callable[[Any], dict[str, Any] | None] | None = None
    hp_name: Callable[[Any], str] | None = None
    compute_objective: Callable[[dict[str, float]], Any] = staticmethod(default_compute_objective)
    objective: Any = None
    _trial: Any = None
    _outside_of_trials: Mapping[str, Any] | None = None

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any] | None] | None = None,
        compute_objective: Callable[[dict[str, float]], Any] | None = None,
        n_trials: int = 20,
        direction: str | list[str] = "minimize",
        backend: str | HPSearchBackend | None = None,
        hp_name: Callable[[Any], str] | None = None,
        **kwargs: Any,
    ) -> BestRun | list[BestRun]:
        """Train with other hyper-parameters again and again, and give the best.

        A trial trains a model that ``model_init`` makes anew, into ``output_dir/run-<number>``, and is worth what its
        last evaluation amounts to. Each evaluation during training is reported, so that a pruner can end a trial that
        promises little. Afterwards the arguments are what they were.

        Args:
            hp_space: Takes an ``optuna.Trial`` and gives values by the names of `TrainingArguments`' fields; for Ray
                it takes None and gives a space of Ray Tune. Other names are for ``model_init``. By default learning
                rate, epochs, seed and batch size (``default_hp_space_optuna``, ``default_hp_space_ray``).
            compute_objective: Makes a number of an evaluation's metrics, or several for several directions; the loss,
                or the sum of all other metrics where there are any, by default.
            n_trials: How many trials.
            direction: ``"minimize"`` or ``"maximize"``; with Optuna also a list, one for each number.
            backend: ``"optuna"`` or ``"ray"``; the first one that is installed by default.
            hp_name: Names a trial; the name takes the place of ``run-<number>``.
            **kwargs: For Optuna those of ``optuna.create_study`` (``storage``, ``study_name``, ``load_if_exists``,
                ``sampler``, ``pruner``) and of ``study.optimize`` (``timeout``, ``catch``, ``callbacks``,
                ``gc_after_trial``); for Ray those of ``ray.tune.run``.

        Returns:
            The best trial; with several directions all that no other one beats in each of them.

        Raises:
            ValueError: If an argument cannot be used, or no trial came to its end.
            RuntimeError: If there is no ``model_init``, the library is not installed, or several processes train.
        """
        chosen = choose_backend(backend)
        if self.model_init is None:
            raise RuntimeError("A search makes the model anew for each trial: give the Trainer model_init=….")
        if self.args.world_size > 1:
            raise RuntimeError(
                "A search runs in one process; several that are started by themselves can share one, with the same "
                "storage=… and study_name=…."
            )
        if n_trials < 1:
            raise ValueError(f"n_trials is {n_trials}; at least 1 was expected.")
        self.hp_space = default_hp_space[chosen] if hp_space is None else hp_space
        self.hp_name = hp_name
        self.compute_objective = default_compute_objective if compute_objective is None else compute_objective
        with self._searching(chosen):
            if chosen == HPSearchBackend.OPTUNA:
                from .search_optuna import run_hp_search_optuna

                return run_hp_search_optuna(self, n_trials, direction, **kwargs)
            from .search_ray import run_hp_search_ray

            return run_hp_search_ray(self, n_trials, direction, **kwargs)

    @contextmanager
    def _searching(self, backend: HPSearchBackend) -> Iterator[None]:
        """Let ``train`` take trials while the block runs, and put the arguments back after it."""
        self._outside_of_trials, self.hp_search_backend = dict(vars(self.args)), backend
        smoother = self.label_smoother
        try:
            yield
        finally:
            vars(self.args).update(self._outside_of_trials)
            self.label_smoother = smoother
            self._outside_of_trials = self.hp_search_backend = self._trial = None

    def train_trial(self, trial: Any) -> Any:
        """Train one trial, evaluate where training has not, and give its objective.

        Args:
            trial: An ``optuna.Trial``, or the values of a trial of Ray.
        """
        self.objective = None
        self.train(trial=trial)
        if self.objective is None:
            self.objective = self.compute_objective(dict(self.evaluate()))
        return self.objective

    # -- one trial -----------------------------------------------------------------------------------------------

    def _hp_search_setup(self, trial: Any) -> None:
        """Give the arguments a trial's values, and folders of its own.

        Raises:
            ValueError: If a value cannot work.
        """
        self._trial = trial
        if self.hp_search_backend is None or self._outside_of_trials is None or trial is None:
            return
        args = self.args
        vars(args).update(self._outside_of_trials)
        of_optuna = self.hp_search_backend == HPSearchBackend.OPTUNA
        values = (self.hp_space(trial) if of_optuna and self.hp_space is not None else hp_params(trial)) or {}
        for name, value in values.items():
            self._set_argument(name, value)
        name = self._name_of_trial(trial)
        args.output_dir = str(Path(args.output_dir, name))
        args.logging_dir = str(Path(str(args.logging_dir), name))
        check_training_arguments(args)
        smoothing = args.label_smoothing_factor
        if smoothing != self._outside_of_trials["label_smoothing_factor"]:
            self.label_smoother = LabelSmoother(smoothing) if smoothing > 0 else None
        logger.info("Trial %s: %s", name, values)

    def _set_argument(self, name: str, value: Any) -> None:
        """Set an argument, as the type that it has."""
        if not hasattr(self.args, name):
            if not self._model_init_takes_trial():
                logger.warning("The search sets %s, which is no argument of the training: no effect.", name)
            return
        before = getattr(self.args, name)
        setattr(self.args, name, value if before is None or isinstance(value, type(before)) else type(before)(value))

    def _name_of_trial(self, trial: Any) -> str:
        if self.hp_name is not None:
            return self.hp_name(trial)
        if self.hp_search_backend == HPSearchBackend.OPTUNA:
            return f"run-{trial.number}"
        from .search_ray import trial_id

        return f"run-{trial_id()}"

    def _state_of_trial(self) -> dict[str, Any]:
        """Give what the state of a training says of the trial that it is."""
        if self.hp_search_backend is None or self._trial is None:
            return {}
        name = None if self.hp_name is None else self.hp_name(self._trial)
        return {"is_hyper_param_search": True, "trial_name": name, "trial_params": hp_params(self._trial)}

    def _report_evaluation(self, metrics: dict[str, float]) -> None:
        """Report an evaluation of the training to the search, where this is a trial."""
        if self.hp_search_backend is not None and self._trial is not None:
            by_epoch = self.args.evaluation_strategy == IntervalStrategy.EPOCH
            step = math.ceil(self.state.epoch or 0) if by_epoch else self.state.global_step
            self._report_to_hp_search(self._trial, step, metrics)

    def _report_to_hp_search(self, trial: Any, step: int, metrics: dict[str, float]) -> None:
        """Report an evaluation; the trial ends here where the search sees no promise in it.

        Args:
            trial: See ``train_trial``.
            step: The epoch where each is evaluated, so that trials of other batch sizes compare; else the step.
            metrics: The evaluation's.
        """
        self.objective = self.compute_objective(dict(metrics))
        if self.hp_search_backend == HPSearchBackend.OPTUNA:
            from .search_optuna import report

            report(trial, self.objective, step, before_end=self._tell_callbacks_of_end)
        else:
            from .search_ray import report_to_ray

            report_to_ray(self.objective, metrics)

    def _tell_callbacks_of_end(self) -> None:
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
