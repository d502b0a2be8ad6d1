"""The example's modules, a tiny checkpoint and a tiny GLUE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

from glue_tasks import TASKS


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the data sets' cache away from the user's, and from other tests'."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


def _rows(task: str, number: int, labelled: bool) -> dict[str, list[object]]:
    """Make a few rows of a task: the first word tells the label."""
    words = ["good", "bad", "fine"]
    labels = len(TASKS[task].labels)
    columns: dict[str, list[object]] = {
        column: [f"{words[row % max(labels, 2)]} film {row}" for row in range(number)]
        for column in TASKS[task].columns
    }
    if labels:
        columns["label"] = [row % labels if labelled else -1 for row in range(number)]
    else:
        columns["label"] = [float(row % 6) if labelled else -1.0 for row in range(number)]
    columns["idx"] = list(range(100, 100 + number)) if not labelled else list(range(number))
    return columns


@pytest.fixture(scope="session")
def tiny_glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all nine tasks as a local folder laid out like the hub's data set."""
    from datasets import ClassLabel, Dataset, Features, Value

    folder = tmp_path_factory.mktemp("glue")
    lines = ["---", "configs:"]
    for name, task in TASKS.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        text: dict[str, object] = {column: Value("string") for column in task.columns}
        label = ClassLabel(names=list(task.labels)) if task.labels else Value("float32")
        features = Features({**text, "label": label, "idx": Value("int32")})
        for split in ("train", *task.validation_splits, *task.test_splits):
            number = 12 if split == "train" else 7
            rows = Dataset.from_dict(_rows(name, number, "test" not in split), features=features)
            (folder / name).mkdir(exist_ok=True)
            rows.to_parquet(folder / name / f"{split}.parquet")
            lines += [f"  - split: {split}", f"    path: {name}/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


def read_json(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text())
    return content
