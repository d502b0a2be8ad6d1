"""run_glue.py as its users run it: every task, files of their own, an adapter's next life, and bad input."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run_glue
from glue_tasks import TASKS
from transformers import AutoModelForSequenceClassification, AutoTokenizer

SCRIPT = Path(run_glue.__file__)
LORA = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4"]
QUICK = ["--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none", "--disable_tqdm", "true"]


def run(*words: object) -> int:
    """Run the script's main here; give its exit code."""
    try:
        return run_glue.main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def read_predictions(path: Path) -> list[list[str]]:
    with path.open() as file:
        return list(csv.reader(file, delimiter="\t"))


# Tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_evaluates_and_predicts(
    task: str, tiny_glue: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    data = ["--task_name", task, "--glue_dataset", tiny_glue]
    words = ["--model_name_or_path", tiny_checkpoint, *LORA, *QUICK, *data, "--do_train", "--do_eval", "--do_predict"]
    assert run(*words, "--output_dir", output) == 0

    results = json.loads((output / "eval_results.json").read_text())
    for metric in TASKS[task].metrics:
        assert math.isfinite(results[f"eval_{metric}"])
    if task == "mnli":
        assert "eval_accuracy_mm" in results
    for title in TASKS[task].titles:
        rows = read_predictions(output / f"{title}.tsv")
        assert rows[0] == ["index", "prediction"]
        assert [int(row[0]) for row in rows[1:]] == list(range(100, 107))
        _check_spelling(task, {row[1] for row in rows[1:]})
    assert (output / "adapter_model.safetensors").is_file()
    assert not (output / "model.safetensors").exists(), "a LoRA run must not save another copy of the base"
    table = capsys.readouterr().out
    assert TASKS[task].title in table
    assert "trained / all values" in table


def _check_spelling(task: str, predictions: set[str]) -> None:
    """The GLUE server reads class names for the entailment tasks, values for STS-B, numbers for the rest."""
    if not TASKS[task].labels:
        assert all(0 <= float(value) <= 5 and len(value.partition(".")[2]) == 3 for value in predictions)
    elif TASKS[task].predict_names:
        assert predictions <= set(TASKS[task].labels)
    else:
        assert predictions <= {str(number) for number in range(len(TASKS[task].labels))}


