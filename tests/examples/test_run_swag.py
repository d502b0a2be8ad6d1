"""run_swag.py as its users run it: files of every form, from training to the next commands, and with bad input."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from pathlib import Path

import pytest
from script_runs import LORA, quietly, read_json, runner
from vocabularies import make_bert_vocabulary

import run_swag
from choice_data import CUT, encode_examples
from choice_files import Examples, read_examples
from common.files import read_table
from transformers import AutoModelForMultipleChoice, AutoTokenizer

SCRIPT = Path(run_swag.__file__)
DATA = SCRIPT.parent / "data"
QUIET = quietly(8)
run = runner(run_swag)
SWAG = ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n"
ROWS = [  # the right ending is the good one; one of the others is longer than ten tokens with its context
    '0,anet_1,7,"the film. it",the film was fine,the,gold,was good,was bad,was awful,"was bad, bad",0\n',
    '1,anet_2,8,"the film. it",the film was bad,the,gold,was awful,was good,"was bad, bad",was bad,1\n',
    '2,lsmdc_3,9,"the film. it",the film was not,the,gold,"was bad, bad",was bad,was good,was awful,2\n',
]


@pytest.fixture
def start(tiny_checkpoint: Path, tmp_path: Path) -> list[object]:
    """Write examples, and begin a command that trains on them."""
    (tmp_path / "train.csv").write_text(SWAG + "".join(ROWS * 4))
    model = ["--model_name_or_path", tiny_checkpoint, *LORA, *QUIET]
    return [*model, "--train_file", tmp_path / "train.csv", "--do_train"]


def test_training_evaluation_prediction_and_every_next_command(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    monkeypatch.chdir(tmp_path)
    test, out = tmp_path / "test.jsonl", tmp_path / "out"
    lines = [{"context": "the film was bad", "endings": ["the was good", "the was bad", "awful"], "label": 0}]
    lines.append({"context": "the film was fine", "endings": ["the was awful", "the was good", "not"], "label": 1})
    test.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [*start, "--validation_file", tmp_path / "train.csv", "--test_file", test, "--do_eval", "--do_predict"]
    words += ["--lora_target_modules", "all-linear", "--max_steps", "40", "--learning_rate", "1e-2"]
    assert run(*words, "--max_seq_length", "10", "--output_dir", out) == 0
    printed = capsys.readouterr()
    assert "12 of 48 texts (a context with an ending) have more than 10 tokens and are cut" in printed.err
    for word in ("accuracy", "trained / all values"):
        assert word in printed.out
    results = read_json(out / "eval_results.json")
    assert results["eval_accuracy"] > 0.6, "guessing gives 0.25"
    predicted = read_table(str(out / "predictions.tsv"))
    assert list(predicted.columns) == ["index", "prediction", "probability", "context", "ending"]
    assert predicted.columns["context"] == [line["context"] for line in lines]
    for row, line in enumerate(lines):
        assert predicted.columns["ending"][row] == line["endings"][int(str(predicted.columns["prediction"][row]))]
    right = [
        int(str(cell)) == line["label"] for cell, line in zip(predicted.columns["prediction"], lines, strict=True)
    ]
    assert read_json(out / "predict_results.json")["predict_accuracy"] == sum(right) / 2
    assert not (out / "model.safetensors").exists(), "a LoRA run must not save another copy of the base"

    steps = {
        line[:16].strip(): line[16:].strip() for line in printed.out.partition("\nNext:\n")[2].rstrip().splitlines()
    }
    assert set(steps) == {"predict", "use in Python"}
    (tmp_path / "EXAMPLES.csv").write_text("context,choice0,choice1\nthe film,was good,was bad\n")
    assert run(*shlex.split(steps["predict"])[2:], "--report_to", "none") == 0
    assert read_table(str(out / "predictions.tsv")).rows == 1
    assert eval(steps["use in Python"], {"AutoModelForMultipleChoice": AutoModelForMultipleChoice}).config.apply_lora

    again = ["--model_name_or_path", out, "--validation_file", tmp_path / "train.csv", "--do_eval", "--no_cuda"]
    again += ["--max_seq_length", "10", "--pad_to_max_length", "--report_to", "none"]
    assert run(*again, "--output_dir", tmp_path / "again") == 0
    same = read_json(tmp_path / "again" / "eval_results.json")
    assert same["eval_accuracy"] == results["eval_accuracy"]
    assert same["eval_loss"] == pytest.approx(results["eval_loss"], rel=1e-4)


def test_a_run_goes_on_where_it_stopped_and_no_other_does(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*start, "--save_steps", "2", "--lr_scheduler_type", "constant"]
    assert run(*words, "--max_steps", "4", "--output_dir", tmp_path / "whole") == 0
    assert run(*words, "--max_steps", "2", "--output_dir", tmp_path / "parts") == 0
    assert run(*words, "--max_steps", "4", "--output_dir", tmp_path / "parts") == 0
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    (tmp_path / "train.csv").write_text(SWAG + "".join(ROWS[:2] * 4))
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "parts") == 2
    assert "holds checkpoints of another run: its training data are not these" in capsys.readouterr().err


FORMS: dict[str, str] = {
    "swag.csv": SWAG + "0,a,1,s,Two men sit. ,They,gold,sing.,leave.,eat.,sleep.,2\n",
    "swag.jsonl": json.dumps(
        {"sent1": "Two men sit. ", "sent2": "They", "label": 2}
        | {f"ending{number}": text for number, text in enumerate(["sing.", "leave.", "eat.", "sleep."])}
    ),
    "own.tsv": "context\tchoice1\tchoice0\tchoice2\tchoice3\tlabel\n"
    "Two men sit. \tThey leave.\tThey sing.\tThey eat.\tThey sleep.\t2.0\n",
    "own.json": json.dumps(
        [
            {"question": "Two men sit. ", "label": 2}
            | {"choices": ["They sing.", "They leave.", "They eat.", "They sleep."]}
        ]
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_same_example(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FORMS[name])
    endings = ["They sing.", "They leave.", "They eat.", "They sleep."]
    assert read_examples(str(path)) == Examples(str(path), ["Two men sit. "], [endings], [2])


def test_every_number_of_endings_and_files_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for number in (2, 5, 12):
        names = [f"ending{index}" for index in range(number)]
        path.write_text(",".join(["sent1", *names]) + "\n" + ",".join("c" * (number + 1)) + "\n")
        found = read_examples(str(path), labelled=False)
        assert (len(found.endings[0]), found.labels) == (number, None)
    path.write_text("sent1,ending0,ending1,label\na,b,c,1\na,b,c,\n")
    assert read_examples(str(path), labelled=False).labels is None, "not all are there"


def test_texts_keep_their_choice_and_what_is_cut_is_counted(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_bert_vocabulary(tmp_path / "bert"))
    batch = {"context": ["The cat sat on the mat.", "a"], "endings": [["It ran.", "No"], ["b", "c"]]}
    encoded = encode_examples(batch, tokenizer, 10)
    for row, (context, endings) in enumerate(zip(batch["context"], batch["endings"], strict=True)):
        assert encoded["input_ids"][row] == [
            tokenizer(context, ending, truncation=True, max_length=10)["input_ids"] for ending in endings
        ]
    whole = [len(tokenizer(batch["context"][0], ending)["input_ids"]) > 10 for ending in batch["endings"][0]]
    assert encoded[CUT] == [sum(whole), 0]
    assert encoded[CUT][0] > 0


def test_the_shipped_examples_are_whole() -> None:
    contexts: list[set[str]] = []
    for name, number in (("train", 224), ("validation", 20), ("test", 12)):
        found = read_examples(str(DATA / f"{name}.csv"), labelled=name != "test")
        assert len(found.contexts) == number
        assert all(len(set(endings)) == 4 for endings in found.endings)
        contexts.append(set(found.contexts))
        with (DATA / f"{name}.csv").open(newline="") as file:
            assert next(csv.reader(file))[:2] == ["sent1", "sent2"]
    assert not (contexts[0] & contexts[1]) | (contexts[1] & contexts[2]) | (contexts[0] & contexts[2])


GOOD = "sent1,sent2,ending0,ending1,label\na,b,c,d,1\n"
BAD: dict[str, tuple[str, str, str]] = {
    "nothing to train on": ("", "--do_train", "give --train_file"),
    "no examples": ("a.csv", "sent1,ending0,ending1,label\n", "'a.csv' holds no examples"),
    "empty": ("a.csv", "", "'a.csv' is empty"),
    "no context": ("a.csv", "text,ending0,ending1,label\na,b,c,1\n", "'a.csv' has no column 'sent1' (or context,"),
    "no endings": ("a.csv", "sent1,label\na,1\n", "'a.csv' has no column 'ending0'; its columns are sent1, label"),
    "one ending": ("a.csv", "sent1,ending0,label\na,b,0\n", "'a.csv' has no column 'ending1'"),
    "an ending is lacking": ("a.csv", "sent1,ending0,ending2,label\na,b,c,0\n", "'a.csv' has no column 'ending1'"),
    "an empty ending": ("a.csv", "sent1,ending0,ending1,label\na,b,,0\n", "nothing in the column 'ending1' of row 1"),
    "no label": ("a.csv", "sent1,ending0,ending1\na,b,c\n", "'a.csv' has no column 'label'"),
    "an empty label": ("a.csv", "sent1,ending0,ending1,label\na,b,c,\n", "The label of row 1 of 'a.csv' is nothing"),
    "a label too large": (
        "a.csv",
        GOOD + "a,b,c,d,2\n",
        "The label of row 2 of 'a.csv' is '2', which names none of the 2 endings; a number from 0 to 1",
    ),
    "a label below 0": ("a.csv", GOOD.replace(",1\n", ",-1\n"), "is '-1', which names none of the 2 endings"),
    "no number": ("a.csv", GOOD.replace(",1\n", ",gold\n"), "is 'gold', which names none of the 2 endings"),
    "no list": ("a.jsonl", '{"context": "a", "endings": "b", "label": 0}\n', "is no list of two texts or more"),
    "lists of different length": (
        "a.jsonl",
        '[{"context": "a", "choices": ["b", "c"]}, {"context": "a", "choices": ["b", "c", "d"]}]',
        "Row 2 of 'a.jsonl' has 3 choices, and row 1 has 2",
    ),
    "an empty text in a list": ("a.jsonl", '{"context": "a", "endings": ["b", " "], "label": 0}\n', "an empty text"),
    "another ending of the name": ("a.txt", "a", "expected a file that ends in .csv, .tsv, .json, .jsonl"),
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
    file, content, expected = BAD[name]
    words = ["--do_train"]
    if file:
        Path(file).write_text(content)
        words += ["--train_file", file]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run("--model_name_or_path", tiny_checkpoint, *QUIET, *words, "--output_dir", tmp_path / "out") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert expected in said[0]
    assert {path: path.read_bytes() for path in before} == before, "bad input must not change a file"


def test_a_new_head_predicts_nothing_and_no_other_encoding_is_guessed(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD.replace("a,b", "é,b").encode("cp1252"))
    words = ["--model_name_or_path", tiny_checkpoint, "--validation_file", path, "--do_eval", "--no_cuda"]
    assert run(*words, "--file_encoding", "utf-8", "--output_dir", tmp_path / "out") == 2
    assert "cannot be read as utf-8" in capsys.readouterr().err
    assert run(*words, "--output_dir", tmp_path / "out") == 2
    assert "is new for this task" in capsys.readouterr().err
