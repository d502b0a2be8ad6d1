"""The pictures of a report: SVG by matplotlib whose colours are the page's, so that they suit light and dark.

matplotlib draws in colours that stand for the page's variables; these take their place in the finished picture.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves", "draw_histogram", "draw_reliability", "draw_scatter"]

_INK, _SOFT, _LINE, _MAIN, _WARM, _FILL = "#010101", "#010102", "#010103", "#010104", "#010105", "#010106"
_VARIABLES = {_INK: "ink", _SOFT: "soft", _LINE: "line", _MAIN: "main", _WARM: "warm", _FILL: "bar"}
_ON_BOTH = "#5b7fe8"
"""For what is drawn as pixels, which know no variables: seen well on white and on black."""

_RASTER_FROM = 300
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}


@contextmanager
def _picture(pictures: list[str], name: str, height: float = 2.7, width: float = 4.6) -> Iterator[Axes]:
    """Draw on the axes that are given, and put the picture behind the others."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # texts are the browser's to draw
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(left=0.13, right=0.97, bottom=0.17, top=0.95)
        yield figure.subplots()
        pictures.append(_svg(figure))


def _svg(figure: Figure) -> str:
    """Give a figure as an element of a page."""
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r' id="[\w.]+_\d+"', "", text)  # each picture has these names
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text)


def draw_curves(curves: Mapping[str, Any], best_step: int | None = None) -> list[str]:
    """Draw the training loss beside the loss of the evaluations, and each metric.

    Args:
        curves: By `curves.describe_curves`.
        best_step: The step whose weights the run ended with, where these are not the last.
    """
    pictures: list[str] = []
    evaluations = curves["evaluations"]
    losses = [("training loss", curves["loss"], _MAIN)]
    losses += [("evaluation loss", evaluations["loss"], _WARM)] if "loss" in evaluations else []
    metrics = [(name.replace("_", " "), points, _MAIN) for name, points in evaluations.items() if name != "loss"]
    last = max((points[-1][0] for points in (curves["loss"], *evaluations.values()) if points), default=1)
    for number, lines in enumerate((losses, metrics[:1], *([each] for each in metrics[1:2]))):
        if not any(points for _, points, _ in lines):
            continue
        with _picture(pictures, f"curve{number}") as axes:
            for label, points, colour in lines:
                if points:
                    steps, values = zip(*points, strict=True)
                    marker = "o" if len(points) < 30 else None
                    axes.plot(steps, values, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label)
            if best_step is not None:
                axes.axvline(best_step, color=_WARM, linewidth=1, linestyle=":", label="best, saved")
            axes.set_xlim(-0.02 * last, 1.02 * last)
            axes.set_xlabel("optimizer step")
            axes.legend(loc="best")
    return pictures


def draw_reliability(calibration: Mapping[str, Any]) -> str:
    """Draw the reliability diagram: how often the model is right where it is how sure.

    Args:
        calibration: By `calibration.describe_calibration`.
    """
    pictures: list[str] = []
    bins = calibration["bins"]
    total = sum(each["count"] for each in bins)
    with _picture(pictures, "reliability", 3.3, 4.2) as axes:
        widths = [each["to"] - each["from"] for each in bins]
        middles = [(each["to"] + each["from"]) / 2 for each in bins]
        axes.bar(middles, [each["accuracy"] for each in bins], widths, color=_FILL, edgecolor=_MAIN, linewidth=0.8)
        axes.plot([0, 1], [0, 1], color=_SOFT, linestyle="--", linewidth=1)
        sizes = [12 + 160 * each["count"] / total for each in bins]
        axes.scatter(
            [each["confidence"] for each in bins],
            [each["accuracy"] for each in bins],
            s=sizes,
            color=_WARM,
            zorder=3,
            linewidth=0,
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.04)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share that is right")
    return pictures[0]


def draw_scatter(points: Mapping[str, Any]) -> str:
    """Draw predicted values over the right ones.

    Args:
        points: ``label`` and ``predicted``, by `values.describe_values`.
    """
    pictures: list[str] = []
    labels, predicted = np.asarray(points["label"], float), np.asarray(points["predicted"], float)
    with _picture(pictures, "scatter", 3.3, 4.2) as axes:
        low, high = min(labels.min(), predicted.min()), max(labels.max(), predicted.max())
        axes.plot([low, high], [low, high], color=_SOFT, linestyle="--", linewidth=1)
        many = len(labels) > _RASTER_FROM
        axes.scatter(
            labels,
            predicted,
            s=10 if many else 16,
            alpha=0.45 if many else 0.75,
            color=_ON_BOTH if many else _MAIN,
            linewidth=0,
            rasterized=many,
        )
        axes.set_xlabel("right value")
        axes.set_ylabel("predicted value")
    return pictures[0]


def draw_histogram(
    counts: Sequence[int], edges: Sequence[float], label: str, name: str, marked: float | None = None
) -> str:
    """Draw how often values lie where.

    Args:
        counts: Of each bin.
        edges: Of the bins, one more.
        label: What the values are.
        name: Tells pictures of one page apart.
        marked: A value to draw a line at.
    """
    from matplotlib.ticker import MaxNLocator

    pictures: list[str] = []
    with _picture(pictures, name, 2.3) as axes:
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=_FILL, edgecolor=_MAIN, linewidth=0.6)
        if marked is not None:
            axes.axvline(marked, color=_WARM, linewidth=1.2, linestyle=":")
        axes.set_xlabel(label)
        axes.set_ylabel("examples")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return pictures[0]
