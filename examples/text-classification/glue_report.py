"""What is left of a run for people: prediction files, a table, a learning curve, a record, the next commands."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glue_arguments import DataTrainingArguments, ModelArguments
from glue_data import TextData
from transformers import Trainer
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["print_report", "write_predictions"]

logger = logging.get_logger("transformers.examples.glue_report")


def write_predictions(
    folder: str,
    values: NDArray[np.generic],
    split: Dataset,
    data: TextData,
    number: int,
    id2label: Mapping[int, str],
) -> Path:
    """Write one test split's predictions in the form that the GLUE server takes: ``index<TAB>prediction``.

    Args:
        folder: The run's output folder.
        values: Class ids or values. Shape: (examples,).
        split: The split; its ``idx`` column, where it has a whole one, numbers the rows.
        data: Says which task it is.
        number: Which of the test splits it is.
        id2label: The model's classes.

    Returns:
        The file's path: the task's name on the server, or ``predictions.tsv``.
    """
    task = data.task
    path = Path(folder) / f"{task.titles[number] if task is not None else 'predictions'}.tsv"
    numbers = list(split["idx"]) if "idx" in split.column_names else [None]
    rows = range(len(values)) if None in numbers else numbers
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", "prediction"])
        writer.writerows(zip(rows, (_spell(value, data, id2label) for value in values), strict=True))
    return path


def _spell(value: Any, data: TextData, id2label: Mapping[int, str]) -> str:
    """Give a prediction as the server reads it."""
    task = data.task
    if data.regression:
        return f"{float(np.clip(value, 0.0, 5.0) if task is not None else value):.3f}"
    name = id2label[int(value)]
    if task is None or task.predict_names:
        return name
    return str([label.lower() for label in task.labels].index(name.lower()))


def print_report(
    trainer: Trainer,
    model_args: ModelArguments,
    data_args: DataTrainingArguments,
    data: TextData,
    results: dict[str, float],
) -> None:
    """Print the table and the next commands; write the record and, after a training, the learning curve."""
    folder = Path(trainer.args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    record = _record(trainer, model_args, data_args, results)
    (folder / "run_record.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    curve = _plot(trainer, data, folder / "learning_curve.png") if trainer.args.do_train else None
    _print_table(record, data, curve)
    _print_next_steps(trainer, data_args)


def _record(
    trainer: Trainer, model_args: ModelArguments, data_args: DataTrainingArguments, results: dict[str, float]
) -> dict[str, Any]:
    """Put everything together that is needed to understand and repeat the figures."""
    from transformers.training.environment import describe_environment

    model = trainer.model
    return {
        "task": data_args.task_name or data_args.train_file or data_args.validation_file or data_args.test_file,
        "metrics": results,
        "trainable_values": model.num_parameters(only_trainable=True),
        "total_values": model.num_parameters(),
        "examples_per_second": results.get("train_samples_per_second", results.get("eval_samples_per_second")),
        "seed": trainer.args.seed,
        "global_batch_size": trainer.args.global_batch_size,
        "model_arguments": vars(model_args),
        "data_arguments": vars(data_args),
        "training_arguments": trainer.args.to_dict(),
        "environment": describe_environment(trainer.args.device),
        "output": str(Path(trainer.args.output_dir).resolve()),
        "holds_adapter": bool(model.config.freezes_base),
    }


def _print_table(record: dict[str, Any], data: TextData, curve: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = record["metrics"]
    table = Table(title=f"{data.task.title if data.task else record['task']}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    order = dict.fromkeys((data.main_metric, *data.metrics, "combined_score", "loss"))
    for name in order:
        for ending, where in (("", ""), ("_mm", ", mismatched")):
            if f"eval_{name}{ending}" in metrics:
                table.add_row(f"{name.replace('_', ' ')}{where}", f"{metrics[f'eval_{name}{ending}']:.4f}")
    trainable, total = record["trainable_values"], record["total_values"]
    table.add_row("trained / all values", f"{trainable:,} / {total:,} ({trainable / total:.2%})")
    table.add_row("minutes", f"{metrics['minutes']:.1f}")
    if record["examples_per_second"] is not None:
        table.add_row("examples per second", f"{record['examples_per_second']:.1f}")
    if "train_loss" in metrics:
        table.add_row("adapter" if record["holds_adapter"] else "model", record["output"])
    if curve is not None:
        table.add_row("learning curve", curve.name)
    console = Console(width=max(100, len(record["output"]) + 30) if not sys.stdout.isatty() else None)
    console.print()
    console.print(table)


def _plot(trainer: Trainer, data: TextData, path: Path) -> Path | None:
    """Draw training loss and main metric over the steps; None without matplotlib or points."""
    history = trainer.state.log_history
    losses = [(row["step"], row["loss"]) for row in history if "loss" in row]
    key = f"eval_{data.main_metric}"
    evaluations = [(row["step"], row[key]) for row in history if key in row]
    if len(losses) + len(evaluations) < 2:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("No learning curve: matplotlib is not installed (pip install -e '.[demo]').")
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("training loss")
    axes.plot(*zip(*losses, strict=True) if losses else ((), ()), color="tab:blue", label="training loss")
    if evaluations:
        right = axes.twinx()
        right.set_ylabel(data.main_metric.replace("_", " "))
        right.plot(*zip(*evaluations, strict=True), color="tab:orange", marker="o", label=data.main_metric)
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=120)
    return path


def _print_next_steps(trainer: Trainer, data_args: DataTrainingArguments) -> None:
    """Print commands that go on from here."""
    if not trainer.args.do_train:
        return
    folder = shlex.quote(trainer.args.output_dir)
    source = (
        f"--task_name {data_args.task_name} --glue_dataset {shlex.quote(data_args.glue_dataset)}"
        if data_args.task_name
        else "--test_file TEXTS.csv"
    )
    length = f"--max_seq_length {data_args.max_seq_length}"
    script = shlex.quote(sys.argv[0])
    print("\nNext:")
    print(
        "  predict      ",
        f"python {script} --model_name_or_path {folder} {source} {length} --do_predict --output_dir {folder}",
    )
    if "tensorboard" in (trainer.args.report_to or ()):
        logs, runs = Path(str(trainer.args.logging_dir)), Path(trainer.args.output_dir, "runs")
        print("  watch curves ", f"tensorboard --logdir {shlex.quote(str(runs if runs in logs.parents else logs))}")
    print(
        "  use in Python",
        f'AutoModelForSequenceClassification.from_pretrained("{trainer.args.output_dir}")  # finds its base itself'
        if trainer.model.config.freezes_base
        else f'AutoModelForSequenceClassification.from_pretrained("{trainer.args.output_dir}")',
    )
