"""run_ner.py as its users run it: from files to the next commands, on and on, and with bad input."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from script_runs import LORA, quietly, read_json, runner

import run_ner
from ner_files import read_sentences
from ner_scores import score
from transformers import AutoModelForTokenClassification, pipeline

SCRIPT = Path(run_ner.__file__)
QUIET = quietly(4)
run = runner(run_ner)
GOOD = "the O\nfilm B-WORK\nwas O\n\nanna B-PER\nbad I-PER\nwas O\nvery O\ngood O\n\n" * 4


@pytest.fixture
def start(tiny_checkpoint: Path, tmp_path: Path) -> list[object]:
    """Write sentences, and begin a command that trains on them."""
    (tmp_path / "train.txt").write_text(GOOD)
    return [
        "--model_name_or_path",
        tiny_checkpoint,
        *LORA,
        *QUIET,
        "--train_file",
        tmp_path / "train.txt",
        "--do_train",
    ]


def test_training_evaluation_prediction_and_every_next_command(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    validation, test, out = tmp_path / "validation.jsonl", tmp_path / "test.txt", tmp_path / "out"
    rows = [(["the", "film", "\u00ad"], ["O", "B-PER", "I-PER"])]
    rows += [(["anna", "bad", "was", "very", "good"], ["B-PER", "I-PER", "O", "O", "O"])]
    validation.write_text("".join(json.dumps({"tokens": words, "ner_tags": tags}) + "\n" for words, tags in rows))
    test.write_text(GOOD[: GOOD.index("\n\n") + 2])
    words = [*start, "--validation_file", validation, "--test_file", test, "--do_eval", "--do_predict"]
    words += ["--lora_target_modules", "all-linear", "--max_steps", "40", "--learning_rate", "3e-2"]
    assert run(*words, "--output_dir", out) == 0
    printed = capsys.readouterr()
    assert "of 8 words the tokenizer leaves nothing of 1 (such as '\\xad' in the sentence of row 1)" in printed.err
    for word in ("strict f1", "f1 PER", "f1 WORK", "trained / all values"):
        assert word in printed.out

    results = read_json(out / "eval_results.json")
    assert results["eval_recall"] == 0.5, "the entity whose second word is lost is missed; the other is learned"
    assert results["eval_accuracy"] == pytest.approx(6 / 8)
    predicted = read_sentences(str(out / "predictions.txt"))
    assert predicted.words == [["the", "film", "was"]]
    found = score([["O", "B-WORK", "O"]], predicted.tags or [], strict=True)
    assert read_json(out / "predict_results.json")["predict_f1"] == found["f1"] == 1.0
    assert AutoModelForTokenClassification.from_pretrained(out).config.id2label[0] == "O"
    assert not (out / "model.safetensors").exists(), "a LoRA run must not save another copy of the base"
    record = (out / "run_record.json").read_bytes()

    lines = printed.out.partition("\nNext:\n")[2].rstrip().splitlines()
    steps = {line[:16].strip(): line[16:].strip() for line in lines}
    assert set(steps) == {"predict", "use in Python"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SENTENCES.txt").write_text("the\nfilm\nwas\n\nanna\n")
    assert run(*shlex.split(steps["predict"])[2:], "--report_to", "none") == 0
    assert read_sentences(str(out / "predictions.txt")).words == [["the", "film", "was"], ["anna"]]
    assert (out / "run_record.json").read_bytes() == record, "a prediction leaves the training's record"
    [entity] = eval(steps["use in Python"], {"pipeline": pipeline})("the film was")
    assert (entity["entity_group"], entity["word"]) == ("WORK", "film")

    again = ["--model_name_or_path", out, "--validation_file", validation, "--do_eval", "--report_to", "none"]
    assert run(*again, "--output_dir", tmp_path / "again") == 0
    same = read_json(tmp_path / "again" / "eval_results.json")
    assert same["eval_strict_f1"] == results["eval_strict_f1"]
    assert same["eval_loss"] == pytest.approx(results["eval_loss"], rel=1e-4)


def test_a_share_of_the_training_sentences_and_the_best_weights(start: list[object], tmp_path: Path) -> None:
    best = ["--load_best_model_at_end", "--metric_for_best_model", "f1", "--evaluation_strategy", "epoch"]
    words = [*start, *best, "--save_strategy", "epoch", "--num_train_epochs", "1", "--validation_share", "0.25"]
    assert run(*words, "--do_eval", "--output_dir", tmp_path / "out", "--label_all_tokens") == 0
    results = read_json(tmp_path / "out" / "all_results.json")
    assert (results["train_samples"], results["eval_samples"]) == (6, 2)
    assert set(read_json(tmp_path / "out" / "run_identity.json")["data"]) == {"training", "validation"}


def test_a_run_goes_on_where_it_stopped_and_no_other_does(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*start, "--save_steps", "2", "--lr_scheduler_type", "constant", "--max_seq_length", "16"]
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "whole") == 0
    assert run(*words, "--max_steps", "4", "--output_dir", tmp_path / "parts") == 0
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "parts", "--pad_to_max_length") == 0
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    capsys.readouterr()
    other = [*words, "--max_steps", "8", "--output_dir", tmp_path / "parts"]
    assert run(*other, "--label_all_tokens") == 2
    said = capsys.readouterr().err
    assert "holds checkpoints of token classification, not of token classification with --label_all_tokens" in said
    (tmp_path / "train.txt").write_text(GOOD.replace("very O", "very I-PER"))
    assert run(*other) == 2
    assert "holds checkpoints of another run: its training data are not these" in capsys.readouterr().err


BAD: dict[str, tuple[list[str], str]] = {
    "nothing to train on": (["--do_train"], "give --train_file: sentences of columns (CoNLL) or JSON"),
    "nothing to evaluate on": (["--do_eval"], "give --validation_file"),
    "no such file": (["--train_file", "none.txt", "--do_train"], "--train_file none.txt: there is no such file"),
    "no tags": (["--train_file", "words.txt", "--do_train"], "'words.txt' has no tags"),
    "no such column": (["--train_file", "good.txt", "--do_train", "--label_column", "5"], "has 2 columns"),
    "no column's number": (["--train_file", "good.txt", "--do_train", "--label_column", "ner"], "a number from 1 on"),
    "no tag": (
        ["--train_file", "words.txt", "--do_train", "--label_column", "1", "--token_column", "1"],
        "Column 1 of",
    ),
    "all O": (["--train_file", "outside.txt", "--do_train"], "All tags of 'outside.txt' are 'O'"),
    "numbers": (["--train_file", "numbers.jsonl", "--do_train"], "say what they mean with --tag_names"),
    "a name twice": (["--train_file", "numbers.jsonl", "--do_train", "--tag_names", "O", "O"], "names 'O' twice"),
    "a tag that training never sees": (
        ["--train_file", "good.txt", "--validation_file", "other.txt", "--do_train", "--do_eval"],
        "The tag 'B-LOC' in line 2 of 'other.txt' is not among those of the training sentences: O, B-PER, I-PER",
    ),
    "longer than the model": (
        ["--train_file", "long.txt", "--do_train"],
        "'long.txt': The sentence in line 1 has 72 tokens, and the model reads 64",
    ),
    "a new head": (
        ["--validation_file", "generic.txt", "--do_eval"],
        "not among the model's labels: LABEL_0, LABEL_1",
    ),
    "a share of all": (["--train_file", "good.txt", "--do_train", "--validation_share", "1"], "between 0 and 1"),
    "another metric": (
        ["--train_file", "good.txt", "--do_train", "--metric_for_best_model", "acc"],
        "--metric_for_best_model acc is no metric of this task; it has loss, f1, precision, recall, accuracy",
    ),
    "padding to no length": (
        ["--train_file", "good.txt", "--do_train", "--pad_to_max_length"],
        "--pad_to_max_length needs --max_seq_length",
    ),
    "r without LoRA": (["--train_file", "good.txt", "--do_train", "--lora_r", "4"], "add --apply_lora"),
    "the output is a file": (["--train_file", "good.txt", "--do_train", "--output_dir", "good.txt"], "is a file"),
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
    Path("good.txt").write_text(GOOD)
    Path("words.txt").write_text("the\nfilm\n")
    Path("outside.txt").write_text("the O\nfilm O\n")
    Path("other.txt").write_text("the O\nfilm B-LOC\n")
    Path("generic.txt").write_text("the O\nfilm B-LOC\n")
    Path("numbers.jsonl").write_text('{"tokens": ["the", "film"], "ner_tags": [0, 1]}\n')
    Path("long.txt").write_text("film B-PER\n" + "the O\n" * 69)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, expected = BAD[name]
    output = [] if "--output_dir" in words else ["--output_dir", tmp_path / "out"]
    assert run("--model_name_or_path", tiny_checkpoint, *QUIET, "--max_steps", "2", *words, *output) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert expected in said[0]
    assert {path: path.read_bytes() for path in before} == before, "bad input must not change a file"


def test_a_sentence_is_cut_where_that_is_wanted(start: list[object], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "train.txt").write_text(GOOD + "film B-PER\n" + "the O\n" * 69)
    words = [*start, "--max_steps", "1", "--max_seq_length", "32", "--max_train_samples", "9"]
    assert run(*words, "--output_dir", tmp_path / "out") == 0
    assert "of 102 words 40 stand behind the first 32 tokens and are cut. Nothing" in capsys.readouterr().err
