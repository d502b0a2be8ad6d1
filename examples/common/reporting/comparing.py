"""What several runs over the same examples have in common: the spread of their figures, and the examples that flip."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from .examples import SHOWN, shortened

__all__ = ["ComparedRun", "describe_runs", "read_run"]


@dataclass(frozen=True)
class ComparedRun:
    """A run with its evaluated examples.

    Attributes:
        name: Its folder's name.
        seed: Its seed.
        metrics: By name.
        rows: The lines of ``report_predictions.jsonl``.
    """

    name: str
    seed: int | None
    metrics: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]]


def read_run(folder: Path) -> ComparedRun:
    """Read what ``--report_predictions`` has left in a folder.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If there is none, or it is broken or has no predictions.
    """
    paths = folder / "report.json", folder / "report_predictions.jsonl"
    for path in paths:
        if not path.is_file():
            raise ValueError(f"'{folder}' has no {path.name}; evaluate with --report_predictions, which writes it.")
    try:
        report = json.loads(paths[0].read_text(encoding="utf-8"))
        with paths[1].open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        metrics = {name: each["value"] for name, each in report["metrics"].items() if each["value"] is not None}
        seed = report["facts"]["seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The report in '{folder}' is broken ({error!r}); evaluate again.") from error
    if not rows or not all(isinstance(row, dict) and {"label", "prediction"} <= row.keys() for row in rows):
        raise ValueError(f"'{paths[1]}' holds no predictions with labels, so there is nothing to compare.")
    return ComparedRun(folder.name, seed, metrics, rows)


def describe_runs(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Count spread and flips.

    Args:
        runs: Two at least.

    Returns:
        ``spread`` of each metric, ``flips`` between runs (classes, answers, tags) or ``differences`` (values), and
        the ``unstable`` examples.

    Raises:
        ValueError: If there are too few, or they were not evaluated on the same examples.
    """
    if len(runs) < 2:
        raise ValueError("Two runs at least were expected.")
    for run in runs[1:]:
        _check_same(runs[0], run)
    names = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
    found: dict[str, Any] = {
        "runs": [{"name": run.name, "seed": run.seed} for run in runs],
        "spread": {name: _spread([run.metrics[name] for run in runs]) for name in names},
    }
    values = isinstance(runs[0].rows[0]["prediction"], float)
    return {**found, **(_differences(runs) if values else _flips(runs))}


def _check_same(first: ComparedRun, other: ComparedRun) -> None:
    keys = ("source", "id", "place", "texts", "tokens", "label")
    rows = zip(first.rows, other.rows, strict=False)
    where = next(
        (row for row, pair in enumerate(rows, 1) if any(pair[0].get(k) != pair[1].get(k) for k in keys)), None
    )
    if where is None and len(first.rows) == len(other.rows):
        return
    reason = (
        f"example {where} is another" if where is not None else f"{len(first.rows)} and {len(other.rows)} examples"
    )
    raise ValueError(f"'{first.name}' and '{other.name}' were not evaluated on the same examples: {reason}.")


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "values": list(values),
        "median": float(np.median(values)),
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)),
        "least": min(values),
        "most": max(values),
    }


def _flips(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    predicted = [[json.dumps(row["prediction"]) for row in run.rows] for run in runs]
    right = np.array([[_is_right(row) for row in run.rows] for run in runs])
    pairs = combinations(range(len(runs)), 2)
    shares = [float(np.mean([a != b for a, b in zip(predicted[i], predicted[j], strict=True)])) for i, j in pairs]
    times = right.sum(axis=0)
    votes = [Counter(each) for each in zip(*predicted, strict=True)]
    agreed = np.array([max(each.values()) for each in votes])
    order = np.argsort(agreed, kind="stable")
    order = order[agreed[order] < len(runs)][:SHOWN]
    unstable = [
        {**_shown(runs[0].rows, row), "predictions": _counted(votes[row]), "right": int(times[row])}
        for row in order.tolist()
    ]
    return {
        "flips": {
            "examples": len(times),
            "mean": float(np.mean(shares)),
            "least": min(shares),
            "most": max(shares),
            "flipping": int((agreed < len(runs)).sum()),
            "right_in_runs": np.bincount(times, minlength=len(runs) + 1).tolist(),
        },
        "unstable": unstable,
    }


def _differences(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    values = np.array([[row["prediction"] for row in run.rows] for run in runs], dtype=np.float64)
    deviations = values.std(axis=0, ddof=1)
    order = np.argsort(-deviations, kind="stable")[:SHOWN].tolist()
    unstable = [
        {**_shown(runs[0].rows, row), "predictions": {f"{value:.3f}": 1 for value in sorted(values[:, row])}}
        for row in order
    ]
    return {
        "differences": {
            "examples": values.shape[1],
            "mean_deviation": float(deviations.mean()),
            "most": float(deviations.max()),
        },
        "unstable": unstable,
    }


def _is_right(row: Mapping[str, Any]) -> bool:
    return bool(row["exact_match"]) if "exact_match" in row else row["prediction"] == row["label"]


def _counted(votes: Counter[str]) -> dict[str, int]:
    return {_words(json.loads(said)): number for said, number in votes.most_common()}


def _words(said: Any) -> str:
    return " ".join(map(str, said)) if isinstance(said, list) else str(said)


def _shown(rows: Sequence[Mapping[str, Any]], number: int) -> dict[str, Any]:
    row = rows[number]
    place = sum(each["source"] == row["source"] for each in rows[: number + 1])
    texts = row.get("texts") or {name: row[name] for name in ("question", "tokens") if name in row}
    where = row.get("id") or row.get("place") or f"row {place}"
    return {
        "source": row["source"],
        "where": f"{row['source']}, {where}",
        "row": place,
        "texts": {name: shortened(_words(text)) for name, text in texts.items()},
        "label": _words(row["label"]),
    }
