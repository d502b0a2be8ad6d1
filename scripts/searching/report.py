"""What a search says at its end: a table, the best command, what mattered, what lies at an edge; JSON and a plot."""

from __future__ import annotations

import json
import sys
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from transformers.training.environment import describe_environment
from transformers.utils.writing import NotWrittenError, write_text

from .plan import Plan
from .seeds import Candidate, best_first, candidates, failed_seeds
from .store import DEAD, ERROR, Store
from .trials import adapter_of

__all__ = ["edges", "importance", "report"]

_FEWEST = 4  # trials of which the importance of settings can be told
_SHOWN = 30


def report(store: Store, seeds: Store, plan: Plan) -> None:
    """Print how the search stands, and write it down as ``search.json`` and ``trials.png``."""
    best = best_first(store, plan)
    several = candidates(store, seeds, plan)
    _print_trials(store, plan)
    shares, reason = importance(store, plan)
    if best:
        _print_best(plan, best[0], shares, reason)
        _print_seeds(plan, several, failed_seeds(seeds))
    else:
        print("\nNo trial has come to its end yet, so there is no best one.")
    record = _record(store, seeds, plan, shares, several)
    try:
        write_text(plan.folder / "search.json", json.dumps(record, indent=2) + "\n")
        _draw(store, plan)
    except NotWrittenError as error:
        print(f"search.py: {error}", file=sys.stderr)


# Words ------------------------------------------------------------------------------------------------------------


