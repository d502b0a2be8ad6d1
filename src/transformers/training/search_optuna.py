"""``Trainer.hyperparameter_search`` by Optuna."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .search_spaces import BestRun

__all__ = ["report", "run_hp_search_optuna"]


_OF_OPTIMIZE = ("timeout", "catch", "callbacks", "gc_after_trial")


def run_hp_search_optuna(
    trainer: Any, n_trials: int, direction: str | list[str], **kwargs: Any
) -> BestRun | list[BestRun]:
    """Search by Optuna; what `hyperparameter_search` does.

    Args:
        trainer: A Trainer that searches.
        n_trials: How many trials.
        direction: See there.
        **kwargs: Those of ``optuna.create_study`` and ``study.optimize``. A training whose loss is not finite is a
            failed trial by default (``catch``), not the end of the search.

    Raises:
        ValueError: If ``n_jobs`` asks for threads, which one Trainer cannot serve, or no trial came to its end.
    """
    import optuna

    if kwargs.pop("n_jobs", 1) != 1:
        raise ValueError(
            "n_jobs: one Trainer trains one model at a time; start several processes with the same storage=…."
        )
    running: dict[str, Any] = {"catch": (FloatingPointError,)}
    running |= {name: kwargs.pop(name) for name in _OF_OPTIMIZE if name in kwargs}
    several = {"directions": direction} if isinstance(direction, list | tuple) else {"direction": direction}
    study = optuna.create_study(**several, **kwargs)
    study.optimize(trainer.train_trial, n_trials=n_trials, **running)
    if not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        raise ValueError(f"None of the {len(study.trials)} trials came to its end; Optuna's log says why each failed.")
    if len(study.directions) > 1:
        return [BestRun(str(best.number), best.values, best.params) for best in study.best_trials]
    return BestRun(str(study.best_trial.number), study.best_value, study.best_params)


def report(trial: Any, objective: Any, step: int, before_end: Callable[[], None]) -> None:
    """Report an evaluation to a trial's study.

    Args:
        trial: The ``optuna.Trial``.
        objective: What it amounts to. Where a study has several directions Optuna prunes nothing.
        step: When it was made.
        before_end: Called where the trial is pruned.

    Raises:
        TrialPruned: ``optuna.TrialPruned``, if the trial promises too little.
    """
    import optuna

    if len(trial.study.directions) > 1:
        return
    trial.report(objective, step)
    if trial.should_prune():
        before_end()
        raise optuna.TrialPruned
