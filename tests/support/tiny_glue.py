"""A tiny GLUE, all nine tasks, as a local folder laid out like the hub's data set."""

from __future__ import annotations

from pathlib import Path

from glue_tasks import TASKS

__all__ = ["write_tiny_glue"]

WORDS = ("good", "bad", "fine")


def write_tiny_glue(folder: Path, training: int = 12, others: int = 7) -> Path:
    """Write the data set; the first word of a text tells its label.

    Args:
        folder: An existing folder.
        training: Rows of each training split.
        others: Rows of each other split; test rows have no labels (-1).
    """
    from datasets import ClassLabel, Dataset, Features, Value

    lines = ["---", "configs:"]
    for name, task in TASKS.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        text: dict[str, object] = {column: Value("string") for column in task.columns}
        label = ClassLabel(names=list(task.labels)) if task.labels else Value("float32")
        features = Features({**text, "label": label, "idx": Value("int32")})
        (folder / name).mkdir()
        for split in ("train", *task.validation_splits, *task.test_splits):
            rows = _rows(name, training if split == "train" else others, "test" not in split)
            Dataset.from_dict(rows, features=features).to_parquet(folder / name / f"{split}.parquet")
            lines += [f"  - split: {split}", f"    path: {name}/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


def _rows(task: str, number: int, labelled: bool) -> dict[str, list[object]]:
    labels = len(TASKS[task].labels)
    columns: dict[str, list[object]] = {
        column: [f"{WORDS[row % max(labels, 2)]} film {row}" for row in range(number)]
        for column in TASKS[task].columns
    }
    if labels:
        columns["label"] = [row % labels if labelled else -1 for row in range(number)]
    else:
        columns["label"] = [float(row % 6) if labelled else -1.0 for row in range(number)]
    first = 0 if labelled else 100  # test rows are numbered as a part of something larger would be
    columns["idx"] = list(range(first, first + number))
    return columns
