"""`Trainer.hyperparameter_search`: what a trial is, what it is worth, and what is left afterwards."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from training_case import TinyClassifier, examples, pad

from transformers import Trainer, TrainerCallback, TrainingArguments, integrations
from transformers.trainer_utils import (
    BestRun,
    HPSearchBackend,
    default_compute_objective,
    default_hp_space_optuna,
)

optuna = pytest.importorskip("optuna")


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    fixed = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "evaluation_strategy": "epoch", "seed": 3}
    quiet = {"report_to": "none", "disable_tqdm": True, "no_cuda": True, "save_strategy": "no"}
    return TrainingArguments(str(folder), **{**fixed, **quiet, **changes})


def trainer_in(folder: Path, model_init: Any = TinyClassifier, callbacks: Any = None, **changes: Any) -> Trainer:
    data = {"train_dataset": examples(40), "eval_dataset": examples(20, seed=2), "data_collator": pad}
    return Trainer(model_init=model_init, args=arguments(folder, **changes), callbacks=callbacks, **data)


def rates(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 3),
        "label_smoothing_factor": trial.suggest_categorical("label_smoothing_factor", [0.0, 0.1]),
    }


def test_names_and_signature_are_those_of_upstream() -> None:
    found = inspect.signature(Trainer.hyperparameter_search).parameters
    assert list(found) == [
        *("self", "hp_space", "compute_objective", "n_trials", "direction", "backend", "hp_name", "kwargs")
    ]
    assert (found["n_trials"].default, found["direction"].default, found["backend"].default) == (20, "minimize", None)
    assert BestRun._fields == ("run_id", "objective", "hyperparameters", "run_summary")
    assert [member.value for member in HPSearchBackend] == ["optuna", "ray"]
    assert integrations.is_optuna_available()
    assert default_compute_objective({"eval_loss": 1.0, "epoch": 2}) == 1.0
    assert default_compute_objective({"eval_loss": 1.0, "eval_a": 0.5, "eval_b": 0.25, "epoch": 2}) == 0.75


def test_the_default_space_is_that_of_4_4_2() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    assert set(default_hp_space_optuna(trial)) == set(trial.params)
    assert trial.distributions == {
        "learning_rate": optuna.distributions.FloatDistribution(1e-6, 1e-4, log=True),
        "num_train_epochs": optuna.distributions.IntDistribution(1, 5),
        "seed": optuna.distributions.IntDistribution(1, 40),
        "per_device_train_batch_size": optuna.distributions.CategoricalDistribution([4, 8, 16, 32, 64]),
    }


def test_the_best_trial_is_the_training_with_its_values(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, save_strategy="epoch")
    before = trainer.args.to_dict()
    storage = optuna.storages.InMemoryStorage()
    best = trainer.hyperparameter_search(
        rates, n_trials=4, sampler=optuna.samplers.RandomSampler(seed=1), storage=storage, study_name="a"
    )
    study = optuna.load_study(study_name="a", storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
    assert best == BestRun(str(study.best_trial.number), min(t.value for t in study.trials), study.best_trial.params)
    assert trainer.args.to_dict() == before
    assert trainer.label_smoother is None
    for trial in study.trials:
        alone = trainer_in(tmp_path / "alone", **trial.params)
        alone.train()
        assert trial.value == alone.evaluate()["eval_loss"]
        epochs = trial.params["num_train_epochs"]
        assert list(trial.intermediate_values) == list(range(1, epochs + 1))
        folder = tmp_path / f"run-{trial.number}"
        assert {path.name for path in folder.glob("checkpoint-*")} == {
            f"checkpoint-{5 * n + 5}" for n in range(epochs)
        }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-0", "run-1", "run-2", "run-3"]


class _Told(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[tuple[int, bool, str | None, Any]] = []

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append((state.global_step, state.is_hyper_param_search, state.trial_name, state.trial_params))


def test_trials_without_promise_end_early_and_callbacks_are_told(tmp_path: Path) -> None:
    told, storage = _Told(), optuna.storages.InMemoryStorage()
    trainer = trainer_in(tmp_path, callbacks=[told])
    trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [0.5, 0.01])},
        compute_objective=lambda metrics: trainer.args.learning_rate,
        n_trials=2,
        hp_name=lambda trial: f"trial number {trial.number}",
        sampler=optuna.samplers.GridSampler({"learning_rate": [0.5, 0.01]}),
        pruner=optuna.pruners.ThresholdPruner(upper=0.1),
        storage=storage,
        study_name="a",
    )
    trials = optuna.load_study(study_name="a", storage=storage).trials
    assert {trial.params["learning_rate"]: trial.state.name for trial in trials} == {0.5: "PRUNED", 0.01: "COMPLETE"}
    for trial, end in zip(trials, told.ends, strict=True):
        steps = 5 if trial.state.name == "PRUNED" else 10
        assert end == (steps, True, f"trial number {trial.number}", trial.params)
    trainer.train()
    assert told.ends[-1] == (10, False, None, None)


def test_model_init_is_given_the_trial(tmp_path: Path) -> None:
    made = []

    def model_init(trial: Any = None) -> TinyClassifier:
        dropout = 0.25 if trial is None else trial.params["dropout"]
        made.append(dropout)
        return TinyClassifier(dropout)

    trainer = trainer_in(tmp_path, model_init)
    best = trainer.hyperparameter_search(
        lambda trial: {"dropout": trial.suggest_float("dropout", 0.0, 0.5)},
        compute_objective=lambda metrics: metrics["eval_loss"] * 2,
        n_trials=2,
        direction="maximize",
        backend="optuna",
    )
    assert isinstance(best, BestRun)
    assert len(made) == 3
    assert best.hyperparameters["dropout"] in made[1:]


def test_a_trial_whose_loss_is_not_finite_is_a_failed_one(tmp_path: Path) -> None:
    trainer, storage = trainer_in(tmp_path), optuna.storages.InMemoryStorage()
    best = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [1e30, 1e-2])},
        n_trials=2,
        sampler=optuna.samplers.GridSampler({"learning_rate": [1e30, 1e-2]}),
        storage=storage,
        study_name="a",
    )
    assert best.hyperparameters == {"learning_rate": 1e-2}
    states = {trial.state.name for trial in optuna.load_study(study_name="a", storage=storage).trials}
    assert states == {"COMPLETE", "FAIL"}


def test_several_directions_give_all_that_none_beats(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, evaluation_strategy="no")
    best = trainer.hyperparameter_search(
        lambda trial: {"num_train_epochs": trial.suggest_int("num_train_epochs", 1, 2)},
        compute_objective=lambda metrics: (metrics["eval_loss"], metrics["epoch"]),
        n_trials=2,
        direction=["minimize", "minimize"],
        sampler=optuna.samplers.GridSampler({"num_train_epochs": [1, 2]}),
    )
    assert isinstance(best, list)
    assert all(isinstance(each.objective, list) and len(each.objective) == 2 for each in best)
    assert min(each.objective[1] for each in best) == 1


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    with pytest.raises(ValueError, match="n_trials is 0"):
        trainer.hyperparameter_search(n_trials=0)
    with pytest.raises(ValueError, match="sigopt"):
        trainer.hyperparameter_search(backend="sigopt")
    with pytest.raises(ValueError, match="several processes"):
        trainer.hyperparameter_search(n_jobs=2)
    with pytest.raises(ValueError, match="per_device_train_batch_size is 0"):
        trainer.hyperparameter_search(lambda trial: {"per_device_train_batch_size": 0}, n_trials=1)
    assert trainer.args.per_device_train_batch_size == 8
    fixed = Trainer(TinyClassifier(), arguments(tmp_path))
    with pytest.raises(RuntimeError, match="model_init"):
        fixed.hyperparameter_search()


def test_ray_finds_the_same_best_trial_for_the_same_seed(tmp_path: Path) -> None:
    ray, tune = pytest.importorskip("ray"), pytest.importorskip("ray.tune")
    paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}  # where its processes find this test's modules
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", runtime_env=paths)
    try:
        found = [_search_by_ray(tmp_path / name, tune) for name in ("a", "b")]
    finally:
        ray.shutdown()
    assert found[0].objective == found[1].objective
    assert found[0].hyperparameters == found[1].hyperparameters
    alone = trainer_in(tmp_path / "alone", learning_rate=found[0].hyperparameters["learning_rate"])
    alone.train()
    assert found[0].objective == alone.evaluate()["eval_loss"]


def _search_by_ray(folder: Path, tune: Any) -> BestRun:
    trainer = trainer_in(folder)
    best = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": tune.loguniform(1e-4, 1e-1)},
        n_trials=2,
        backend="ray",
        search_alg=tune.search.basic_variant.BasicVariantGenerator(random_state=1),
        storage_path=str(folder / "ray"),
        verbose=0,
    )
    assert trainer.model is not None
    assert isinstance(best, BestRun)
    return best
