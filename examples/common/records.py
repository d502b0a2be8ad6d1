"""What is written down of a run, to understand and repeat it; no kind of run overwrites another's record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.utils.secrets import without_secrets
from transformers.utils.writing import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer, TrainingArguments

__all__ = [
    "RECORD_FILE",
    "describe_results",
    "holds_training",
    "kind_of_run",
    "read_record",
    "report_path",
    "write_record",
]

RECORD_FILE = "run_record.json"
_OF_REPORT = (".html", ".json", "_predictions.jsonl")


def kind_of_run(args: TrainingArguments) -> str:
    """Name what a run does: ``train``, or ``eval``, ``predict`` or ``eval_predict`` where it does not train."""
    if args.do_train:
        return "train"
    return "_".join(name for name, done in (("eval", args.do_eval), ("predict", args.do_predict)) if done)


def describe_results(
    trainer: Trainer, task: str, results: Mapping[str, float], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Put everything together that is needed to understand and repeat the figures.

    Args:
        trainer: Of the run.
        task: Its task, or the file that stands for it.
        results: Metrics by name.
        arguments: The run's flags by group, such as ``model_arguments``; the Trainer's are added. Access tokens are
            left out.
    """
    from transformers.kernels.calls import uses_kernels
    from transformers.training.environment import describe_environment

    model = trainer.model
    return {
        "kind": kind_of_run(trainer.args),
        "task": task,
        "metrics": dict(results),
        "trainable_values": model.num_parameters(only_trainable=True),
        "total_values": model.num_parameters(),
        "examples_per_second": results.get("train_samples_per_second", results.get("eval_samples_per_second")),
        "seed": trainer.args.seed,
        "global_batch_size": trainer.args.global_batch_size,
        **{group: without_secrets(flags) for group, flags in arguments.items()},
        "training_arguments": trainer.args.to_dict(),
        "environment": {**describe_environment(trainer.args.device), "compiled_kernels": uses_kernels()},
        "output": str(Path(trainer.args.output_dir).resolve()),
        "holds_adapter": bool(model.config.freezes_base),
        "quantization": _describe_bits(model),
    }


def _describe_bits(model: PreTrainedModel) -> dict[str, Any] | None:
    """Say in which bits a model's base is kept, in words and in numbers; None for full precision."""
    error = model.quantization_error()
    if model.quantization is None or error is None:
        return None
    by = {"mean_difference": error.mean, "largest_difference": error.largest}
    return {"words": str(model.quantization), **model.quantization.to_dict(), **by}


def read_record(folder: Path, name: str = RECORD_FILE) -> dict[str, Any] | None:
    """Read a record; None where there is none, or what is there is none."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def holds_training(folder: Path) -> bool:
    """Say whether a training has left its record in a folder."""
    record = read_record(folder)
    return record is not None and _kind(record) == "train"


def _kind(record: Mapping[str, Any]) -> str:
    """Give a record's kind, also where it was written before kinds were recorded."""
    if "kind" in record:
        return str(record["kind"])
    return "train" if "train_loss" in record.get("metrics", {}) else "eval"


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write a record as ``run_record.json``, or beside it where that is another kind of run's.

    A training's is always ``run_record.json``: another kind's makes room for it under its own name,
    ``run_record_<kind>.json``.

    Args:
        folder: The output folder.
        record: By `describe_results`.

    Returns:
        The file.
    """
    path = folder / RECORD_FILE
    present = read_record(folder)
    if present is not None and _kind(present) != record["kind"]:
        if record["kind"] == "train":
            _make_room(folder, _kind(present))
        else:
            path = folder / f"run_record_{record['kind']}.json"
    write_text(path, json.dumps(record, indent=2, sort_keys=True) + "\n")
    return path


def _make_room(folder: Path, kind: str) -> None:
    """Give the record of another kind of run, and its report, names of their own."""
    (folder / RECORD_FILE).rename(folder / f"run_record_{kind}.json")
    for ending in _OF_REPORT:
        report = folder / f"report{ending}"
        if report.is_file():
            report.rename(folder / f"report_{kind}{ending}")


def report_path(record: Path, ending: str) -> Path:
    """Name a file of a run's report after its record, beside it: ``report.html`` beside ``run_record.json``.

    Args:
        record: The record's path, as `write_record` gives it.
        ending: ``.html``, ``.json`` or ``_predictions.jsonl``.
    """
    return record.with_name(record.stem.replace("run_record", "report", 1) + ending)
