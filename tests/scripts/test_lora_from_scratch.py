"""The article's run: its values on every task, what it refuses, and a tiny one to its table."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

import run_glue
import tasks_table
from transformers import AutoModelForSequenceClassification

from .conftest import ROOT, Launch

NAME = "lora_from_scratch"
TASKS = ("cola", "mrpc", "rte", "stsb", "sst2", "qnli", "qqp", "mnli", "squad")


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    """A folder with SQuAD's files, of a few questions."""
    folder = tmp_path / "squad"
    folder.mkdir()
    context = "the film was good and very fine"
    questions = [
        {"question": "what was good", "id": f"q{number}", "answers": [{"text": "the film", "answer_start": 0}]}
        for number in range(4)
    ]
    content = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": questions}]}]}
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        (folder / name).write_text(json.dumps(content))
    return folder


def test_every_task_is_trained_with_the_articles_values(launch: Launch, squad: Path, tmp_path: Path) -> None:
    ran = launch(NAME, "--max_train_samples", "9", cwd=tmp_path, DRY_RUN=1, SQUAD=squad, MODEL="m", GLUE_DATASET="g")
    assert ran.returncode == 0, ran.stderr
    commands = [shlex.split(line)[1:] for line in ran.stdout.splitlines() if line.startswith("  command")]
    assert len(commands) == len(TASKS)
    values = "--apply_lora --lora_r 8 --lora_alpha 8 --lora_bias all --lora_modules_to_save LayerNorm "
    values += "--learning_rate 5e-4 --num_train_epochs 6 --per_device_train_batch_size 16 --max_train_samples 9 "
    for task, command in zip(TASKS, commands, strict=True):
        said = " ".join([*command, ""])
        for flag in values.split("--")[1:]:
            assert f"--{flag}" in said, task
        assert (
            f"{ROOT}/examples/{'question-answering/run_qa' if task == 'squad' else 'text-classification/run_glue'}.py"
            in said
        )
        assert f"--output_dir {tmp_path}/output/{NAME}_{task} " in said
        warmup = float(command[command.index("--warmup_ratio") + 1])
        assert 6 * warmup == pytest.approx(2, abs=1e-6), "two of six epochs"
        assert "--lora_path" not in said, "every task starts from the model itself"
    assert f"--train_file {squad}/train-v1.1.json --validation_file {squad}/dev-v1.1.json" in " ".join(commands[-1])
    assert "--metric_for_best_model f1 " in " ".join(commands[-1])
    assert "--task_name" not in commands[-1]


BAD: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no SQuAD": ([], {"TASKS": "squad"}, "set SQUAD to the folder that holds train-v1.1.json and dev-v1.1.json"),
    "no files": (
        [],
        {"TASKS": "squad", "SQUAD": "."},
        "where one file train*.json or train-*.parquet was expected, not 0",
    ),
    "one folder": (["--output_dir", "here"], {}, "set OUTPUT_DIR in place of --output_dir"),
    "one task": (["--task_name", "rte"], {}, "set TASKS"),
    "no task": ([], {"TASKS": "snli"}, "'snli' is no GLUE task"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, launch: Launch, tmp_path: Path) -> None:
    words, variables, expected = BAD[case]
    ran = launch(NAME, *words, cwd=tmp_path, DRY_RUN=1, **variables)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert expected in ran.stderr


def test_what_a_later_task_lacks_is_said_before_the_first(launch: Launch, tmp_path: Path) -> None:
    ran = launch(NAME, cwd=tmp_path, TASKS="rte squad", MODEL="m", GLUE_DATASET="g")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "set SQUAD to the folder" in ran.stderr
    assert not (tmp_path / "output").exists()


def test_a_task_that_fails_ends_it_with_the_table_of_the_others(launch: Launch, tmp_path: Path) -> None:
    done = tmp_path / "output" / f"{NAME}_cola"
    done.mkdir(parents=True)
    ran = launch(NAME, cwd=tmp_path, TASKS="rte mrpc", MODEL=tmp_path / "none", GLUE_DATASET=tmp_path)
    assert ran.returncode == 2
    assert f"{NAME}_rte: RTE" in ran.stdout
    assert f"{NAME}_mrpc" not in ran.stdout
    assert "no finished run was found" in ran.stderr, "the table was to be made"


def test_help_is_said_once(launch: Launch, tmp_path: Path) -> None:
    ran = launch(NAME, "--help", cwd=tmp_path)
    assert ran.returncode == 0
    assert ran.stdout.count("usage:") == 1
    assert "TASKS" in ran.stdout


@pytest.mark.slow
def test_a_tiny_run_ends_with_the_table(
    launch: Launch,
    squad: Path,
    tiny_roberta: Path,
    tiny_glue: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    words = ["--max_steps", "2", "--evaluation_strategy", "steps", "--eval_steps", "2", "--save_strategy", "no"]
    words += ["--max_seq_length", "32", "--report_to", "none", "--disable_tqdm", "true", "--max_train_samples", "4"]
    folders = [tmp_path / "output" / f"{NAME}_{task}" for task in ("rte", "squad")]
    planned = launch(NAME, *words, cwd=tmp_path, DRY_RUN=1, TASKS="rte", MODEL=tiny_roberta, GLUE_DATASET=tiny_glue)
    command = next(line for line in planned.stdout.splitlines() if line.startswith("  command"))
    flags = [word for word in shlex.split(command)[3:] if word != "--load_best_model_at_end"]
    assert run_glue.main(flags) == 0
    words += ["--doc_stride", "8", "--load_best_model_at_end", "false"]
    ran = launch(NAME, *words, cwd=tmp_path, TASKS="squad", SQUAD=squad, MODEL=tiny_roberta)
    assert ran.returncode == 0, ran.stderr[-3000:]
    table = ran.stdout[ran.stdout.index("| task ") :]
    assert [line.split(" | ")[0] for line in table.splitlines()[2:4]] == ["| RTE", "| SQuAD"]
    assert " F1, " in table
    assert "on a part of the examples" in table

    capsys.readouterr()
    assert tasks_table.main([str(folder) for folder in folders]) == 0
    assert capsys.readouterr().out == table
    model = AutoModelForSequenceClassification.from_pretrained(folders[0])
    encoder = [parameter for name, parameter in model.named_parameters() if name.startswith("roberta.")]
    trained = sum(parameter.numel() for parameter in encoder if parameter.requires_grad)
    row = tasks_table.read_row(folders[0])
    assert row is not None
    assert row.trained == trained
    assert row.megabytes == pytest.approx(4 * trained / 1e6)
    assert tasks_table.main([str(tmp_path / "squad")]) == 2
    assert "no finished run was found" in capsys.readouterr().err
