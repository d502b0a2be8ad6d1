#!/usr/bin/env python
r"""Collects finished GLUE runs into the LoRA paper's table: ours beside the published figures.

Each figure is the median over seeds of the best evaluation on the validation set, with its spread, in percent. For
example::

    python scripts/glue_table.py output --output table.md --picture table.png
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glue_runs import ROOT, TASKS, Run, Summary, find_runs, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PUBLISHED", "TableRow", "collect", "draw", "main", "to_markdown"]

COLUMNS = ("mnli", "sst2", "mrpc", "cola", "qnli", "qqp", "rte", "stsb")


@dataclass(frozen=True)
class Published:
    """A row of the paper's table 2.

    Attributes:
        title: Its name there.
        figures: Median and spread of each task, in the order of `COLUMNS`.
        mean: The mean that the paper gives.
    """

    title: str
    figures: tuple[tuple[float, float], ...]
    mean: float


# Hu et al., 2021, table 2; by the base model's name.
PUBLISHED = {
    "roberta-base": Published(
        "RoBERTa-base LoRA",
        ((87.5, 0.3), (95.1, 0.2), (89.7, 0.7), (63.4, 1.2), (93.3, 0.3), (90.8, 0.1), (86.6, 0.7), (91.5, 0.2)),
        87.2,
    ),
    "roberta-large": Published(
        "RoBERTa-large LoRA",
        ((90.6, 0.2), (96.2, 0.5), (90.9, 1.2), (68.2, 1.9), (94.9, 0.3), (91.6, 0.1), (87.4, 2.5), (92.6, 0.2)),
        89.0,
    ),
    "deberta-v2-xxlarge": Published(
        "DeBERTa-XXL LoRA",
        ((91.9, 0.2), (96.9, 0.2), (92.6, 0.6), (72.4, 1.1), (96.0, 0.1), (92.9, 0.1), (94.9, 0.4), (93.0, 0.2)),
        91.3,
    ),
}


@dataclass(frozen=True)
class TableRow:
    """Our figures of one model and method.

    Attributes:
        model: The base model's name.
        method: What was trained.
        figures: A summary of each task that there are runs of.
    """

    model: str
    method: str
    figures: Mapping[str, Summary]

    @property
    def published(self) -> Published | None:
        """The paper's row of this model, if it was trained with nothing but LoRA."""
        only_lora = self.method.startswith("LoRA") and "+" not in self.method
        return PUBLISHED.get(self.model) if only_lora else None

    @property
    def mean(self) -> float | None:
        """The mean over the paper's tasks; None while one is missing."""
        if any(task not in self.figures for task in COLUMNS):
            return None
        return sum(self.figures[task].median for task in COLUMNS) / len(COLUMNS)


# Collecting -----------------------------------------------------------------------------------------------------


def collect(runs: Sequence[Run]) -> tuple[list[TableRow], list[str]]:
    """Group runs into rows; only runs with equal settings count as seeds of one another.

    Args:
        runs: Finished runs of any tasks.

    Returns:
        The rows, and a line for each run that was left out.
    """
    groups: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    notes = []
    for run in runs:
        if run.task in COLUMNS:
            groups[run.model, run.method][run.task].append(run)
        else:
            notes.append(f"Left out {run.folder}: the paper's table has no column for {TASKS[run.task].title}.")
    rows = []
    for (model, method), tasks in sorted(groups.items(), key=_order):
        figures = {}
        for task, candidates in tasks.items():
            seeds, others = _seeds_of_one_setting(candidates)
            figures[task] = summarize(seeds)
            notes += [
                f"Left out {run.folder}: its settings are not those of the {len(seeds)} of {TASKS[task].title} in the "
                "table, or there is a newer run with its seed."
                for run in others
            ]
        rows.append(TableRow(model, method, figures))
    return rows, notes


def _order(item: tuple[tuple[str, str], object]) -> tuple[int, str, str]:
    """Sort rows as the paper does, other models after its own."""
    model, method = item[0]
    place = list(PUBLISHED).index(model) if model in PUBLISHED else len(PUBLISHED)
    return place, model, method


