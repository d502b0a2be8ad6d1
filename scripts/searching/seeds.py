"""The best few trials of a search with other seeds: what of their figures was luck."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from .plan import Plan
from .store import ERROR, Store
from .trial import FailedTrialError, train
from .trials import Tell, end_trial, fail_trial

__all__ = ["Candidate", "best_first", "candidates", "seeds_left", "train_seeds"]


@dataclass(frozen=True)
class Candidate:
    """One trial with several seeds.

    Attributes:
        number: The trial's.
        values: Its values by setting.
        threads: How many it was computed with; None where an earlier version has not noted it.
        by_seed: What it was worth by seed.
    """

    number: int
    values: dict[str, str]
    threads: int | None
    by_seed: dict[int, float]

    @property
    def median(self) -> float:
        """The median over the seeds."""
        return statistics.median(self.by_seed.values())

    @property
    def spread(self) -> float | None:
        """The sample standard deviation; None for one seed."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


def best_first(store: Store, plan: Plan) -> list[FrozenTrial]:
    """Give the trials that came to their end, the best first, and of equal ones the earlier."""
    sign = -1 if plan.direction == "maximize" else 1
    return sorted(store.trials(TrialState.COMPLETE), key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def own_seed(plan: Plan) -> int:
    """Give the seed that all trials were trained with."""
    return int(plan.flags.get("seed", ["42"])[-1])


def seeds_left(seeds: Store) -> int:
    """Count the trainings with other seeds that are not finished."""
    return len(seeds.trials(TrialState.WAITING, TrialState.RUNNING))


def train_seeds(store: Store, seeds: Store, plan: Plan, tell: Tell) -> None:
    """Train the best few with each of the seeds; with its own each trial was trained."""
    best = best_first(store, plan)[: plan.options.top]
    wanted = [seed for seed in dict.fromkeys(plan.options.seeds) if seed != own_seed(plan)]
    seeds.enqueue([{"trial": trial.number, "seed": seed} for trial in best for seed in wanted])
    values_of = {trial.number: trial.user_attrs["values"] for trial in store.trials(TrialState.COMPLETE)}
    while True:
        with seeds.claim(None) as claim:
            if claim is None:
                return
            number = claim.trial.suggest_int("trial", 0, 10**9)
            seed = claim.trial.suggest_int("seed", 0, 2**32 - 1)
            words = plan.words(values_of[number], claim.folder / "run", seed)
            try:
                outcome = train(words, plan.sources, plan.metric, lambda *evaluation: False, lambda *kept: None)
            except FailedTrialError as error:
                fail_trial(seeds, plan, claim.trial, str(error), tell)
            else:
                end_trial(seeds, plan, claim.trial, outcome, tell)
            shutil.rmtree(claim.folder, ignore_errors=True)


def candidates(store: Store, seeds: Store, plan: Plan) -> list[Candidate]:
    """Give what was trained with several seeds, the best median first."""
    complete = {trial.number: trial for trial in store.trials(TrialState.COMPLETE)}
    found: dict[int, dict[int, float]] = {}
    for trial in seeds.trials(TrialState.COMPLETE):
        own: dict[str, Any] = trial.params
        found.setdefault(own["trial"], {})[own["seed"]] = trial.value
    for number, by_seed in found.items():
        if own_seed(plan) in plan.options.seeds or not plan.options.seeds:
            by_seed[own_seed(plan)] = complete[number].value
    sign = -1 if plan.direction == "maximize" else 1
    made = []
    for number, by_seed in found.items():
        known = complete[number].user_attrs
        made.append(Candidate(number, known["values"], known.get("threads"), dict(sorted(by_seed.items()))))
    return sorted(made, key=lambda each: sign * each.median)


def failed_seeds(seeds: Store) -> list[str]:
    """Say which trainings with other seeds could not come to their end."""
    return [
        f"trial {trial.params.get('trial')} with seed {trial.params.get('seed')}: {trial.user_attrs[ERROR]}"
        for trial in seeds.trials(TrialState.FAIL)
        if ERROR in trial.user_attrs
    ]
