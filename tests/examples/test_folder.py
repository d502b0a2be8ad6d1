"""The output folder: earlier runs in it, runs of another task, and folders that cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plain_signals import not_ignored

import run_glue
from common.folder import set_aside_earlier_run
from transformers import AutoTokenizer
from transformers.trainer_utils import get_last_checkpoint
from transformers.training.lock import locked_folder
from transformers.utils.writing import NotWrittenError

SCRIPT = Path(run_glue.__file__)


@pytest.fixture
def words(tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path) -> list[Any]:
    """Start a LoRA run on a GLUE task; the task, and what to do, follow."""
    model = ["--model_name_or_path", tiny_checkpoint, "--apply_lora", "--lora_r", 2, "--lora_alpha", 4]
    quiet = ["--report_to", "none", "--disable_tqdm", "true", "--per_device_train_batch_size", 4, "--no_cuda"]
    return [*model, *quiet, "--glue_dataset", tiny_glue, "--output_dir", tmp_path / "out"]


def run(*words: Any) -> int:
    return run_glue.main([str(word) for word in words])


def test_a_run_over_another_one_is_a_run_of_its_own(words: list[Any], tmp_path: Path) -> None:
    task = [*words, "--task_name", "sst2", "--do_train", "--do_eval"]
    assert run(*task, "--max_steps", 6, "--save_steps", 3) == 0
    first = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    again = ["--max_steps", 4, "--save_steps", 2, "--save_total_limit", 1, "--seed", 7]
    assert run(*task, *again, "--overwrite_output_dir") == 0
    second = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    assert second != first
    [aside] = (tmp_path / "out").glob("earlier-run-*")
    assert (aside / "checkpoint-6" / "adapter_model.safetensors").read_bytes() == first, "nothing is lost"
    assert "eval_accuracy" in json.loads((aside / "eval_results.json").read_text())
    assert get_last_checkpoint(str(tmp_path / "out")) == str(tmp_path / "out" / "checkpoint-4")
    assert run(*task, *again) == 0, "the same command again"
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == second, "goes on from its own end"


@pytest.mark.parametrize(
    ("flags", "recorded"),
    [
        (["--use_auth_token", "hf_secretvalue"], "<USE_AUTH_TOKEN>"),
        (["--token=hf_secretvalue"], "<USE_AUTH_TOKEN>"),
        (["--use_auth_token"], True),
        ([], False),
    ],
)
def test_a_token_is_passed_on_and_in_no_file(
    words: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], recorded: bool | str
) -> None:
    expected = "hf_secretvalue" if isinstance(recorded, str) else (recorded or None)
    passed: list[Any] = []
    load = AutoTokenizer.from_pretrained

    def look(*args: Any, **kwargs: Any) -> Any:
        passed.append(kwargs["token"])
        return load(*args, **kwargs)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", look)
    task = ["--task_name", "sst2", "--do_train", "--max_steps", 1, "--save_strategy", "no"]
    assert run(*words, *task, *flags) == 0
    assert passed == [expected]
    record = json.loads((tmp_path / "out" / "run_record.json").read_text())
    assert record["model_arguments"]["use_auth_token"] == recorded
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"hf_secretvalue" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a" * 300, "error: File name too long: '"),
        ("a\0b", "holds a NUL byte; give it without"),
        ("a\udcffb", "holds bytes that are no UTF-8; give it without"),
    ],
)
def test_names_that_no_folder_has(
    words: list[Any], tmp_path: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*map(str, words), "--task_name", "sst2", "--do_train", "--output_dir", f"{tmp_path}/{name}"]
    try:
        code = run_glue.main(given)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert message in said
    assert "Errno" not in said
    assert not (tmp_path / "out").exists()


def test_runs_that_are_set_aside_in_one_second_stay_apart(tmp_path: Path) -> None:
    for content in ("one", "two", "three"):
        (tmp_path / "trainer_state.json").write_text(content)
        set_aside_earlier_run(tmp_path)
    assert not (tmp_path / "trainer_state.json").exists()
    assert sorted(path.read_text() for path in tmp_path.glob("earlier-run-*/trainer_state.json")) == [
        "one",
        "three",
        "two",
    ]


def test_a_lock_that_cannot_be_written_says_what_is_safe(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = r"could not be written \(Not a directory.*Nothing in it was changed"
    with pytest.raises(NotWrittenError, match=message), locked_folder(tmp_path / "file" / "out"):
        pass


def test_checkpoints_of_another_task(words: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "--task_name", "sst2", "--do_train", "--max_steps", 2, "--save_steps", 2) == 0
    assert run(*words, "--task_name", "cola", "--do_train", "--max_steps", 4) == 2
    assert "holds checkpoints of sst2, not of cola" in capsys.readouterr().err
    more = ["--do_train", "--max_steps", 4, "--learning_rate", 1e-3]
    assert run(*words, "--task_name", "sst2", *more) == 0
    assert "--learning_rate was 5e-05" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(words: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "--task_name", "sst2", "--do_train", "--output_dir", "/proc/none/out") == 2
    said = capsys.readouterr().err
    assert "--output_dir /proc/none/out cannot be written into" in said
    assert "Training on" not in said, "it was found out before the training"


def test_the_folder_is_looked_at_before_a_resumed_training(
    words: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = [*words, "--task_name", "sst2", "--do_train", "--max_steps", 2, "--save_steps", 2]
    assert run(*task) == 0
    (tmp_path / "file").touch()
    resume = ["--resume_from_checkpoint", tmp_path / "out" / "checkpoint-2", "--output_dir", tmp_path / "file"]
    capsys.readouterr()
    assert run(*task, *resume) == 2
    said = capsys.readouterr().err
    assert "is a file; a folder was expected" in said
    assert "Training on" not in said


def test_what_a_run_starts_from_is_not_moved_away(
    words: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = [*words, "--task_name", "sst2", "--do_train", "--max_steps", 2, "--save_steps", 2]
    assert run(*task) == 0
    start = ["--lora_path", tmp_path / "out" / "checkpoint-2", "--overwrite_output_dir"]
    assert run(*task, *start) == 2
    assert "--overwrite_output_dir moves it away" in capsys.readouterr().err
    assert (tmp_path / "out" / "checkpoint-2" / "adapter_model.safetensors").is_file()


def test_a_new_head_is_not_evaluated(
    words: list[Any], tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--task_name", "sst2", "--do_eval") == 2
    assert "is new for this task, so its predictions mean nothing: add --do_train" in capsys.readouterr().err
    assert run(*words, "--task_name", "mnli", "--do_train", "--max_steps", 1) == 0
    other = ["--glue_dataset", tiny_glue, "--report_to", "none", "--output_dir", tmp_path / "other", "--do_eval"]
    start = ["--model_name_or_path", tmp_path / "out", "--task_name", "sst2"]
    assert run(*start, *other) == 2
    assert f"Give its base as --model_name_or_path and '{tmp_path / 'out'}' as --lora_path" in capsys.readouterr().err


def test_a_head_of_other_classes(
    words: list[Any], tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--task_name", "sst2", "--do_train", "--max_steps", 1) == 0
    start = ["--model_name_or_path", tmp_path / "out", "--task_name", "rte", "--glue_dataset", tiny_glue]
    start += ["--report_to", "none", "--output_dir", tmp_path / "other"]
    capsys.readouterr()
    assert run(*start, "--do_eval") == 2
    assert "was trained for the classes negative, positive; this task's are entailment" in capsys.readouterr().err
    assert run(*start, "--do_train", "--max_steps", 1) == 0
    assert "its head is the start of one for entailment, not_entailment" in capsys.readouterr().err


def test_a_metric_that_no_evaluation_gives(words: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    best = ["--load_best_model_at_end", "--evaluation_strategy", "epoch", "--save_strategy", "epoch"]
    task = [*words, "--task_name", "mrpc", "--do_train", "--do_eval", *best]
    assert run(*task, "--metric_for_best_model", "acuracy") == 2
    assert "acuracy is no metric of this task; it has loss, accuracy, f1." in capsys.readouterr().err


def test_mismatched_mnli_keeps_its_own_figures(words: list[Any], tmp_path: Path) -> None:
    assert run(*words, "--task_name", "mnli", "--do_train", "--do_eval", "--max_steps", 1) == 0
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    results = json.loads((tmp_path / "out" / "eval_results.json").read_text())
    logged = {key: value for entry in history for key, value in entry.items()}
    assert sum("eval_accuracy" in entry for entry in history) <= 1, "matched figures are those of the matched set"
    assert {"eval_accuracy", "eval_accuracy_mm", "eval_loss", "eval_loss_mm"} <= set(results)
    assert not any(key.endswith("_mm") for key in logged)


@pytest.mark.slow
def test_control_c_says_what_there_is(words: list[Any], tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(SCRIPT.parents[2] / "src")
    task = ["--task_name", "sst2", "--do_train", "--max_steps", 100_000, "--save_steps", 20, "--save_total_limit", 2]
    command = [sys.executable, SCRIPT, *words, *task, "--logging_steps", 20, "--disable_tqdm", "false"]
    words = [str(word) for word in command]
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with not_ignored(signal.SIGINT):
        process = subprocess.Popen(words, env=environment, **pipes)
    while not (tmp_path / "out" / "checkpoint-40").is_dir():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said[-2000:]
    line = [line for line in said.splitlines() if "interrupted" in line][-1]
    assert "the same command goes on from" in line
    assert Path(line.rpartition("from ")[2].rstrip(".")).is_dir()
    assert "Traceback" not in said