def _seeds_of_one_setting(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Choose the runs of the setting with the most seeds (of equals the newest): one a seed, the newest.

    Returns:
        The chosen runs, and the others.
    """
    settings: dict[object, dict[int, Run]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: run.finished):
        settings[run.settings, run.partial][run.seed] = run
    chosen = max(settings.values(), key=lambda seeds: (len(seeds), max(run.finished for run in seeds.values())))
    return list(chosen.values()), [run for run in runs if run not in chosen.values()]


# Markdown -------------------------------------------------------------------------------------------------------


def to_markdown(rows: Sequence[TableRow]) -> str:
    """Write the table.

    Args:
        rows: Our figures.

    Returns:
        Markdown; each of our rows is followed by the paper's, if it has one.
    """
    titles = ["", *(TASKS[task].title for task in COLUMNS), "mean"]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for row in rows:
        mean = "" if row.mean is None else f"{row.mean:.1f}"
        cells = [_cell(row.figures[task]) if task in row.figures else "" for task in COLUMNS]
        lines.append(_line([f"{row.model}, {row.method}", *cells, mean]))
        if row.published is not None:
            figures = [f"{median:.1f} ± {spread:.1f}" for median, spread in row.published.figures]
            lines.append(_line([f"*{row.published.title}, paper*", *figures, f"{row.published.mean:.1f}"]))
    lines += [
        "",
        "Percent on the validation set: median over seeds (their number in brackets) of each seed's best evaluation, "
        "± the sample standard deviation. MNLI: accuracy on matched and mismatched together; CoLA: Matthews "
        "correlation; STS-B: Pearson correlation; the rest: accuracy. Paper: Hu et al., 2021, table 2, 5 seeds.",
    ]
    if any(summary.partial for row in rows for summary in row.figures.values()):
        lines.append("\n†: on a part of the examples, so not comparable.")
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(summary: Summary) -> str:
    spread = "" if summary.spread is None else f" ± {summary.spread:.1f}"
    return f"{summary.median:.1f}{spread} ({len(summary.runs)}){'†' * summary.partial}"


# Picture --------------------------------------------------------------------------------------------------------


def draw(rows: Sequence[TableRow], path: Path) -> None:
    """Draw the table, a panel for each row: our medians and spreads beside the published ones.

    Args:
        rows: Our figures.
        path: The picture; its ending says the format.

    Raises:
        ValueError: If matplotlib does not know the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.6 + 2.9 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False, sharex=True)[:, 0]
    for axes, row in zip(panels, rows, strict=True):
        _draw_row(axes, row)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _draw_row(axes: Axes, row: TableRow) -> None:
    axes.set_title(f"{row.model}, {row.method}", loc="left", fontsize=10)
    shift = 0.12 if row.published is not None else 0.0
    if row.published is not None:
        medians, spreads = zip(*row.published.figures, strict=True)
        places = [place + shift for place in range(len(COLUMNS))]
        axes.errorbar(places, medians, spreads, fmt="D", markersize=4, color="0.55", capsize=3, label="paper")
        _label(axes, places, [f"{median:.1f}" for median in medians], medians, left=False)
    places = [place - shift for place, task in enumerate(COLUMNS) if task in row.figures]
    ours = [row.figures[task] for task in COLUMNS if task in row.figures]
    heights = [summary.median for summary in ours]
    bars = [summary.spread or 0.0 for summary in ours]
    axes.errorbar(places, heights, bars, fmt="o", markersize=5, color="tab:blue", capsize=3, label="ours")
    _label(axes, places, [f"{s.median:.1f}{'†' * s.partial}" for s in ours], heights, left=True)
    axes.set_xticks(range(len(COLUMNS)), [TASKS[task].title for task in COLUMNS])
    axes.tick_params(labelbottom=True)
    axes.set_xlim(-0.6, len(COLUMNS) - 0.4)
    axes.set_ylabel("percent")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=8)


def _label(axes: Axes, places: Sequence[float], texts: Sequence[str], heights: Sequence[float], left: bool) -> None:
    """Write a text beside each point, away from the other series."""
    for place, text, height in zip(places, texts, heights, strict=True):
        axes.annotate(
            text,
            (place, height),
            xytext=(-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=7,
        )


# Command line ---------------------------------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code: 0, or 2 where there is nothing to show or something cannot be read or written.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[ROOT / "output"], help="where runs are (output)")
    parser.add_argument("--output", type=Path, help="also write the Markdown into this file")
    parser.add_argument("--picture", type=Path, help="also draw it into this file (.png, .svg, .pdf)")
    args = parser.parse_args(words)
    try:
        rows, notes = collect(find_runs(args.folders))
        if not rows:
            raise ValueError(f"no finished GLUE run was found in {', '.join(map(str, args.folders))}.")
        text = to_markdown(rows)
        print(text, end="")
        for note in notes:
            print(note, file=sys.stderr)
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(text, encoding="utf-8")
        if args.picture is not None:
            draw(rows, args.picture)
    except (ValueError, OSError) as error:
        print(f"{Path(__file__).name}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
