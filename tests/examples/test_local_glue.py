"""GLUE tasks from a local folder: always the folder's present data, and labels by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glue_arguments import DataTrainingArguments
from glue_data import TextData, load_data
from transformers import TrainingArguments


def write_rte(folder: Path, labels: list[Any], names: list[str] | None = None, test_numbers: bool = True) -> Path:
    """Write an RTE of these training labels; each text names its row."""
    from datasets import ClassLabel, Dataset, Features, Value

    (folder / "rte").mkdir(parents=True, exist_ok=True)
    kind: Any = Value("int64") if names is None else ClassLabel(names=names)
    lines = ["---", "configs:", "- config_name: rte", "  data_files:"]
    for split, values in (("train", labels), ("validation", [0, 1]), ("test", [-1, -1])):
        texts = [f"{split} {row}" for row in range(len(values))]
        columns: dict[str, Any] = {"sentence1": texts, "sentence2": texts, "label": values}
        features = {"sentence1": Value("string"), "sentence2": Value("string"), "label": kind}
        if split == "train" or test_numbers:
            columns["idx"], features["idx"] = list(range(len(values))), Value("int32")
        Dataset.from_dict(columns, features=Features(features)).to_parquet(folder / "rte" / f"{split}.parquet")
        lines += [f"  - split: {split}", f"    path: rte/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


def load(folder: Path) -> TextData:
    data_args = DataTrainingArguments(task_name="rte", glue_dataset=str(folder))
    return load_data(data_args, TrainingArguments("out", do_train=True, do_eval=True, do_predict=True))


def test_a_folder_that_changed_is_read_again(tmp_path: Path) -> None:
    for count in (3, 5):
        train = load(write_rte(tmp_path / "glue", [0, 1, 1, 0, 1][:count])).train
        assert train is not None
        assert len(train) == count


def test_folders_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    for place, count in (("here", 3), ("there", 4)):
        train = load(write_rte(tmp_path / place / "glue", [0, 1, 1, 0][:count])).train
        assert train is not None
        assert len(train) == count


@pytest.mark.parametrize("names", [None, ["entailment", "not_entailment"], ["not_entailment", "entailment"]])
def test_the_names_in_the_data_decide_what_a_number_means(names: list[str] | None, tmp_path: Path) -> None:
    train = load(write_rte(tmp_path / "glue", [0, 1, 1], names)).train
    assert train is not None
    first, second = names or ["entailment", "not_entailment"]
    assert list(train["label"]) == [first, second, second]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, -1], None, "row 2 of 'rte train' is -1; expected was entailment or not_entailment"),
        ([0, 1, 2], None, "row 3 of 'rte train' is 2"),
        ([0, None], None, "nothing in the column 'label' of row 2"),
        ([1, 0], ["good", "bad"], "row 1 of 'rte train' is 1; expected was entailment or not_entailment"),
    ],
)
def test_labels_outside_of_the_classes(
    labels: list[Any], names: list[str] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_rte(tmp_path / "glue", labels, names))
