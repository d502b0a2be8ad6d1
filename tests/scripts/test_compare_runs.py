"""compare_runs.py: spread and flips are those of the predictions, and runs over other examples are refused."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from script_runs import read_json
from sklearn.metrics import accuracy_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import compare_runs

DRAW = np.random.default_rng(3)


def write_run(folder: Path, rows: list[dict[str, Any]], seed: int, accuracy: float = 0.5) -> Path:
    folder.mkdir(exist_ok=True)
    figure = {"value": accuracy, "low": None, "high": None}
    (folder / "report.json").write_text(json.dumps({"metrics": {"accuracy": figure}, "facts": {"seed": seed}}))
    (folder / "report_predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def rows_of(labels: list[Any], predictions: list[Any]) -> list[dict[str, Any]]:
    return [
        {"source": "validation", "label": label, "prediction": said, "texts": {"text": f"<i>film</i> {row}"}}
        for row, (label, said) in enumerate(zip(labels, predictions, strict=True))
    ]


def test_spread_and_flips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = DRAW.choice(["x", "y", "z"], 50).tolist()
    said = [np.where(DRAW.random(50) < 0.7, labels, DRAW.choice(["x", "y", "z"], 50)).tolist() for _ in range(3)]
    scores = [accuracy_score(labels, each) for each in said]
    folders = [
        write_run(tmp_path / f"seed-{seed}", rows_of(labels, each), seed, score)
        for seed, (each, score) in enumerate(zip(said, scores, strict=True))
    ]
    assert compare_runs.main([*map(str, folders), "--output", str(tmp_path / "out")]) == 0
    assert f"accuracy                {np.median(scores):.4f} ± {np.std(scores, ddof=1):.4f}" in capsys.readouterr().out
    found = read_json(tmp_path / "out" / "comparison.json")
    differ = [1 - accuracy_score(one, other) for one, other in combinations(said, 2)]
    assert found["flips"]["mean"] == pytest.approx(np.mean(differ))
    assert (found["flips"]["least"], found["flips"]["most"]) == pytest.approx((min(differ), max(differ)))
    times = sum((np.array(each) == labels).astype(int) for each in said)
    assert found["flips"]["right_in_runs"] == np.bincount(times, minlength=4).tolist()
    assert found["flips"]["flipping"] == sum(len(set(each)) > 1 for each in zip(*said, strict=True))
    agreed = [max(each["predictions"].values()) for each in found["unstable"]]
    assert agreed == sorted(agreed)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "&lt;i&gt;film&lt;/i&gt;" in page
    assert "<i>film" not in page


def test_values_have_differences(tmp_path: Path) -> None:
    values = DRAW.normal(size=(3, 20))
    folders = [
        write_run(tmp_path / str(seed), rows_of([0.5] * 20, row.tolist()), seed) for seed, row in enumerate(values)
    ]
    assert compare_runs.main([*map(str, folders), "--output", str(tmp_path / "out")]) == 0
    found = read_json(tmp_path / "out" / "comparison.json")["differences"]
    assert found["mean_deviation"] == pytest.approx(values.std(axis=0, ddof=1).mean(), rel=1e-5)


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_run(tmp_path / "good", rows_of(["x", "y"], ["x", "x"]), 0)
    other = write_run(tmp_path / "other", rows_of(["x", "x"], ["x", "x"]), 1)
    fewer = write_run(tmp_path / "fewer", rows_of(["x"], ["x"]), 1)
    words = write_run(tmp_path / "words", [{"source": "validation", "loss": 1.0}], 1)
    broken = write_run(tmp_path / "broken", [], 1)
    (broken / "report.json").write_text('{"metrics": 3}')
    (tmp_path / "empty").mkdir()
    for folders, says in (
        ([good], "Two runs at least"),
        ([good, other], "'good' and 'other' were not evaluated on the same examples: example 2 is another"),
        ([good, fewer], "2 and 1 examples"),
        ([good, words], "holds no predictions with labels"),
        ([good, broken], "is broken"),
        ([good, tmp_path / "empty"], "evaluate with --report_predictions"),
    ):
        assert compare_runs.main([*map(str, folders), "--output", str(tmp_path / "out")]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
