"""What a run says to people at its end: a table of the figures, and the commands that go on from here."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.utils import logging
from transformers.utils.writing import NotWrittenError

from .command_line import Arguments
from .curve import draw_curve
from .quantization_flags import quantization_words
from .records import RECORD_FILE, describe_results, read_record, write_record
from .reporting.examined import Examined
from .reporting.flags import ReportFlags
from .reporting.run_facts import RunOfReport

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["NextStep", "Subject", "next_steps", "print_report"]

logger = logging.get_logger("transformers.examples.report")


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes:
        title: The task's name for people.
        source: The task, or the file that stands for it; goes into the record.
        metrics: Names of the metrics, the main one first.
        dataset: The data set's name on the hub, where it is from there; goes into the model card.
        dataset_config: Its configuration.
    """

    title: str
    source: str
    metrics: tuple[str, ...]
    dataset: str | None = None
    dataset_config: str | None = None


@dataclass(frozen=True)
class NextStep:
    """A command that goes on from here.

    Attributes:
        purpose: What it is for, in a word or three.
        command: What to type.
    """

    purpose: str
    command: str


def next_steps(trainer: Trainer, predict: Sequence[str] | None, code: str) -> list[NextStep]:
    """Give the commands that go on from a training; a test runs each of them.

    Args:
        trainer: Of the run.
        predict: The words of the command that predicts, between the model's folder and the output folder; None where
            there is none.
        code: How the model is used in Python.
    """
    args = trainer.args
    folder = shlex.quote(args.output_dir)
    steps = []
    if predict is not None:
        words = ["python", shlex.quote(sys.argv[0]), "--model_name_or_path", folder, *predict]
        words += quantization_words(getattr(trainer.model, "quantization", None))
        steps.append(NextStep("predict", " ".join([*words, "--do_predict", "--output_dir", folder])))
    if "tensorboard" in (args.report_to or ()):
        logs, runs = Path(str(args.logging_dir)), Path(args.output_dir, "runs")
        seen = shlex.quote(str(runs if runs in logs.parents else logs))
        steps.append(NextStep("watch curves", f"tensorboard --logdir {seen}"))
    ending = "  # finds its base itself" if trainer.model.config.freezes_base else ""
    return [*steps, NextStep("use in Python", code + ending)]


def print_report(
    trainer: Trainer,
    subject: Subject,
    results: Mapping[str, float],
    arguments: Arguments[Any],
    next_steps: Sequence[NextStep] = (),
    examined: Callable[[], Examined] | None = None,
) -> None:
    """Print the table and the next commands; write record and report and, after a training, model card and curve.

    The record of a training that had nothing left to do stays as it was, and so does its time.

    Args:
        trainer: Of the run.
        subject: What was done.
        results: Metrics by name; ``nothing_trained`` is 1 where a training had ended before.
        arguments: The run's flags.
        next_steps: Commands to print.
        examined: Gives what the report tells of the task.
    """
    folder = Path(trainer.args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {name: value for name, value in results.items() if name != "nothing_trained"}
    record = describe_results(trainer, subject.source, figures, arguments.groups())
    record["command"] = arguments.command
    earlier = read_record(folder) if "nothing_trained" in results else None
    if earlier is not None and "metrics" in earlier:
        record = {**record, **earlier, "metrics": {**figures, **earlier["metrics"]}}
    path = folder / RECORD_FILE
    try:
        path = write_record(folder, record)
    except NotWrittenError as error:
        logger.warning("%s The run is complete without the record.", error)
    if trainer.args.do_train:
        trainer.create_model_card(
            dataset_tags=subject.dataset,
            dataset=subject.title if subject.dataset else Path(subject.title).name,
            dataset_args=subject.dataset_config,
        )
    curve = _draw(trainer, subject, folder) if trainer.args.do_train else None
    page = _report(trainer, subject, record, path, arguments.data, examined)
    _print_table(record, subject, curve, page)
    if next_steps:
        print("\nNext:")
        for step in next_steps:
            print(f"  {step.purpose:14}{step.command}")


def _draw(trainer: Trainer, subject: Subject, folder: Path) -> Path | None:
    title = f"{subject.title}: {Path(trainer.model.name_or_path).name or trainer.model.config.model_type}"
    return draw_curve(
        trainer.state.log_history,
        subject.metrics[0],
        title,
        folder / "learning_curve.png",
        _best_step(trainer),
    )


def _report(
    trainer: Trainer,
    subject: Subject,
    record: Mapping[str, Any],
    path: Path,
    flags: ReportFlags,
    examined: Callable[[], Examined] | None,
) -> Path | None:
    """Write the report's files as far as the flags ask for them."""
    if not (flags.wants_page() or flags.report_predictions):
        return None
    from .reporting.files import write_report

    what = RunOfReport(subject.title, subject.metrics, record, trainer.state.log_history, _best_step(trainer))
    return write_report(path, what, flags, examined or (lambda: Examined(dict)))


def _best_step(trainer: Trainer) -> int | None:
    """Give the step whose weights a training ended with, where these are not the last."""
    best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    step = Path(best).name.rpartition("-")[2] if best else ""
    return int(step) if step.isdecimal() else None


def _endings(metrics: Mapping[str, Any]) -> list[str]:
    """Give what the names of the figures of each validation split end in."""
    begin, speed = "eval_samples", "eval_samples_per_second"
    return [name.removeprefix(begin) for name in metrics if name.startswith(begin) and not name.startswith(speed)]


def _print_table(record: Mapping[str, Any], subject: Subject, curve: Path | None, page: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = record["metrics"]
    table = Table(title=subject.title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name in dict.fromkeys((*subject.metrics, "combined_score", "loss")):
        for ending in _endings(metrics):
            where = ", mismatched" if ending == "_mm" else ending.replace("_", ", ", 1)
            if f"eval_{name}{ending}" in metrics:
                table.add_row(f"{name.replace('_', ' ')}{where}", f"{metrics[f'eval_{name}{ending}']:.4f}")
    trainable, total = record["trainable_values"], record["total_values"]
    table.add_row("trained / all values", f"{trainable:,} / {total:,} ({trainable / total:.2%})")
    if record.get("quantization"):
        table.add_row("base kept in", record["quantization"]["words"])
    table.add_row("minutes", f"{metrics['minutes']:.1f}")
    if record["examples_per_second"] is not None:
        table.add_row("examples per second", f"{record['examples_per_second']:.1f}")
    if record["kind"] == "train":
        table.add_row("adapter" if record["holds_adapter"] else "model", record["output"])
    if curve is not None:
        table.add_row("learning curve", curve.name)
    if page is not None:
        table.add_row("report", page.name)
    console = Console(width=max(100, len(record["output"]) + 30) if not sys.stdout.isatty() else None)
    console.print()
    console.print(table)
