"""What only a classifier of whole texts heeds is refused by the scripts that train other heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from script_runs import runner

import run_mlm
import run_ner
import run_qa
import run_swag

FILES = {run_mlm: "train.txt", run_ner: "train.txt", run_qa: "train.json", run_swag: "train.csv"}
FLAGS = [["--reg_loss_wgt", "1.0"], ["--reg_loss_wgt", "1.0", "--consistency", "rdrop"], ["--masking_prob", "0.1"]]


@pytest.mark.parametrize("words", [*FLAGS, ["--cls_dropout", "0.0"]], ids=lambda words: "".join(words))
@pytest.mark.parametrize("script", FILES, ids=lambda script: script.__name__)
def test_flags_of_classifiers(
    script: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if script is run_swag and "--cls_dropout" in words:
        pytest.skip("the dropout in front of the scores of choices")
    train = tmp_path / FILES[script]
    train.write_text("[]")
    files = ["--model_name_or_path", tmp_path / "none", "--train_file", train, "--output_dir", tmp_path / "out"]
    assert runner(script)(*files, "--do_train", *words) == 2
    said = capsys.readouterr().err
    assert "is for classifiers of whole texts; leave it out." in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
