"""The sections of a comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .example_sections import show_example, show_list
from .html import Markup, bar, card, number, paragraph, table, text, words_of

__all__ = ["show_differences", "show_flips", "show_spread", "show_unstable"]

Figures = Mapping[str, Any]


def show_spread(report: Figures) -> Markup:
    """Show each run's metrics, and how far they lie apart."""
    spread, runs = report["spread"], report["runs"]
    rows: list[tuple[Any, ...]] = [
        (run["name"], *(number(each["values"][index]) for each in spread.values())) for index, run in enumerate(runs)
    ]
    for name in ("median", "mean", "deviation", "least", "most"):
        rows.append((Markup(f"<i>{name}</i>"), *(number(each[name]) for each in spread.values())))
    seeds = ", ".join(str(run["seed"]) for run in runs)
    note = paragraph(f"{len(runs)} runs, seeds {seeds}. Deviation: the sample's standard deviation.")
    return card("spread", "Runs", table(("run", *map(words_of, spread)), rows), note)


def show_flips(report: Figures) -> Markup:
    """Show how often an example's prediction is another one in another run."""
    found, number_of_runs = report["flips"], len(report["runs"])
    note = paragraph(
        f"Two runs differ in {found['mean']:.1%} of the predictions (from {found['least']:.1%} to "
        f"{found['most']:.1%}); {found['flipping']:,} of {found['examples']:,} examples are not predicted alike by "
        "all runs."
    )
    rows = [
        (
            f"{times} of {number_of_runs}",
            bar(count / found["examples"], f"{count:,} ({count / found['examples']:.1%})"),
        )
        for times, count in reversed(list(enumerate(found["right_in_runs"])))
    ]
    return card("flips", "Flips", note, table(("runs that are right", "examples"), rows, "wide"))


def show_differences(report: Figures) -> Markup:
    """Show how far the values of the runs lie apart."""
    found = report["differences"]
    note = paragraph(
        f"{found['examples']:,} examples. The runs' values of one example deviate by "
        f"{number(found['mean_deviation'])} in the mean, and by {number(found['most'])} at most."
    )
    return card("differences", "Differences", note)


def show_unstable(report: Figures) -> Markup:
    """Show the examples on which the runs agree least."""
    items = []
    for each in report["unstable"]:
        said = ", ".join(
            f"{text(words)}{f' ({times})' if times > 1 else ''}" for words, times in each["predictions"].items()
        )
        says = [Markup(f'predicted <span class="wrong">{said}</span>')]
        says += [Markup(f'right <span class="right">{text(each["label"])}</span>')]
        items.append(show_example(each, *says))
    return card("unstable", "Least agreed on", show_list(items))
