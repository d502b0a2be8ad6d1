"""What a search over hyper-parameters is asked for and gives: backends, default spaces, the best trial."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..utils.generic import ExplicitEnum

__all__ = [
    "BestRun",
    "HPSearchBackend",
    "choose_backend",
    "default_hp_search_backend",
    "default_hp_space",
    "default_hp_space_optuna",
    "default_hp_space_ray",
    "hp_params",
    "is_optuna_available",
    "is_ray_available",
    "is_ray_tune_available",
]


class BestRun(NamedTuple):
    """The best trial of a search.

    Attributes:
        run_id: Its number, or with Ray its id; its checkpoints are in ``run-<run_id>``.
        objective: What was searched for; several values where there are several directions.
        hyperparameters: Its values by name.
        run_summary: What Ray knows of all trials (its ``ExperimentAnalysis``); None with Optuna.
    """

    run_id: str
    objective: float | list[float]
    hyperparameters: dict[str, Any]
    run_summary: Any = None


class HPSearchBackend(ExplicitEnum):
    """The libraries that a search can be made with."""

    OPTUNA = "optuna"
    RAY = "ray"


def is_optuna_available() -> bool:
    """Say whether Optuna is installed."""
    return importlib.util.find_spec("optuna") is not None


def is_ray_available() -> bool:
    """Say whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def is_ray_tune_available() -> bool:
    """Say whether Ray is installed with its part for searches."""
    return is_ray_available() and importlib.util.find_spec("ray.tune") is not None


def default_hp_search_backend() -> str | None:
    """Name the library that a search is made with by default: the first one that is installed; None if none is."""
    installed = {"optuna": is_optuna_available(), "ray": is_ray_tune_available()}
    return next((name for name, there in installed.items() if there), None)


def choose_backend(backend: str | HPSearchBackend | None) -> HPSearchBackend:
    """Give the library to search with: the one that is named, or the first one that is installed.

    Args:
        backend: ``"optuna"``, ``"ray"``, or None.

    Raises:
        ValueError: If the name is another one.
        RuntimeError: If it is not installed, or none is.
    """
    name = default_hp_search_backend() if backend is None else backend
    if name is None:
        raise RuntimeError("A search needs Optuna (pip install optuna) or Ray Tune (pip install 'ray[tune]').")
    chosen = HPSearchBackend(name)
    if not {HPSearchBackend.OPTUNA: is_optuna_available, HPSearchBackend.RAY: is_ray_tune_available}[chosen]():
        package = {HPSearchBackend.OPTUNA: "optuna", HPSearchBackend.RAY: "'ray[tune]'"}[chosen]
        raise RuntimeError(f"backend='{chosen.value}' needs a library that is not installed: pip install {package}.")
    return chosen


def default_hp_space_optuna(trial: Any) -> dict[str, Any]:
    """Let an Optuna trial draw the learning rate, epochs, seed and batch size that 4.4.2 searches by default.

    Args:
        trial: An ``optuna.Trial``.
    """
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8, 16, 32, 64]),
    }


def default_hp_space_ray(trial: Any = None) -> dict[str, Any]:
    """Give the same as `default_hp_space_optuna` as a space of Ray Tune.

    Args:
        trial: Of no use.
    """
    from ray import tune

    return {
        "learning_rate": tune.loguniform(1e-6, 1e-4),
        "num_train_epochs": tune.choice(list(range(1, 6))),
        "seed": tune.randint(1, 41),
        "per_device_train_batch_size": tune.choice([4, 8, 16, 32, 64]),
    }


default_hp_space = {HPSearchBackend.OPTUNA: default_hp_space_optuna, HPSearchBackend.RAY: default_hp_space_ray}
"""The default spaces by backend."""


def hp_params(trial: Any) -> dict[str, Any]:
    """Give a trial's values by name.

    Args:
        trial: An ``optuna.Trial``, or the dict that a trial of Ray is.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(trial, Mapping):
        return dict(trial)
    if hasattr(trial, "params"):
        return dict(trial.params)
    raise ValueError(f"A trial of Optuna or Ray was expected, not {type(trial).__name__}.")