def _print_trials(store: Store, plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{plan.folder}: {len(store.finished())} trials", title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column(plan.metric.removeprefix("eval_"), justify="right")
    for setting in plan.space.settings:
        table.add_column(setting.name, justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("")
    rows = best_first(store, plan)
    others = [trial for trial in store.trials() if trial.state != TrialState.COMPLETE]
    for trial in [*rows, *others][:_SHOWN]:
        values = trial.user_attrs.get("values", {})
        cells = [values.get(setting.name, "") for setting in plan.space.settings]
        table.add_row(
            str(trial.number), _figure(trial), *cells, str(trial.user_attrs.get("seconds", "")), _note(trial)
        )
    console = Console(width=140 if not sys.stdout.isatty() else None)
    console.print()
    console.print(table)
    left = len(rows) + len(others) - _SHOWN
    if left > 0:
        print(f"and {left} more in {plan.folder / 'search.json'}")


def _figure(trial: FrozenTrial) -> str:
    if trial.value is not None:
        return f"{trial.value:.4f}"
    last = trial.intermediate_values.get(trial.last_step) if trial.last_step is not None else None
    return "" if last is None else f"{last:.4f}"


def _note(trial: FrozenTrial) -> str:
    if trial.state == TrialState.PRUNED:
        return "ended early"
    if trial.state == TrialState.FAIL:
        reason = str(trial.user_attrs.get(ERROR, ""))
        return f"{reason}; made again" if reason == DEAD else f"failed: {reason}"
    return "" if trial.state == TrialState.COMPLETE else trial.state.name.lower()


def _print_best(plan: Plan, best: FrozenTrial, shares: dict[str, float], reason: str) -> None:
    print(f"\nBest: trial {best.number}, {plan.metric.removeprefix('eval_')} {best.value:.4f}")
    print(f"  {_command(plan, best)}")
    folder = adapter_of(plan, best.number)
    if folder.is_dir():
        print(f"  what it has trained is in {folder}")
    if shares:
        print("\nHow much each setting mattered (fANOVA):")
        for name, share in shares.items():
            print(f"  {name:24}{share:5.0%}  {'█' * round(30 * share)}")
    else:
        print(f"\nHow much each setting mattered cannot be told: {reason}")
    for line in edges(plan, best):
        print(f"\nAt an edge: {line}")


def _command(plan: Plan, trial: FrozenTrial) -> str:
    return plan.command(trial.user_attrs["values"], trial.user_attrs.get("threads"))


def _print_seeds(plan: Plan, several: list[Candidate], failed: list[str]) -> None:
    if several:
        print(f"\nWith several seeds, {plan.metric.removeprefix('eval_')}:")
    for each in several:
        spread = "" if each.spread is None else f" ± {each.spread:.4f} (standard deviation)"
        figures = ", ".join(f"{value:.4f}" for value in each.by_seed.values())
        print(f"  trial {each.number:<4} median {each.median:.4f}{spread}   {figures}")
    if several:
        print(f"  the best median: {plan.command(several[0].values, several[0].threads)}")
    for line in failed:
        print(f"  failed: {line}")


# What is told of the trials -----------------------------------------------------------------------------------------


def importance(store: Store, plan: Plan) -> tuple[dict[str, float], str]:
    """Give each setting's share of the differences between trials, the largest first; or why it cannot be told."""
    complete = store.trials(TrialState.COMPLETE)
    if len(complete) < _FEWEST:
        return {}, f"{len(complete)} trials came to their end, and at least {_FEWEST} are needed."
    if len({trial.value for trial in complete}) == 1:
        return {}, "all trials are worth the same."
    varied = [s.name for s in plan.space.settings if len({t.params.get(s.name) for t in complete}) > 1]
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        found = optuna.importance.get_param_importances(store.study, evaluator=evaluator, params=varied)
    except (ImportError, ValueError, RuntimeError) as error:
        return {}, " ".join(str(error).split())
    return {name: float(share) for name, share in found.items()}, ""


def edges(plan: Plan, best: FrozenTrial) -> list[str]:
    """Say which of the best trial's values lie at an edge of the space, beyond which better ones may be."""
    lines = []
    for setting in plan.space.settings:
        value = best.user_attrs["values"][setting.name]
        edge = setting.edge(value)
        if edge is not None:
            lines.append(
                f"{setting.name} {value} lies at the {edge} end of what was searched ({setting.describe()}); better "
                "values may lie beyond. Widen it with --search, in another --output_dir."
            )
    return lines


# Files --------------------------------------------------------------------------------------------------------------


def _record(
    store: Store, seeds: Store, plan: Plan, shares: dict[str, float], several: list[Candidate]
) -> dict[str, Any]:
    """Put together what the search has found, and what it was made with."""
    best = best_first(store, plan)
    environment = describe_environment()
    environment["versions"]["optuna"] = optuna.__version__
    return {
        **plan.about(),
        "direction": plan.direction,
        "search_seed": plan.options.search_seed,
        "pruner": plan.options.pruner,
        "best": _describe(best[0]) | {"command": _command(plan, best[0])} if best else None,
        "importance": shares,
        "edges": edges(plan, best[0]) if best else [],
        "seeds": [
            {"trial": each.number, "median": each.median, "spread": each.spread, "by_seed": each.by_seed}
            for each in several
        ],
        "trials": [_describe(trial) for trial in store.trials()],
        "environment": environment,
    }


def _describe(trial: FrozenTrial) -> dict[str, Any]:
    shown = {name: trial.user_attrs[name] for name in trial.user_attrs}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "reported": {str(step): value for step, value in trial.intermediate_values.items()},
        **shown,
    }


def _draw(store: Store, plan: Plan) -> None:
    """Draw each trial's value, and the best so far."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    complete = store.trials(TrialState.COMPLETE)
    pruned = [trial for trial in store.trials(TrialState.PRUNED) if trial.value is not None]
    if not complete:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([t.number for t in pruned], [t.value for t in pruned], "x", color="0.6", label="ended early")
    axes.plot([t.number for t in complete], [t.value for t in complete], "o", label="to the end")
    choose = max if plan.direction == "maximize" else min
    so_far = [choose(t.value for t in complete[: index + 1]) for index in range(len(complete))]
    axes.step([t.number for t in complete], so_far, where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=plan.metric.removeprefix("eval_").replace("_", " "))
    axes.legend()
    FigureCanvasAgg(figure).print_png(str(plan.folder / "trials.png"))