def test_real_glue_is_read(shared_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    data = ["--task_name", "mrpc", "--glue_dataset", shared_data / "glue", "--max_eval_samples", "20"]
    data += ["--max_train_samples", "20", "--do_train", "--do_eval", "--max_seq_length", "64"]
    words = ["--model_name_or_path", tiny_checkpoint, *QUICK, *data]
    assert run(*words, "--output_dir", tmp_path / "out") == 0
    results = json.loads((tmp_path / "out" / "eval_results.json").read_text())
    assert results["eval_samples"] == 20


# Files of one's own ---------------------------------------------------------------------------------------------


def write_csv(path: Path, rows: list[tuple[object, ...]], header: str = "sentence,label") -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files that fit together, and the many that do not."""
    good: list[tuple[object, ...]] = [("the film was good", "up"), ("the film was awful", "down")] * 6
    folder = tmp_path / "files"
    folder.mkdir()
    made = {
        "train": write_csv(folder / "train.csv", good),
        "validation": write_csv(folder / "validation.csv", good[:5]),
        "test": write_csv(folder / "test.csv", [(text,) for text, _ in good[:3]], "sentence"),
        "unseen": write_csv(folder / "unseen.csv", [("the film was fine", "sideways")]),
        "no-label": write_csv(folder / "no-label.csv", [("text",)], "sentence"),
        "no-text": write_csv(folder / "no-text.csv", [(1, 2)], "number,label"),
        "no-rows": write_csv(folder / "no-rows.csv", []),
        "hole": write_csv(folder / "hole.csv", [*good, ("", "up")]),
        "values": write_csv(folder / "values.csv", [("good", 1.5), ("bad", 0.5)] * 4),
    }
    made["empty"] = folder / "empty.csv"
    made["empty"].touch()
    made["broken"] = folder / "broken.json"
    made["broken"].write_text("{not json")
    made["jsonl"] = folder / "train.jsonl"
    made["jsonl"].write_text("".join(json.dumps({"premise": t, "other": t, "label": n}) + "\n" for t, n in good))
    return made


def test_files_train_and_the_adapter_goes_on_alone(
    files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    output, words = tmp_path / "out", ["--model_name_or_path", tiny_checkpoint, *LORA, *QUICK]
    data = ["--train_file", files["train"], "--validation_file", files["validation"]]
    assert run(*words, *data, "--do_train", "--do_eval", "--output_dir", output) == 0
    model = AutoModelForSequenceClassification.from_pretrained(output)
    assert model.config.id2label == {0: "down", 1: "up"}
    assert (
        AutoTokenizer.from_pretrained(output)("good")["input_ids"]
        == AutoTokenizer.from_pretrained(tiny_checkpoint)("good")["input_ids"]
    )

    # What the report proposes as the next command: predict with nothing but the adapter's folder.
    words = ["--model_name_or_path", output, "--test_file", files["test"], "--do_predict", "--output_dir", output]
    assert run(*words) == 0
    predictions = read_predictions(output / "predictions.tsv")
    assert [row[0] for row in predictions] == ["index", "0", "1", "2"]
    assert {row[1] for row in predictions[1:]} <= {"up", "down"}


def test_a_lora_run_over_a_full_one_leaves_no_other_model(
    files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["--model_name_or_path", tiny_checkpoint, *QUICK, "--train_file", files["train"], "--do_train"]
    words += ["--output_dir", output, "--overwrite_output_dir"]
    assert run(*words) == 0
    assert (output / "model.safetensors").is_file()
    assert run(*words, *LORA) == 0
    assert not (output / "model.safetensors").exists()
    assert AutoModelForSequenceClassification.from_pretrained(output).config.apply_lora
    assert run(*words) == 0
    assert not AutoModelForSequenceClassification.from_pretrained(output).config.apply_lora


def test_values_mean_regression(files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ["--model_name_or_path", tiny_checkpoint, *LORA, *QUICK, "--do_train", "--do_eval"]
    data = ["--train_file", files["values"], "--validation_file", files["values"]]
    assert run(*words, *data, "--output_dir", tmp_path / "out") == 0
    results = json.loads((tmp_path / "out" / "eval_results.json").read_text())
    assert results["eval_mse"] == pytest.approx(results["eval_loss"], rel=1e-4)


def test_pairs_from_json_lines_and_flags_from_a_file(
    files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    flags = {
        "model_name_or_path": str(tiny_checkpoint),
        "train_file": str(files["jsonl"]),
        "apply_lora": True,
        "lora_r": 2,
        "lora_alpha": 4,
        "do_train": True,
        "max_steps": 1,
        "report_to": ["none"],
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "flags.json").write_text(json.dumps(flags))
    assert run(tmp_path / "flags.json") == 0
    assert (tmp_path / "out" / "adapter_config.json").is_file()


def test_padding_changes_nothing(files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path) -> None:
    losses = []
    for number, padding in enumerate(([], ["--pad_to_max_length"])):
        words = ["--model_name_or_path", tiny_checkpoint, *LORA, "--do_eval", "--seed", "3", "--report_to", "none"]
        data = ["--validation_file", files["validation"], "--train_file", files["train"], "--do_train", *QUICK]
        output = tmp_path / f"out{number}"
        assert run(*words, *data, "--max_seq_length", "32", *padding, "--output_dir", output) == 0
        losses.append(json.loads((output / "all_results.json").read_text())["train_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_run_goes_on_where_it_stopped(files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path) -> None:
    def words(output: Path, steps: int) -> list[object]:
        start = ["--model_name_or_path", tiny_checkpoint, *LORA, "--train_file", files["train"], "--do_train"]
        limits = ["--save_steps", "2", "--logging_steps", "1", "--per_device_train_batch_size", "4"]
        quiet = ["--report_to", "none", "--disable_tqdm", "true"]
        return [
            *start,
            *limits,
            *quiet,
            "--max_steps",
            steps,
            "--lr_scheduler_type",
            "constant",
            "--output_dir",
            output,
        ]

    assert run(*words(tmp_path / "whole", 6)) == 0
    assert run(*words(tmp_path / "parts", 4)) == 0
    assert run(*words(tmp_path / "parts", 6)) == 0
    files_of = [tmp_path / name / "adapter_model.safetensors" for name in ("whole", "parts")]
    assert files_of[0].read_bytes() == files_of[1].read_bytes()


# From task to task ----------------------------------------------------------------------------------------------


def test_an_adapter_starts_another_task(
    files: dict[str, Path], tiny_glue: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model_name_or_path", tiny_checkpoint, *QUICK, "--glue_dataset", tiny_glue, "--do_train"]
    assert run(*words, *LORA, "--task_name", "mnli", "--output_dir", tmp_path / "mnli") == 0
    more = ["--apply_lora", "--lora_path", tmp_path / "mnli", "--do_eval"]
    assert run(*words, *more, "--task_name", "rte", "--output_dir", tmp_path / "rte") == 0
    assert "its head has another shape, so the head here is new" in capsys.readouterr().err
    contradiction = ["--lora_r", "4", "--lora_alpha", "4", "--task_name", "rte", "--output_dir", tmp_path / "other"]
    assert run(*words, *more, *contradiction) == 2
    assert "was made with lora_r 2" in capsys.readouterr().err


# Bad input ------------------------------------------------------------------------------------------------------

Words = Callable[[dict[str, Path], Path, Path], list[object]]
TRAIN: Words = lambda files, model, tmp: ["--train_file", files["train"], "--do_train"]  # noqa: E731

BAD: dict[str, tuple[Words, str]] = {
    "unknown task": (lambda f, m, t: ["--task_name", "snli", "--do_train"], "choose from cola, mnli"),
    "unknown flag": (lambda f, m, t: ["--learning_rat", "1"], "did you mean --learning_rate?"),
    "nothing to do": (lambda f, m, t: ["--task_name", "rte"], "--do_train, --do_eval or --do_predict"),
    "no data": (lambda f, m, t: ["--do_train"], "--train_file"),
    "missing file": (lambda f, m, t: ["--train_file", "nowhere.csv", "--do_train"], "there is no such file"),
    "no label column": (lambda f, m, t: ["--train_file", f["no-label"], "--do_train"], "no column 'label'"),
    "no text column": (lambda f, m, t: ["--train_file", f["no-text"], "--do_train"], "no column of text"),
    "no rows": (lambda f, m, t: ["--train_file", f["no-rows"], "--do_train"], "holds no examples"),
    "empty file": (lambda f, m, t: ["--train_file", f["empty"], "--do_train"], "is empty"),
    "empty cell": (lambda f, m, t: ["--train_file", f["hole"], "--do_train"], "of row 13"),
    "broken JSON": (lambda f, m, t: ["--train_file", f["broken"], "--do_train"], "is not JSON"),
    "unseen label": (
        lambda f, m, t: [*TRAIN(f, m, t), "--validation_file", f["unseen"], "--do_eval"],
        "labels that training never sees: sideways",
    ),
    "alpha missing": (lambda f, m, t: [*TRAIN(f, m, t), "--apply_lora", "--lora_r", "4"], "--lora_alpha"),
    "negative r": (
        lambda f, m, t: [*TRAIN(f, m, t), "--apply_lora", "--lora_r", "-4", "--lora_alpha", "4"],
        "lora_r is -4",
    ),
    "r without LoRA": (lambda f, m, t: [*TRAIN(f, m, t), "--lora_r", "4"], "add --apply_lora"),
    "no such model": (lambda f, m, t: [*TRAIN(f, m, t), "--model_name_or_path", "./none"], "does not exist"),
    "no such adapter": (
        lambda f, m, t: [*TRAIN(f, m, t), "--apply_lora", "--lora_path", "none.bin"],
        "an adapter's folder or an original .bin file was expected",
    ),
    "output not empty": (lambda f, m, t: [*TRAIN(f, m, t), "--output_dir", f["train"].parent], "is not empty"),
    "output is a file": (lambda f, m, t: [*TRAIN(f, m, t), "--output_dir", f["train"]], "is a file"),
    "output is the model": (
        lambda f, m, t: [*TRAIN(f, m, t), "--output_dir", m, "--overwrite_output_dir"],
        "the folder of the model to start from",
    ),
    "other tokenizer": (lambda f, m, t: [*TRAIN(f, m, t), "--tokenizer_name", t / "big"], "do not belong together"),
    "other shape": (lambda f, m, t: [*TRAIN(f, m, t), "--config_name", t / "wide"], "of another shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_loses_nothing(
    name: str, files: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_misfits(tiny_checkpoint, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    make, expected = BAD[name]
    words = make(files, tiny_checkpoint, tmp_path)
    for flag, value in (("--model_name_or_path", tiny_checkpoint), ("--output_dir", tmp_path / "out")):
        words = words if flag in words else [*words, flag, value]
    assert run(*words, *QUICK) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert expected in said[0] or expected in " ".join(said)
    after = {path: path.read_bytes() for path in before}
    assert after == before, "bad input must not change a file"


def _write_misfits(tiny_checkpoint: Path, folder: Path) -> None:
    """Write a tokenizer with too many words, and a configuration of another width."""
    shutil.copytree(tiny_checkpoint, folder / "big")
    with (folder / "big" / "vocab.txt").open("a") as file:
        file.write("surplus\n")
    (folder / "wide").mkdir()
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    (folder / "wide" / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))


def test_a_process_of_its_own_says_it_in_one_line(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ["--model_name_or_path", tiny_checkpoint, "--train_file", "nowhere.csv", "--do_train", "--output_dir", "o"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "run_glue.py: error: --train_file nowhere.csv: there is no such file.\n"
    assert list(tmp_path.glob("*")) in ([], [tmp_path / "datasets-cache"])


def test_help_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    for word in ("--lora_r", "--task_name", "--learning_rate", "how LoRA goes in"):
        assert word in text
