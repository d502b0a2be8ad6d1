"""Finished runs of run_glue.py as figures: each run's score, and median and spread over seeds.

A run's score is what the LoRA paper reports (section 5, table 2), in percent: accuracy; for CoLA Matthews correlation;
for STS-B Pearson correlation; for MNLI the accuracy on matched and mismatched examples together. It is that of the
best evaluation on the validation set.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "text-classification"))

from glue_tasks import TASKS, GlueTask  # noqa: E402 (found through the line above)

__all__ = ["ROOT", "TASKS", "GlueTask", "Run", "Summary", "find_runs", "read_run", "summarize"]

SETTINGS = ("learning_rate", "num_train_epochs", "max_steps", "warmup_ratio", "warmup_steps", "weight_decay")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        folder: Its output folder.
        task: The GLUE task.
        model: The base model's name, without the folders or owner before it.
        method: What was trained, such as ``LoRA r 8 alpha 16``.
        seed: Its seed.
        score: In percent; see the module.
        best_epoch: The epoch of that evaluation; None where it is not known.
        settings: Further settings that results depend on; runs are seeds of one another only where these are equal.
        partial: Whether it saw only a part of the examples (``--max_train_samples``, ``--max_val_samples``).
        finished: When, in seconds since 1970.
    """

    folder: Path
    task: str
    model: str
    method: str
    seed: int
    score: float
    best_epoch: float | None
    settings: tuple[tuple[str, Any], ...]
    partial: bool
    finished: float


@dataclass(frozen=True)
class Summary:
    """Several seeds of one run.

    Attributes:
        median: The median score, in percent.
        spread: The sample standard deviation; None for a single seed.
        runs: The runs, in the order of their seeds.
    """

    median: float
    spread: float | None
    runs: tuple[Run, ...]

    @property
    def partial(self) -> bool:
        """Whether any of the runs saw only a part of the examples."""
        return any(run.partial for run in self.runs)


# Reading --------------------------------------------------------------------------------------------------------


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """Read all finished GLUE runs in and below some folders.

    Args:
        folders: Where to look. Checkpoints of a run are passed over.

    Returns:
        The runs, by folder.

    Raises:
        OSError: If a folder does not exist.
        ValueError: If a run's file is damaged.
    """
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise OSError(f"{folder} is no folder.")
        found |= {path.parent.resolve() for path in folder.rglob("run_record.json")}
    runs = (read_run(folder) for folder in sorted(found))
    return [run for run in runs if run is not None]


def read_run(folder: Path) -> Run | None:
    """Read one run.

    Args:
        folder: Its output folder.

    Returns:
        The run, or None where there is no finished evaluation of a GLUE task in that folder.

    Raises:
        ValueError: If a file is damaged.
    """
    record = _read_json(folder / "run_record.json")
    task = TASKS.get(record.get("task", ""))
    metrics = {**_read_json(folder / "all_results.json"), **record.get("metrics", {})}
    if task is None or f"eval_{task.main_metric}" not in metrics:
        return None
    # A later prediction in the same folder writes a record of its own; these two are of the training.
    training = _read_json(folder / "training_args.json") or record["training_arguments"]
    state = _read_json(folder / "trainer_state.json")
    name = record["task"]
    score, epoch = _score(name, metrics, state, training)
    model, method = _describe_model(folder, record["model_arguments"])
    settings = {key: training.get(key) for key in SETTINGS}
    settings["max_seq_length"] = record["data_arguments"]["max_seq_length"]
    settings["global_batch_size"] = state.get("global_batch_size")
    return Run(
        folder=folder,
        task=name,
        model=model,
        method=method,
        seed=training["seed"],
        score=100 * score,
        best_epoch=epoch,
        settings=tuple(sorted(settings.items())),
        partial=any(record["data_arguments"].get(key) for key in ("max_train_samples", "max_val_samples")),
        finished=(folder / "run_record.json").stat().st_mtime,
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: one JSON object was expected.")
    return content


def _score(
    task: str, metrics: Mapping[str, Any], state: Mapping[str, Any], training: Mapping[str, Any]
) -> tuple[float, float | None]:
    """Give the score (a share, not percent) of the best evaluation, and its epoch.

    Only the final evaluation has MNLI's mismatched examples; with ``load_best_model_at_end``, which the launchers
    give, it is the best epoch's (by the matched ones).
    """
    key = f"eval_{TASKS[task].main_metric}"
    history = [(row[key], row.get("epoch")) for row in state.get("log_history", ()) if key in row]
    best = max(history, key=lambda row: row[0], default=(metrics[key], None))
    if f"{key}_mm" in metrics:
        matched, mismatched = metrics["eval_samples"], metrics["eval_samples_mm"]
        together = (metrics[key] * matched + metrics[f"{key}_mm"] * mismatched) / (matched + mismatched)
        return together, best[1] if training.get("load_best_model_at_end") else metrics.get("epoch")
    return max(best, (metrics[key], metrics.get("epoch")), key=lambda row: row[0])


def _describe_model(folder: Path, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Give the base model's name, and what was trained of it: as the saved part says, or else the arguments."""
    name = arguments["model_name_or_path"]
    saved = (place / file for place in (folder, Path(name)) for file in ("lora_metadata.json", "trained_model.json"))
    metadata = next((found for path in saved if (found := _read_json(path))), {})
    facts = {**arguments, **metadata.get("methods", {})}
    if metadata:
        name = metadata["base_model_name_or_path"]
        facts |= {key: metadata[key] for key in ("lora_r", "lora_alpha")}
        facts["apply_lora"] = bool(metadata["lora_r"])
    parts = []
    if facts.get("apply_lora"):
        parts.append(f"LoRA r {facts['lora_r']} alpha {facts['lora_alpha']:g}")
    if facts.get("apply_adapter"):
        parts.append(f"{facts['adapter_type'].title()} adapter {facts['adapter_size']}")
    if facts.get("apply_bitfit"):
        parts.append("BitFit")
    if facts.get("reg_loss_wgt"):
        parts.append(facts.get("consistency") or "cutoff")
    return Path(name).name, " + ".join(parts) or "full fine-tuning"


# Seeds ----------------------------------------------------------------------------------------------------------


def summarize(runs: Sequence[Run]) -> Summary:
    """Give median and spread of runs that differ only in their seeds.

    Raises:
        ValueError: If there are none.
    """
    if not runs:
        raise ValueError("there are no finished runs to summarize.")
    scores = [run.score for run in runs]
    spread = statistics.stdev(scores) if len(scores) > 1 else None
    return Summary(statistics.median(scores), spread, tuple(sorted(runs, key=lambda run: run.seed)))
