"""The trials of a search, one after the other in this process, and what is kept of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from transformers import Trainer

from .plan import Plan
from .store import ERROR, Claim, Store
from .trial import FailedTrialError, Outcome, train

__all__ = ["Tell", "adapter_of", "check_same_search", "end_trial", "fail_trial", "keep_if_best", "run_trials", "tidy"]

Tell = Callable[[str, str], None]
"""Prints a line about a trial, and notes how many are finished."""

ABOUT = "about"


def check_same_search(store: Store, plan: Plan) -> None:
    """Refuse to go on with another search; let a new one begin with the values that were given.

    Raises:
        ValueError: If the folder holds a search with other flags, another space or metric.
    """
    before, now = store.study.user_attrs.get(ABOUT), plan.about()
    if before is None:
        store.study.set_user_attr(ABOUT, now)
        if plan.given:
            store.enqueue([plan.space.as_drawn(plan.given)])
    elif before != now:
        name = next(name for name in now if before.get(name) != now[name])
        old, new = before.get(name), now[name]
        if isinstance(new, dict) and isinstance(old, dict):
            name = next(key for key in {**old, **new} if old.get(key) != new.get(key))
            old, new = old.get(name, "not given"), new.get(name, "not given")
        raise ValueError(
            f"--output_dir {plan.folder} holds a search in which {name} is {old}, not {new}. Give another folder, or "
            "the same flags."
        )


def run_trials(store: Store, plan: Plan, tell: Tell) -> None:
    """Make trials until the search has all that were asked for."""
    while True:
        with store.claim(plan.options.trials) as claim:
            if claim is None:
                return
            values = plan.space.draw(claim.trial)
            claim.trial.set_user_attr("values", values)
            _train(store, plan, claim, plan.words(values, claim.folder / "run"), tell)


def _train(store: Store, plan: Plan, claim: Claim, words: list[str], tell: Tell) -> None:
    trial = claim.trial

    def reported(value: float, step: int, last: bool) -> bool:
        trial.report(value, step)
        return not last and bool(trial.should_prune())

    def keep(trainer: Trainer, value: float) -> None:
        keep_if_best(store, plan, trial.number, trainer, value)

    try:
        outcome = train(words, plan.sources, plan.metric, reported, keep)
    except FailedTrialError as error:
        fail_trial(store, plan, trial, str(error), tell)
    else:
        trial.set_user_attr("sources", plan.sources.counts())
        end_trial(store, plan, trial, outcome, tell)
    shutil.rmtree(claim.folder, ignore_errors=True)
    tidy(store, plan)


def end_trial(store: Store, plan: Plan, trial: Any, outcome: Outcome, tell: Tell) -> None:
    """Note what came out of a trial."""
    trial.set_user_attr("metrics", outcome.metrics)
    trial.set_user_attr("seconds", round(outcome.seconds, 1))
    trial.set_user_attr("threads", outcome.threads)
    if outcome.pruned:
        store.study.tell(trial, state=TrialState.PRUNED)
    else:
        store.study.tell(trial, outcome.value)
    ending = "ended early" if outcome.pruned else ""
    _tell(store, plan, trial, f"{outcome.value:.4f} {ending}".strip(), tell)


def fail_trial(store: Store, plan: Plan, trial: Any, reason: str, tell: Tell) -> None:
    """Note why a trial could not come to its end."""
    trial.set_user_attr(ERROR, reason)
    store.study.tell(trial, state=TrialState.FAIL)
    _tell(store, plan, trial, f"failed: {reason}", tell)


def _tell(store: Store, plan: Plan, trial: Any, text: str, tell: Tell) -> None:
    done = len(store.finished())
    values = "  ".join(f"{name} {value}" for name, value in trial.user_attrs.get("values", trial.params).items())
    name = plan.metric.removeprefix("eval_")
    tell(f"{store.name} {trial.number} ({done} done): {name} {text}  [{values}]", f"{done} {store.name} are finished")


# What is kept -----------------------------------------------------------------------------------------------------


def adapter_of(plan: Plan, number: int) -> Path:
    """Give where what a trial has trained is kept while it is the best."""
    return plan.folder / "adapters" / f"trial-{number}"


def keep_if_best(store: Store, plan: Plan, number: int, trainer: Trainer, value: float) -> None:
    """Save what was trained where no trial before was better."""
    sign = 1 if plan.direction == "maximize" else -1
    before = [sign * trial.value for trial in store.trials(TrialState.COMPLETE) if trial.value is not None]
    if not before or sign * value > max(before):
        trainer.save_model(str(adapter_of(plan, number)))


def tidy(store: Store, plan: Plan) -> None:
    """Remove what finished trials have left that are not the best."""
    states = {trial.number: trial for trial in store.trials()}
    complete: list[FrozenTrial] = store.trials(TrialState.COMPLETE)
    best = store.study.best_trial.number if complete else -1
    for folder in plan.folder.glob("adapters/trial-*"):
        number = folder.name.rpartition("-")[2]
        trial = states.get(int(number)) if number.isdecimal() else None
        if trial is not None and trial.state.is_finished() and trial.number != best:
            shutil.rmtree(folder, ignore_errors=True)
