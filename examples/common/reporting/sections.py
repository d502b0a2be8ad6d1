"""The sections of a report or a comparison: each shows one entry of its JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .comparison_sections import show_differences, show_flips, show_spread, show_unstable
from .data_sections import show_data
from .drawing import draw_curves, draw_histogram, draw_reliability, draw_scatter
from .example_sections import show_answers, show_entity_mistakes, show_largest_errors, show_mistakes
from .html import (
    Markup,
    bar,
    card,
    details,
    figure_text,
    interval_text,
    number,
    paragraph,
    picture,
    table,
    text,
    words_of,
)
from .resampling import LEVEL

__all__ = ["SECTIONS", "show_sections"]

_MOST_CLASSES = 25
_MOST_NAMED = 9
_MOST_PAIRS = 30

Figures = Mapping[str, Any]


def show_metrics(report: Figures) -> Markup:
    """Show the main figures, with intervals, as tiles."""
    tiles = []
    for name, found in report["metrics"].items():
        interval = (
            "" if found["low"] is None else f"<small>{number(found['low'])}&ndash;{number(found['high'])}</small>"
        )
        tiles.append(
            f'<div class="tile"><span>{text(words_of(name))}</span><b>{number(found["value"])}</b>{interval}</div>'
        )
    examples = report["examples"]
    together = ", those of all validation splits together" if report.get("slices", {}).get("source") else ""
    note = paragraph(
        f"{examples:,} evaluated {'example' if examples == 1 else 'examples'}{together}. Below each figure: its "
        f"{LEVEL:.0%} interval by bootstrap over these examples; another seed of the training is not in it."
    )
    return card("metrics", "Figures", Markup(f'<div class="tiles">{"".join(tiles)}</div>'), note)


def show_nothing_evaluated(report: Figures) -> Markup:
    """Say that there are no figures."""
    return card("metrics", "Figures", paragraph("Nothing was evaluated in this run, so there are no figures."))


def show_curves(report: Figures) -> Markup:
    """Show the learning curves."""
    curves = report["curves"]
    drawn = "".join(picture(svg, "learning curve") for svg in draw_curves(curves, curves.get("best_step")))
    rates = [value for _, value in curves["learning_rate"]]
    note = paragraph(f"Learning rate: at most {number(max(rates))}, at last {number(rates[-1])}.") if rates else ""
    return card("curves", "Learning curves", Markup(f'<div class="pictures">{drawn}</div>'), note)


def show_confusion(report: Figures) -> Markup:
    """Show the confusion matrix; of many classes the pairs that are confused most often."""
    found = report["confusion"]
    labels = found["labels"]
    if len(labels) <= _MOST_CLASSES:
        how = "by the rows' numbers" if len(labels) > _MOST_NAMED else "with the share of the row"
        note = paragraph(f"Rows are labels, columns predictions, {how}.")
        return card("confusion", "Confusion", _matrix(labels, found["counts"]), note)
    cells = found.get("cells") or [
        (row, column, count) for row, line in enumerate(found["counts"]) for column, count in enumerate(line)
    ]
    totals = Counter[int]()
    for row, _, count in cells:
        totals[row] += count
    wrong = sorted((each for each in cells if each[0] != each[1] and each[2]), key=lambda each: -each[2])
    shown = [
        (labels[row], labels[column], number(count), bar(count / totals[row]))
        for row, column, count in wrong[:_MOST_PAIRS]
    ]
    note = paragraph(f"The most frequent confusions of {len(labels)} classes; report.json has all of them.")
    return card(
        "confusion", "Confusion", table(("label", "predicted", "examples", "share of the label's"), shown), note
    )


def _matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Make the matrix; of many classes the columns have numbers, and the cells no shares."""
    dense = len(labels) > _MOST_NAMED
    body = []
    for index, (name, line) in enumerate(zip(labels, counts, strict=True)):
        total = sum(line) or 1
        cells = "".join(_cell(count, count / total, index == column, dense) for column, count in enumerate(line))
        shown = f"{index + 1} {name}" if dense else name
        body.append(f'<tr><th scope="row" title="{text(name)}">{text(shown)}</th>{cells}</tr>')
    heads = (str(index + 1) if dense else name for index, name in enumerate(labels))
    head = "".join(f'<th title="{text(name)}">{text(shown)}</th>' for name, shown in zip(labels, heads, strict=True))
    words = "matrix dense" if dense else "matrix"
    return Markup(
        f'<div class="scroll"><table class="{words}"><thead><tr><th>label \\ predicted</th>{head}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(count: int, share: float, is_right: bool, dense: bool) -> str:
    if not count:
        return "<td><small>·</small></td>"
    colour = f"rgba(var(--{'good' if is_right else 'bad'}), {0.08 + 0.62 * share:.2f})"
    shown = f"{count:,}" if dense else f"{count:,}<small>{share:.0%}</small>"
    return f'<td style="background: {colour}" title="{share:.1%}">{shown}</td>'


def show_classes(report: Figures) -> Markup:
    """Show precision, recall, F1 and support of each class."""
    classes = report["classes"]
    several = "missed" in classes[0]
    header = ["class", "F1", f"{LEVEL:.0%} interval", "precision", "recall", "support", "predicted"]
    header += ["missed", "invented"] if several else []
    rows = []
    for each in classes:
        row = [
            each["label"],
            bar(each["f1"]["value"]),
            interval_text(each["f1"]),
            number(each["precision"]),
            number(each["recall"]),
        ]
        row += [number(each["support"]), number(each["predicted"])]
        rows.append([*row, *(number(each[name]) for name in ("missed", "invented") if several)])
    return card("classes", "Classes", table(header, rows))


def show_calibration(report: Figures) -> Markup:
    """Show the reliability diagram and the calibration error."""
    found = report["calibration"]
    gap = found["confidence"] - found["accuracy"]
    tends = "about as sure as it is right" if abs(gap) < 0.02 else "too sure" if gap > 0 else "not sure enough"
    note = paragraph(
        "Expected calibration error ",
        figure_text(found["ece"]),
        f". Mean confidence {found['confidence']:.3f}, right {found['accuracy']:.3f}: over all, the model is {tends}. "
        f"Of {found['of']}; on the dashed line confidence and truth agree, and a dot's size is how many lie there.",
    )
    drawn = picture(draw_reliability(found), "reliability diagram")
    rows = [
        (
            f"{each['from']:.1f} to {each['to']:.1f}",
            number(each["count"]),
            number(each["confidence"]),
            number(each["accuracy"]),
        )
        for each in found["bins"]
    ]
    numbers = table(("confidence", "predictions", "mean confidence", "right"), rows)
    return card("calibration", "Calibration", note, Markup(f'<div class="pictures">{drawn}{numbers}</div>'))


def show_points(report: Figures) -> Markup:
    """Show predicted over right values."""
    points = report["points"]
    drawn = picture(draw_scatter(points), "predicted over right values")
    shown = len(points["label"])
    note = f"{shown:,} of {points['of']:,} examples, drawn by chance. " if shown < points["of"] else ""
    return card("points", "Predicted and right", drawn, paragraph(note + "The dashed line: equal."), words="half")


def show_residuals(report: Figures) -> Markup:
    """Show how the errors are spread."""
    found = report["residuals"]
    drawn = picture(
        draw_histogram(found["counts"], found["edges"], "predicted - right", "residuals", 0.0),
        "histogram of residuals",
    )
    shares = ", ".join(f"{name} %: {number(value)}" for name, value in found["percentiles"].items())
    note = paragraph(f"Mean {number(found['mean'])}, deviation {number(found['deviation'])}. Percentiles {shares}.")
    return card("residuals", "Residuals", drawn, note, words="half")


def show_slices(report: Figures) -> Markup:
    """Show the main figures of parts of the examples."""
    parts = []
    for name, rows in report["slices"].items():
        metrics = list(rows[0]["figures"])
        body = [
            (row["name"], number(row["examples"]), *(figure_text(row["figures"][metric]) for metric in metrics))
            for row in rows
        ]
        parts += [Markup(f"<h3>By {text(words_of(name))}</h3>")]
        parts += [table(("", "examples", *(words_of(each) for each in metrics)), body)]
    return card("slices", "Parts of the data", *parts)


def show_settings(report: Figures) -> Markup:
    """Show command, environment and all flags."""
    parts = (
        [Markup("<h3>Command</h3>"), Markup(f"<pre>{text(report['command'])}</pre>")] if "command" in report else []
    )
    environment = dict(report.get("environment", {}))
    versions = environment.pop("versions", {})
    rows = [(name, value) for name, value in environment.items() if value is not None]
    rows += [(name, version) for name, version in versions.items() if version != "not installed"]
    parts += [details("Environment", table(("", ""), rows, "left"))] if rows else []
    for group, flags in report.get("settings", {}).items():
        if isinstance(flags, Mapping):
            rows = [(name, value) for name, value in flags.items() if value not in (None, "", [], {})]
            parts.append(details(words_of(group).capitalize(), table(("flag", "value"), rows, "left")))
    plain = [(words_of(name), value) for name, value in report.get("facts", {}).items() if value is not None]
    parts += [details("The run in numbers", table(("", ""), plain, "left"))] if plain else []
    return card("settings", "Settings", *parts)


SECTIONS: dict[str, tuple[str, Callable[[Figures], Markup]]] = {
    "spread": ("Runs", show_spread),
    "flips": ("Flips", show_flips),
    "differences": ("Differences", show_differences),
    "unstable": ("Examples", show_unstable),
    "metrics": ("Figures", show_metrics),
    "nothing_evaluated": ("Figures", show_nothing_evaluated),
    "curves": ("Curves", show_curves),
    "confusion": ("Confusion", show_confusion),
    "classes": ("Classes", show_classes),
    "points": ("Points", show_points),
    "residuals": ("Residuals", show_residuals),
    "calibration": ("Calibration", show_calibration),
    "slices": ("Parts", show_slices),
    "mistakes": ("Mistakes", show_mistakes),
    "entity_mistakes": ("Mistakes", show_entity_mistakes),
    "largest_errors": ("Largest errors", show_largest_errors),
    "answers": ("Answers", show_answers),
    "data": ("Data", show_data),
    "settings": ("Settings", show_settings),
}
"""Of each entry of a report the section's name in the list of contents, and what shows it; in their order."""


def show_sections(report: Figures) -> list[tuple[str, str, Markup]]:
    """Give the sections of what a report has something of, for `page.make_page`."""
    return [(name, title, show(report)) for name, (title, show) in SECTIONS.items() if report.get(name)]
