"""run_mlm.py as its users run it: from texts to a classifier that starts from what was learned, and with bad input."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path

import pytest
from script_runs import LORA, quietly, read_json, runner

import run_glue
import run_mlm
from transformers import AutoModelForMaskedLM, pipeline

SCRIPT = Path(run_mlm.__file__)
QUIET = quietly(4)
run = runner(run_mlm)
TEXTS = "the film was good\nthe film was very bad\n\nthe film was not fine not awful\n" * 8


@pytest.fixture
def start(tiny_checkpoint: Path, tmp_path: Path) -> list[object]:
    """Write texts, and begin a command that trains on them."""
    (tmp_path / "train.txt").write_text(TEXTS)
    model = ["--model_name_or_path", tiny_checkpoint, *LORA, *QUIET, "--max_seq_length", "16"]
    return [*model, "--train_file", tmp_path / "train.txt", "--do_train"]


def test_from_texts_to_a_classifier_that_starts_from_what_was_learned(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    monkeypatch.chdir(tmp_path)
    validation, out = tmp_path / "validation.jsonl", tmp_path / "out"
    validation.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS.split("\n")[:9] if text))
    words = [*start, "--validation_file", validation, "--do_eval", "--whole_word_mask", "--mlm_probability", "0.3"]
    words += ["--lora_target_modules", "all-linear", "--max_steps", "60", "--learning_rate", "1e-1"]
    assert run(*words, "--evaluation_strategy", "steps", "--eval_steps", "30", "--output_dir", out) == 0
    printed = capsys.readouterr()
    assert "24 texts with 128 tokens fill 11 sequences of up to 16 tokens." in printed.err
    for word in ("perplexity", "mask accuracy", "trained / all values"):
        assert word in printed.out
    results = read_json(out / "eval_results.json")
    assert results["eval_perplexity"] == pytest.approx(math.exp(results["eval_loss"]))
    assert results["eval_perplexity"] < 20, "of a vocabulary of 86"
    history = read_json(out / "trainer_state.json")["log_history"]
    seen = [row["eval_perplexity"] for row in history if "eval_perplexity" in row]
    assert seen[-1] == results["eval_perplexity"], "the masks of an evaluation are always the same"
    assert not (out / "model.safetensors").exists(), "a LoRA run must not save another copy of the base"
    assert AutoModelForMaskedLM.from_pretrained(out).sparse_prediction is False

    again = ["--model_name_or_path", out, "--validation_file", validation, "--do_eval", "--report_to", "none"]
    again += ["--whole_word_mask", "--mlm_probability", "0.3", "--max_seq_length", "16", "--seed", "7", "--no_cuda"]
    assert run(*again, "--per_device_eval_batch_size", "1", "--output_dir", tmp_path / "again") == 0
    same = read_json(tmp_path / "again" / "eval_results.json")
    for name in ("eval_perplexity", "eval_mask_accuracy", "eval_loss"):
        assert same[name] == pytest.approx(results[name], rel=1e-5), "whatever the seed and the batches"

    capsys.readouterr()
    lines = printed.out.partition("\nNext:\n")[2].rstrip().splitlines()
    steps = {line[:16].strip(): line[16:].strip() for line in lines}
    assert set(steps) == {"classify", "use in Python"}
    found = eval(steps["use in Python"], {"pipeline": pipeline})("the film was [MASK]")
    assert len(found) == 5
    Path("LABELLED.csv").write_text("text,label\n" + "good film,1\nbad film,0\n" * 4)
    classify = shlex.split(steps["classify"])
    assert Path(classify[1]).resolve() == Path(run_glue.__file__).resolve()
    assert runner(run_glue)(*classify[2:], *QUIET, "--max_steps", "1") == 0
    said = capsys.readouterr().err
    assert "its 24 LoRA matrices; its head is another task's, so the head here is new" in said
    assert read_json(tmp_path / "out-classifier" / "run_record.json")["holds_adapter"]


ADAPTER = ["--apply_adapter", "--adapter_type", "pfeiffer", "--adapter_size", "8"]
STARTS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "adapters": (ADAPTER, ("its 2 bottleneck adapters",)),
    "adapters and LoRA": ([*ADAPTER, *LORA], ("its 2 bottleneck adapters", "its 8 LoRA matrices")),
    "all of the model": ([], ("",)),
    "biases": (["--apply_bitfit"], ()),  # there is no flag to start from them
}


@pytest.mark.parametrize("way", STARTS)
def test_the_command_that_goes_on_does(
    way: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.txt").write_text(TEXTS)
    Path("LABELLED.csv").write_text("text,label\n" + "good film,1\nbad film,0\n" * 4)
    flags, started = STARTS[way]
    words = ["--model_name_or_path", tiny_checkpoint, *flags, *QUIET, "--max_seq_length", "16"]
    words += ["--train_file", "train.txt", "--do_train", "--max_steps", "1"]
    assert run(*words, "--output_dir", tmp_path / "out") == 0
    lines = capsys.readouterr().out.partition("\nNext:\n")[2].splitlines()
    commands = [line[16:].strip() for line in lines if line.startswith("  classify")]
    assert len(commands) == bool(started)
    for command in commands:
        assert runner(run_glue)(*shlex.split(command)[2:], *QUIET, "--max_steps", "1") == 0
        said = capsys.readouterr().err
        assert all(part in said for part in started)


@pytest.mark.parametrize("loaders", [0, 1])
def test_a_run_goes_on_where_it_stopped_and_no_other_does(
    loaders: int, start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*start, "--save_steps", "2", "--lr_scheduler_type", "constant", "--dataloader_num_workers", loaders]
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "whole") == 0
    assert run(*words, "--max_steps", "4", "--output_dir", tmp_path / "parts") == 0
    words[words.index("--dataloader_num_workers") + 1] = 0  # masks do not depend on who loads
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "parts", "--pad_to_max_length") == 0
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    capsys.readouterr()
    other = [*words, "--max_steps", "8", "--output_dir", tmp_path / "parts"]
    assert run(*other, "--whole_word_mask") == 2
    assert "with 15.0% of the tokens hidden, not of masked language modelling with 15.0% of the words" in (
        capsys.readouterr().err
    )
    (tmp_path / "train.txt").write_text(TEXTS.replace("awful", "good"))
    assert run(*other) == 2
    assert "holds checkpoints of another run: its training data are not these" in capsys.readouterr().err


def test_a_share_of_the_texts_and_the_best_weights(start: list[object], tmp_path: Path) -> None:
    best = ["--load_best_model_at_end", "--metric_for_best_model", "perplexity", "--evaluation_strategy", "steps"]
    words = [*start, *best, "--eval_steps", "1", "--save_steps", "1", "--max_steps", "4", "--learning_rate", "0.5"]
    out = tmp_path / "out"
    assert run(*words, "--validation_split_percentage", "25", "--line_by_line", "--do_eval", "--output_dir", out) == 0
    results = read_json(out / "all_results.json")
    assert (results["train_samples"], results["eval_samples"]) == (18, 6)
    state = read_json(out / "trainer_state.json")
    seen = [row["eval_perplexity"] for row in state["log_history"] if "eval_perplexity" in row]
    assert state["best_metric"] == min(seen[:4]) < max(seen[:4])
    assert set(read_json(out / "run_identity.json")["data"]) == {"training", "validation"}


BAD: dict[str, tuple[list[str], str]] = {
    "nothing to train on": (["--do_train"], "give --train_file: texts, one a line"),
    "nothing to evaluate on": (["--do_eval"], "give --validation_file, or --train_file"),
    "no such file": (["--train_file", "none.txt", "--do_train"], "--train_file none.txt: there is no such file"),
    "an empty file": (["--train_file", "empty.txt", "--do_train"], "'empty.txt' holds no texts"),
    "blank lines alone": (["--train_file", "blank.txt", "--do_train"], "'blank.txt' holds no texts"),
    "no column": (
        ["--train_file", "other.csv", "--do_train"],
        "'other.csv' has no column 'text'; its columns are a, b",
    ),
    "no column in a line": (["--train_file", "rows.jsonl", "--do_train"], "Line 2 of 'rows.jsonl' has no 'text'"),
    "not UTF-8": (
        ["--train_file", "latin.txt", "--do_train", "--file_encoding", "utf-8"],
        "'latin.txt' cannot be read as utf-8",
    ),
    "no share": (["--train_file", "good.txt", "--do_train", "--mlm_probability", "0"], "--mlm_probability is 0.0"),
    "more than all": (["--train_file", "good.txt", "--do_train", "--mlm_probability", "1.5"], "is 1.5"),
    "longer than the model": (
        ["--train_file", "good.txt", "--do_train", "--max_seq_length", "512"],
        "--max_seq_length is 512, and the model reads 64 tokens",
    ),
    "too few to part off": (["--train_file", "few.txt", "--do_train", "--do_eval"], "too few texts to part 5 %"),
    "nothing to learn is drawn": (
        ["--train_file", "few.txt", "--do_train", "--mlm_probability=.01"],
        "No token of the training texts in 'few.txt' was drawn to be hidden",
    ),
    "nothing is drawn": (
        [
            "--train_file",
            "good.txt",
            "--do_train",
            "--validation_file",
            "few.txt",
            "--do_eval",
            "--mlm_probability=.01",
        ],
        "No token of the validation texts in 'few.txt' was drawn to be hidden",
    ),
    "all to evaluate on": (
        ["--train_file", "good.txt", "--do_train", "--do_eval", "--validation_split_percentage", "100"],
        "a whole number from 1 to 99",
    ),
    "a prediction": (["--train_file", "good.txt", "--do_predict"], 'pipeline("fill-mask")'),
    "a new head": (["--validation_file", "good.txt", "--do_eval"], "is new for this task"),
    "another metric": (
        ["--train_file", "good.txt", "--do_train", "--metric_for_best_model", "f1"],
        "f1 is no metric of this task; it has loss, perplexity, mask_accuracy",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_loses_nothing(
    name: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {
        "good.txt": TEXTS,
        "few.txt": "the film\n",
        "empty.txt": "",
        "blank.txt": "\n \n",
        "other.csv": "a,b\n1,2\n",
    }
    contents["rows.jsonl"] = '{"text": "good"}\n{"body": "bad"}\n'
    for file, content in contents.items():
        Path(file).write_text(content)
    Path("latin.txt").write_bytes("café".encode("cp1252"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, expected = BAD[name]
    command = ["--model_name_or_path", tiny_checkpoint, *QUIET, "--max_steps", "2", *words]
    assert run(*command, "--output_dir", tmp_path / "out") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert expected in said[0]
    assert {path: path.read_bytes() for path in before} == before, "bad input must not change a file"
    assert not (tmp_path / "out" / "run_identity.json").exists()
