"""The trials of a search in processes of Ray Tune's: the study stays here, Ray trains.

What is drawn, pruned and written down is decided by the same study as without Ray. Each of Ray's processes makes one
trial after the other, so that it too reads the base and tokenizes the data once.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any

import ray
import torch
from ray import tune
from ray.tune import Stopper
from ray.tune.search import Searcher

from .plan import Plan
from .store import Claim, Store
from .trial import FailedTrialError, Outcome, Sources, train
from .trials import Tell, end_trial, fail_trial

__all__ = ["run_trials_by_ray"]

_ALSO = ("HF_HUB_OFFLINE", "HF_DATASETS_CACHE", "HF_HOME", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM")


def run_trials_by_ray(store: Store, plan: Plan, tell: Tell) -> None:
    """Make trials in Ray's processes until the search has all that were asked for.

    On a cluster all machines need this checkout, the base and the data at the same paths. No adapter is kept.
    """
    options = plan.options
    variables = {name: os.environ[name] for name in _ALSO if name in os.environ}
    variables |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TRANSFORMERS_VERBOSITY": "error"}
    local = {} if options.ray_address else {"num_cpus": options.ray_workers * options.cpus_per_trial}
    ray.init(
        address=options.ray_address,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": variables},
        **local,
    )
    study = _Study(store, plan, tell)
    try:
        tune.run(
            _train,
            search_alg=study,
            stop=_WithoutPromise(study),
            num_samples=-1,
            max_concurrent_trials=options.ray_workers,
            resources_per_trial={"cpu": options.cpus_per_trial, "gpu": options.gpus_per_trial},
            reuse_actors=True,
            storage_path=str((plan.folder / "ray").absolute()),
            raise_on_failed_trial=False,
            verbose=0,
        )
    finally:
        study.close()
        ray.shutdown()


class _Study(Searcher):
    """The study, as Ray Tune asks for trials and tells of their results."""

    def __init__(self, store: Store, plan: Plan, tell: Tell) -> None:
        super().__init__(metric="value", mode="max" if plan.direction == "maximize" else "min")
        self._store, self._plan, self._tell = store, plan, tell
        self._claims: dict[str, tuple[Claim, ExitStack]] = {}
        self._pruned: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Let Ray write down nothing of this: the study is on the disk, and the locks are this process's."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Choose the next trial; the locks of its folder are held until it ends."""
        held = ExitStack()
        claim = held.enter_context(self._store.claim(self._plan.options.trials))
        if claim is None:
            held.close()
            return Searcher.FINISHED
        values = self._plan.space.draw(claim.trial)
        claim.trial.set_user_attr("values", values)
        self._claims[trial_id] = (claim, held)
        words = self._plan.words(values, (claim.folder / "run").absolute())
        return {"words": words, "metric": self._plan.metric}

    def promises_nothing(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Report an evaluation, and say whether the trial is to end there."""
        if "step" not in result:
            return False
        trial = self._claims[trial_id][0].trial
        trial.report(result["value"], result["step"])
        if not result["last"] and trial.should_prune():
            self._pruned.add(trial_id)
            return True
        return False

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note what came out of a trial."""
        claim, held = self._claims.pop(trial_id)
        with held:
            if error or result is None:
                fail_trial(self._store, self._plan, claim.trial, f"see {self._plan.folder / 'ray'}", self._tell)
            elif "failed" in result:
                fail_trial(self._store, self._plan, claim.trial, result["failed"], self._tell)
            else:
                found = json.loads(result["found"])
                claim.trial.set_user_attr("sources", found["sources"])
                pruned = trial_id in self._pruned
                seconds, threads = result["time_total_s"], found["threads"]
                outcome = Outcome(result["value"], found["metrics"], pruned, seconds, threads)
                end_trial(self._store, self._plan, claim.trial, outcome, self._tell)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is on the disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the study is on the disk."""

    def close(self) -> None:
        """Let go of what was not ended; the same command makes it anew."""
        for _, held in self._claims.values():
            held.close()


class _WithoutPromise(Stopper):
    """Ends trials that the study's pruner sees no promise in."""

    def __init__(self, study: _Study) -> None:
        self._study = study

    def __getstate__(self) -> dict[str, Any]:
        """Let Ray write down nothing of this either."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Say whether a trial is to end."""
        return self._study.promises_nothing(trial_id, result)

    def stop_all(self) -> bool:
        """Go on: the study says when there is nothing left."""
        return False


# In a process of Ray's --------------------------------------------------------------------------------------------


@cache
def _sources() -> Sources:
    """What the trials of one of Ray's processes share."""
    return Sources()


def _train(config: dict[str, Any]) -> None:
    """Train one trial, and report its evaluations and its outcome."""
    words: Sequence[str] = config["words"]

    def report(value: float, step: int, last: bool) -> bool:
        tune.report({"value": value, "step": step, "last": last, "found": _found({})})
        return False  # Ray ends it

    try:
        outcome = train(words, _sources(), config["metric"], report, lambda *kept: None)
    except FailedTrialError as error:
        tune.report({"value": math.nan, "failed": str(error)})
        return
    tune.report({"value": outcome.value, "found": _found(outcome.metrics)})


def _found(metrics: Mapping[str, float]) -> str:
    """Put together what is noted of a trial, as text: Ray would take a dict apart."""
    found = {"metrics": dict(metrics), "sources": _sources().counts(), "threads": torch.get_num_threads()}
    return json.dumps(found)
