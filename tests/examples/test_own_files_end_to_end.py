"""run_glue.py on files of one's own, from training to the next commands that it prints: every kind of label."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import glue_arguments
import run_glue
from common.curve import draw_curve, read_curves
from transformers import AutoModelForSequenceClassification, TrainingArguments
from transformers.hf_argparser import HfArgumentParser

SCRIPT = Path(run_glue.__file__)
LORA = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4"]
QUICK = ["--max_steps", "2", "--per_device_train_batch_size", "4", "--disable_tqdm", "true", "--no_cuda"]
DATA: dict[str, tuple[str, list[str]]] = {
    "classes": ("text,label", ["the film was good,up", "the film was bad,down"]),
    "values": ("text,label", ["the film was good,1.5", "the film was bad,0.25"]),
    "switches": ("text,funny,sad", ["the film was good,1,0", "the film was bad,0,1", "fine,1,1"]),
    "pairs": ("first,second,label", ["good film,it was good,yes", "good film,it was bad,no"]),
    "numbers": ("text,label", ["the film was good,1.0", "the film was bad,0.0"]),
}
METRICS = {
    "classes": ("accuracy", "f1_macro"),
    "values": ("mse", "pearson"),
    "switches": ("f1_micro", "f1_macro", "subset_accuracy"),
    "pairs": ("accuracy", "f1_macro"),
    "numbers": ("accuracy", "f1_macro"),
}


def run(*words: object) -> int:
    try:
        return run_glue.main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def write(path: Path, kind: str, times: int = 6, swap: bool = False) -> Path:
    header, lines = DATA[kind]
    path.write_text("\n".join([header, *(lines[::-1] if swap else lines) * times, ""]))
    return path


def words_of(model: Path, folder: Path, kind: str) -> list[object]:
    train, validation = write(folder / "train.csv", kind), write(folder / "validation.csv", kind, 3)
    data = ["--train_file", train, "--validation_file", validation, "--output_dir", folder / "out"]
    return ["--model_name_or_path", model, *LORA, *QUICK, *data]


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize("kind", DATA)
def test_training_evaluation_and_every_next_command(
    kind: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    assert (
        run(*words_of(tiny_checkpoint, tmp_path, kind), "--do_train", "--do_eval", "--report_to", "tensorboard") == 0
    )
    printed = capsys.readouterr()
    assert "Tokenizing" not in printed.err, "--disable_tqdm is for every bar"
    assert "reading the text from" in printed.err
    results = read_json(tmp_path / "out" / "eval_results.json")
    assert {f"eval_{name}" for name in METRICS[kind]} <= set(results)
    record = (tmp_path / "out" / "run_record.json").read_bytes()
    lines = printed.out.partition("\nNext:\n")[2].rstrip().splitlines()
    steps = {line[:16].strip(): line[16:].strip() for line in lines}
    assert set(steps) == {"predict", "watch curves", "use in Python"}

    write(tmp_path / "TEXTS.csv", kind, 2)
    monkeypatch.chdir(tmp_path)
    command = shlex.split(steps["predict"])
    assert command[:2] == ["python", str(SCRIPT)]
    assert run(*command[2:], "--report_to", "none") == 0
    _check_predictions(kind, tmp_path / "out" / "predictions.tsv")
    assert (tmp_path / "out" / "run_record.json").read_bytes() == record, "a prediction leaves the training's record"
    assert read_json(tmp_path / "out" / "run_record_predict.json")["kind"] == "predict"

    logs = Path(shlex.split(steps["watch curves"])[-1])
    assert list(logs.rglob("events.out.tfevents.*")), "there are curves to watch"
    model = eval(steps["use in Python"], {"AutoModelForSequenceClassification": AutoModelForSequenceClassification})
    assert model.config.num_labels == {"values": 1}.get(kind, 2)

    again = ["--model_name_or_path", tmp_path / "out", "--validation_file", tmp_path / "validation.csv", "--do_eval"]
    assert run(*again, "--output_dir", tmp_path / "again", "--report_to", "none") == 0
    found = read_json(tmp_path / "again" / "eval_results.json")
    assert found["eval_loss"] == pytest.approx(results["eval_loss"], rel=1e-4)


def _check_predictions(kind: str, path: Path) -> None:
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    header, lines = DATA[kind]
    assert [row["index"] for row in rows] == [str(number) for number in range(2 * len(lines))]
    first = header.split(",")[0]
    assert [row[first] for row in rows] == [line.split(",")[0] for line in lines * 2]
    if kind == "values":
        assert "probability" not in rows[0]
        assert all(abs(float(row["prediction"])) < 10 for row in rows)
    elif kind == "switches":
        for row in rows:
            shares = json.loads(row["probability"])
            assert json.loads(row["prediction"]) == [name for name, share in shares.items() if share > 0.5]
            assert list(shares) == ["funny", "sad"]
    else:
        names = {line.split(",")[-1].removesuffix(".0") for line in lines}
        assert {row["prediction"] for row in rows} <= names
        assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_whole_scores_are_evaluated_by_a_model_of_values(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert run(*words_of(tiny_checkpoint, tmp_path, "values"), "--do_train", "--report_to", "none") == 0
    (tmp_path / "whole.csv").write_text("text,label\ngood,1\nbad,0\n")
    words = ["--model_name_or_path", tmp_path / "out", "--validation_file", tmp_path / "whole.csv", "--do_eval"]
    assert run(*words, "--report_to", "none", "--output_dir", tmp_path / "again") == 0
    assert "eval_mse" in read_json(tmp_path / "again" / "eval_results.json")


# The same run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data", "its training data are not these"),
        ("method", "--lora_r was 2 and is 4"),
        ("labels", "its training data are not these"),
        ("bitfit", "--apply_bitfit was False and is True"),
    ],
)
def test_another_run_does_not_go_on_from_this_one(
    change: str, said: str, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words_of(tiny_checkpoint, tmp_path, "classes"), "--do_train", "--save_steps", "2", "--report_to", "none"]
    assert run(*words) == 0
    weights = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    capsys.readouterr()
    if change in ("data", "labels"):
        write(tmp_path / "train.csv", "classes" if change == "data" else "numbers", swap=True)
    more = {"method": ["--lora_r", "4"], "bitfit": ["--apply_bitfit"]}.get(change, [])
    assert run(*words, *more) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in line
    assert "--overwrite_output_dir to start anew" in line
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == weights
    assert run(*words, *more, "--overwrite_output_dir") == 0


def test_a_copy_of_the_data_elsewhere_is_the_same_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = [*words_of(tiny_checkpoint, tmp_path, "classes"), "--do_train", "--save_steps", "2", "--report_to", "none"]
    assert run(*words) == 0
    copy = tmp_path / "copy.tsv"
    copy.write_text((tmp_path / "train.csv").read_text().replace(",", "\t"))
    assert run(*words, "--train_file", copy, "--max_steps", "4") == 0
    assert read_json(tmp_path / "out" / "trainer_state.json")["global_step"] == 4


def test_repeating_a_finished_command_changes_no_figure(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words_of(tiny_checkpoint, tmp_path, "classes"), "--do_train", "--do_eval", "--save_steps", "2"]
    assert run(*words, "--report_to", "none") == 0
    names = ("train_results.json", "all_results.json", "run_record.json")
    before = {name: read_json(tmp_path / "out" / name) for name in names}
    capsys.readouterr()
    assert run(*words, "--report_to", "none") == 0
    said = capsys.readouterr().err
    assert "nothing was left to train" in said
    assert "new until they are trained" not in said, "the checkpoint brings the head"
    assert "starting values until" not in said
    after = {name: read_json(tmp_path / "out" / name) for name in names}
    for content in (before, after):
        content["all_results.json"] = {
            key: value
            for key, value in content["all_results.json"].items()
            if "second" not in key and "runtime" not in key
        }
    assert after["train_results.json"] == before["train_results.json"]
    assert after["run_record.json"]["metrics"] == before["run_record.json"]["metrics"]

    for lost in (["trainer_state.json"], ["trainer_state.json", "all_results.json"], ["run_record.json"]):
        texts = {name: (tmp_path / "out" / name).read_text() for name in lost}
        for name in lost:  # as after a kill between two files of the end
            (tmp_path / "out" / name).unlink()
        assert run(*words, "--report_to", "none") == 0
        for name, text in texts.items():
            assert _figures(read_json(tmp_path / "out" / name)) == _figures(json.loads(text)), name


def _figures(content: Any) -> Any:
    """Leave out of a record what measures time and memory, which no second run repeats."""
    if isinstance(content, list):
        return [_figures(item) for item in content]
    if not isinstance(content, dict):
        return content
    names = [name for name in content if not re.search(r"second|minutes|runtime|_mem_|date|time|logging_dir", name)]
    return {name: _figures(content[name]) for name in names}


def test_an_evaluation_beside_a_training_leaves_its_figures(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = words_of(tiny_checkpoint, tmp_path, "classes")
    assert run(*words, "--do_train", "--do_eval", "--report_to", "none") == 0
    names = ("eval_results.json", "all_results.json", "run_record.json")
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    other = ["--validation_file", write(tmp_path / "other.csv", "classes", 1), "--do_eval", "--report_to", "none"]
    assert run("--model_name_or_path", tmp_path / "out", *other, "--output_dir", tmp_path / "out") == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == before
    assert read_json(tmp_path / "out" / "run_record_eval.json")["metrics"]["eval_samples"] == 2


# Flags ----------------------------------------------------------------------------------------------------------


def test_every_field_of_a_method_has_a_flag() -> None:
    from transformers import DebertaV2Config

    words = ("lora_", "adapter_", "apply_", "masking_prob", "reg_loss_wgt", "consistency", "cls_dropout")
    fields = [name for name in vars(DebertaV2Config()) if name.startswith(words)]
    assert {"lora_position_query", "lora_dropout", "adapter_size", "masking_prob"} <= set(fields)
    parser = HfArgumentParser((glue_arguments.ModelArguments, glue_arguments.DataTrainingArguments, TrainingArguments))
    assert [name for name in fields if f"--{name}" not in parser._option_string_actions] == []


def test_the_position_query_is_set_for_deberta_and_refused_elsewhere(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words_of(tiny_checkpoint, tmp_path, "classes"), "--do_train", "--report_to", "none"]
    assert run(*words, "--lora_position_query") == 2
    assert "is DeBERTa's, and" in capsys.readouterr().err


# The curve ------------------------------------------------------------------------------------------------------


def test_a_run_shorter_than_logging_steps_has_a_point(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = [*words_of(tiny_checkpoint, tmp_path, "classes"), "--do_train", "--do_eval", "--report_to", "none"]
    assert run(*words) == 0
    history = read_json(tmp_path / "out" / "trainer_state.json")["log_history"]
    losses, _ = read_curves(history, "accuracy")
    assert [step for step, _ in losses] == [2]
    assert (tmp_path / "out" / "learning_curve.png").stat().st_size > 1000


def test_the_best_model_s_evaluation_is_no_point_of_the_last_step(tmp_path: Path) -> None:
    history = [
        {"step": 1, "loss": 0.5},
        {"step": 1, "eval_accuracy": 0.9},
        {"step": 2, "loss": 0.4},
        {"step": 2, "eval_accuracy": 0.6},
        {"step": 2, "train_loss": 0.45},
        {"step": 2, "eval_accuracy": 0.9},
    ]
    assert read_curves(history, "accuracy") == ([(1, 0.5), (2, 0.4)], [(1, 0.9), (2, 0.6)])
    assert draw_curve(history, "accuracy", "Demo: tiny", tmp_path / "curve.png", best_step=1) is not None
    assert draw_curve([], "accuracy", "Demo: tiny", tmp_path / "none.png") is None


# Any folder -----------------------------------------------------------------------------------------------------


def test_the_script_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--do_train"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "run_glue.py: error:" in done.stderr
    assert "Traceback" not in done.stderr
