"""``Trainer.hyperparameter_search`` by Ray Tune: each trial trains in a process of Ray's."""

from __future__ import annotations

from typing import Any

from ..trainer_callback import ProgressCallback
from .search_spaces import BestRun

__all__ = ["report_to_ray", "run_hp_search_ray", "trial_id"]


def run_hp_search_ray(trainer: Any, n_trials: int, direction: str | list[str], **kwargs: Any) -> BestRun:
    """Search by Ray Tune; what `hyperparameter_search` does.

    Args:
        trainer: A Trainer that searches. It is sent to Ray's processes without its model, which ``model_init`` makes
            there.
        n_trials: How many trials.
        direction: ``"minimize"`` or ``"maximize"``.
        **kwargs: Those of ``ray.tune.run``, such as ``resources_per_trial``, ``search_alg``, ``scheduler``,
            ``storage_path``. ``scheduler`` and ``search_alg`` go by ``objective`` unless they name a metric.

    Raises:
        ValueError: If there are several directions, or no trial came to its end.
    """
    from ray import tune

    if not isinstance(direction, str):
        raise ValueError("direction: Ray Tune searches in one direction; take backend='optuna' for several.")
    mode = {"minimize": "min", "maximize": "max"}.get(direction)
    if mode is None:
        raise ValueError(f"direction is {direction!r}; 'minimize' or 'maximize' was expected.")
    choosing = (kwargs.get("scheduler"), kwargs.get("search_alg"))
    if "metric" not in kwargs and not any(getattr(item, "metric", None) for item in choosing):
        kwargs |= {"metric": "objective", "mode": mode}
    model, trainer.model, trainer.model_wrapped = trainer.model, None, None
    bar = trainer.pop_callback(ProgressCallback)  # the processes' output is Ray's
    trainer.callback_handler.model = None
    try:
        trainable = tune.with_parameters(_train, trainer=trainer)
        analysis = tune.run(trainable, config=trainer.hp_space(None), num_samples=n_trials, **kwargs)
    finally:
        trainer.model = trainer.model_wrapped = trainer.callback_handler.model = model
        if bar is not None:
            trainer.add_callback(bar)
    best = analysis.get_best_trial(metric="objective", mode=mode, scope="last")
    if best is None:
        raise ValueError("No trial came to its end; Ray's log says why each failed.")
    return BestRun(best.trial_id, best.last_result["objective"], best.config, analysis)


def _train(config: dict[str, Any], trainer: Any) -> None:
    """Train one trial in a process of Ray's."""
    trainer.objective = None
    trainer.train(trial=config)
    if trainer.objective is None:  # training itself has not evaluated
        metrics = trainer.evaluate()
        report_to_ray(trainer.compute_objective(dict(metrics)), metrics)


def report_to_ray(objective: Any, metrics: dict[str, float]) -> None:
    """Report an evaluation to Ray; its scheduler may end the trial here."""
    from ray import tune

    tune.report({**metrics, "objective": objective})


def trial_id() -> str:
    """Give the id that Ray has for the trial of this process."""
    from ray import tune

    return str(tune.get_context().get_trial_id())
