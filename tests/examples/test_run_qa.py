"""run_qa.py as its users run it: from files to the next commands, on and on, and with bad input."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from script_runs import LORA, quietly, read_json, runner
from served import in_process, write_adapter

import run_qa
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

SCRIPT = Path(run_qa.__file__)
WINDOWS = ["--max_seq_length", "32", "--doc_stride", "8"]
QUIET = quietly(4)
run = runner(run_qa)


def question(name: str, asked: str, context: str, *answers: str) -> dict[str, Any]:
    places = [context.index(answer) for answer in answers]
    return {"id": name, "question": asked, "context": context, "answers": {"text": answers, "answer_start": places}}


def questions(prefix: str, number: int, without: bool = True) -> list[dict[str, Any]]:
    """Ask what was good or bad of films, and of every third, of which nothing is said, who is very good."""
    rows = []
    for row in range(number):
        word = ("good", "bad", "fine", "awful")[row % 4]
        context = f"{'x ' * (row % 5)}the film {row} was {word}"
        if without and row % 3 == 2:
            rows.append(question(f"{prefix}{row}", "very not", f"the film {row} was not"))
        else:
            rows.append(question(f"{prefix}{row}", "the film was", context, word))
    return rows


def write(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture
def start(tiny_checkpoint: Path, tmp_path: Path) -> list[object]:
    """Write questions, and begin a command that trains on them."""
    train = write(tmp_path / "train.json", questions("t", 24))
    words = ["--model_name_or_path", tiny_checkpoint, *LORA, *QUIET, *WINDOWS, "--train_file", train, "--do_train"]
    return [*words, "--version_2_with_negative"]


def test_training_evaluation_prediction_and_every_next_command(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    out = tmp_path / "adapters" / "qa"
    long = "the film was " + "not " * 60 + "good"
    rows = [
        *questions("v", 9),
        question("lost", "the film was", long, long),
        question("far", "the film was", long, "good"),
    ]
    validation, test = write(tmp_path / "validation.json", rows), write(tmp_path / "test.json", questions("s", 4))
    words = [*start, "--validation_file", validation, "--test_file", test, "--do_eval", "--do_predict"]
    words += ["--lora_target_modules", "all-linear", "--max_steps", "200", "--learning_rate", "1e-2"]
    words += ["--max_answer_length", "9", "--n_best_size", "7"]
    assert run(*words, "--output_dir", out) == 0
    printed = capsys.readouterr()
    assert "the answers of 1 of 11 questions are in no window of 32 tokens" in printed.err
    for word in ("exact", "HasAns f1", "NoAns f1", "best f1 thresh", "trained / all values"):
        assert word in printed.out
    assert not (out / "model.safetensors").exists(), "a LoRA run must not save another copy of the base"
    check_answers(out, rows)
    monkeypatch.chdir(tmp_path)
    check_next_commands(printed.out, out)
    check_evaluation_anew(out, validation)


def check_answers(out: Path, rows: list[dict[str, Any]]) -> None:
    """Compare the answers with the questions', and the figures with the answers."""
    results = read_json(out / "eval_results.json")
    given, few, odds = answers_of(out)
    assert given["v0"] == "good"
    assert given["v2"] == ""
    assert given["far"] == "good", "in the last of several windows"
    assert list(given) == list(few) == list(odds) == [row["id"] for row in rows]
    wanted = {row["id"]: (row["answers"]["text"] or [""])[0] for row in rows}
    right = [given[name] == wanted[name] for name in given]
    assert results["eval_exact"] == pytest.approx(100 * sum(right) / len(right))
    assert results["eval_exact"] >= 80
    assert (results["eval_total"], results["eval_NoAns_total"]) == (11, 3)
    assert read_json(out / "null_threshold.json")["best_f1"] == results["eval_best_f1"]
    assert read_json(out / "predictions.json") == {"s0": "good", "s1": "bad", "s2": "", "s3": "awful"}
    assert read_json(out / "predict_results.json")["predict_exact"] == 100


def answers_of(out: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read an evaluation's answers, its second best ones, and by how much none at all scores more."""
    names = ("predictions", "nbest_predictions", "null_odds")
    given, few, odds = (read_json(out / f"eval_{name}.json") for name in names)
    return given, few, odds


def check_next_commands(printed: str, out: Path) -> None:
    """Do what a run says can be done next: predict, use the model in Python, serve it."""
    record = (out / "run_record.json").read_bytes()
    lines = printed.partition("\nNext:\n")[2].rstrip().splitlines()
    steps = {line[:16].strip(): line[16:].strip() for line in lines}
    assert set(steps) == {"predict", "use in Python", "serve"}
    assert "--n_best_size 7 --max_answer_length 9 " in steps["predict"], "as the run itself found answers"
    bare = [{"id": "a", "question": "the film was", "context": "the film 7 was bad"}]
    write(Path("QUESTIONS.json"), bare)
    assert run(*shlex.split(steps["predict"])[2:], "--report_to", "none") == 0
    assert read_json(out / "predictions.json") == {"a": "bad"}
    assert (out / "run_record.json").read_bytes() == record, "a prediction leaves the training's record"
    asked = {key: bare[0][key] for key in ("question", "context")}
    answer = eval(steps["use in Python"], {"pipeline": pipeline})(asked)
    assert answer["answer"] == "bad"
    folder = shlex.split(steps["serve"])
    assert folder[:3] == ["transformers-cli", "serve", "--adapters"]
    with in_process(Path(folder[3])) as client:
        served = client.post("/predict", json={"adapter": "qa", "inputs": asked}).json()
    assert served["outputs"]["answer"] == "bad"


def check_evaluation_anew(out: Path, validation: Path) -> None:
    """Evaluate what was trained once more, by the threshold of its folder and by another one."""
    _, few, odds = answers_of(out)
    threshold = read_json(out / "null_threshold.json")
    best_texts = {name: next(each["text"] for each in each_ if each["text"]) for name, each_ in few.items()}
    words = [
        "--model_name_or_path",
        out,
        "--validation_file",
        validation,
        "--do_eval",
        "--report_to",
        "none",
        *WINDOWS,
    ]
    words += ["--version_2_with_negative", "--output_dir"]
    assert run(*words, "again") == 0
    same = read_json(Path("again", "eval_results.json"))
    assert same["eval_f1"] == pytest.approx(threshold["best_f1"]), "with the threshold of the model's folder"
    chosen, others = threshold["null_score_diff_threshold"], read_json(Path("again", "eval_predictions.json"))
    assert others == {name: "" if odds[name] > chosen else text for name, text in best_texts.items()}
    assert run(*words, "none", "--null_score_diff_threshold", "-1000") == 0
    assert read_json(Path("none", "eval_results.json"))["eval_NoAns_f1"] == 100
    assert set(read_json(Path("none", "eval_predictions.json")).values()) == {""}


def test_answers_of_an_evaluation_are_those_of_its_figures(start: list[object], tmp_path: Path) -> None:
    rows, out = questions("v", 9), tmp_path / "out"
    file = write(tmp_path / "validation.json", rows)
    words = [*start, "--validation_file", file, "--test_file", file, "--do_eval", "--do_predict", "--max_steps", "1"]
    assert run(*words, "--output_dir", out) == 0
    odds, few = (read_json(out / f"eval_{name}.json") for name in ("null_odds", "nbest_predictions"))
    best = {name: next(each["text"] for each in each_ if each["text"]) for name, each_ in few.items()}
    chosen = read_json(out / "null_threshold.json")["null_score_diff_threshold"]
    assert any(min(0, chosen) < each <= max(0, chosen) for each in odds.values()), "the two thresholds must differ"
    for file_name, threshold in (("eval_predictions", 0), ("predictions", chosen)):
        wanted = {name: "" if odds[name] > threshold else text for name, text in best.items()}
        assert read_json(out / f"{file_name}.json") == wanted
    figures = read_json(out / "all_results.json")
    assert figures["predict_f1"] == pytest.approx(figures["eval_best_f1"])
    assert figures["eval_f1"] != pytest.approx(figures["eval_best_f1"])


def test_the_best_weights_of_version_1_and_texts_of_ones_own(start: list[object], tmp_path: Path) -> None:
    words = [word for word in start if word != "--version_2_with_negative"]
    write(tmp_path / "train.json", questions("t", 12, without=False))
    lines = "id,question,context,answer,answer_start\na,the film was,the film 1 was bad,bad,15\n"
    (tmp_path / "validation.csv").write_text(lines)
    words += ["--validation_file", tmp_path / "validation.csv", "--do_eval", "--pad_to_max_length"]
    words += ["--load_best_model_at_end", "--metric_for_best_model", "f1", "--evaluation_strategy", "epoch"]
    words += ["--save_strategy", "epoch", "--num_train_epochs", "2", "--max_train_samples", "8"]
    out = tmp_path / "out"
    assert run(*words, "--output_dir", out) == 0
    results = read_json(out / "all_results.json")
    assert results["eval_f1"] in (0, 100)
    assert results["eval_exact_match"] <= results["eval_f1"]
    assert (results["train_samples"], results["eval_total"]) == (8, 1)
    assert set(read_json(out / "run_identity.json")["data"]) == {"training", "validation"}
    assert not (out / "null_threshold.json").exists()
    assert not (out / "eval_null_odds.json").exists()
    before = (out / "eval_predictions.json").read_bytes()
    assert run(*words, "--overwrite_output_dir", "--max_steps", "1", "--output_dir", out) == 0
    [aside] = out.glob("earlier-run-*")
    assert (aside / "eval_predictions.json").read_bytes() == before


def test_a_run_goes_on_where_it_stopped_and_no_other_does(
    start: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*start, "--save_steps", "2", "--lr_scheduler_type", "constant"]
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "whole") == 0
    assert run(*words, "--max_steps", "4", "--output_dir", tmp_path / "parts") == 0
    assert run(*words, "--max_steps", "6", "--output_dir", tmp_path / "parts") == 0
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    capsys.readouterr()
    other = [*words, "--max_steps", "8", "--output_dir", tmp_path / "parts"]
    write(tmp_path / "train.json", questions("t", 23))
    assert run(*other) == 2
    assert "holds checkpoints of another run: its training data are not these" in capsys.readouterr().err
    write(tmp_path / "train.json", questions("t", 24, without=False))
    assert run(*(word for word in other if word != "--version_2_with_negative")) == 2
    said = capsys.readouterr().err
    assert "of question answering with --version_2_with_negative, not of question answering." in said


GOOD = questions("g", 4, without=False)
BAD: dict[str, tuple[list[str], str]] = {
    "nothing to train on": (["--do_train"], "give --train_file: questions with their contexts"),
    "nothing to evaluate on": (["--train_file", "good.json", "--do_train", "--do_eval"], "give --validation_file"),
    "no such file": (["--train_file", "none.json", "--do_train"], "--train_file none.json: there is no such file"),
    "another ending": (["--train_file", "good.txt", "--do_train"], "expected a file that ends in .csv, .tsv, .json"),
    "no answers": (["--train_file", "bare.json", "--do_train"], "'bare.json' has no answers"),
    "without an answer in version 1": (
        ["--train_file", "some.json", "--do_train"],
        "2 of the 6 questions of 'some.json' have no answer (the first is 's2'); --version_2_with_negative reads",
    ),
    "no answer at all": (
        ["--train_file", "empty.json", "--do_train", "--version_2_with_negative"],
        "None of the 1 questions of 'empty.json' has an answer",
    ),
    "an answer elsewhere": (["--train_file", "wrong.json", "--do_train"], "is not at character 1 of its context"),
    "an id twice": (["--train_file", "twice.json", "--do_train"], "has the id 'g0' twice, in its questions 1 and 5"),
    "broken JSON": (["--train_file", "broken.json", "--do_train"], "'broken.json' is not JSON"),
    "no UTF-8": (["--train_file", "latin.json", "--do_train"], "latin.json"),
    "a stride beyond the length": (
        ["--train_file", "good.json", "--do_train", "--doc_stride", "32"],
        "--doc_stride is 32; it is what two windows of --max_seq_length 32 tokens share",
    ),
    "a stride that leaves no room": (
        ["--train_file", "good.json", "--do_train", "--doc_stride", "26"],
        "'good.json': Question 'g0' has 3 tokens, which leaves 26 of a window of 32 for its context",
    ),
    "a threshold without version 2": (
        ["--train_file", "good.json", "--do_train", "--null_score_diff_threshold", "1"],
        "add --version_2_with_negative",
    ),
    "no answers to keep": (["--train_file", "good.json", "--do_train", "--n_best_size", "0"], "--n_best_size is 0"),
    "a new head": (["--validation_file", "good.json", "--do_eval"], "The head of"),
    "another metric": (
        ["--train_file", "good.json", "--do_train", "--metric_for_best_model", "exact"],
        "--metric_for_best_model exact is no metric of this task; it has loss, f1, exact_match",
    ),
    "consistency": (
        ["--train_file", "good.json", "--do_train", "--reg_loss_wgt", "1"],
        "for classifiers of whole texts",
    ),
    "the output is a file": (["--train_file", "good.json", "--do_train", "--output_dir", "good.json"], "is a file"),
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
    write(Path("good.json"), GOOD)
    write(Path("good.txt"), GOOD)
    write(Path("bare.json"), [{key: row[key] for key in ("question", "context")} for row in GOOD])
    write(Path("some.json"), questions("s", 6))
    write(Path("empty.json"), questions("s", 3)[2:])
    write(Path("wrong.json"), [{**GOOD[0], "answers": {"text": ["good"], "answer_start": [1]}}])
    write(Path("twice.json"), [*GOOD, GOOD[0]])
    Path("broken.json").write_text('{"version": "v2.0", "data": [{"paragraphs": [')
    Path("latin.json").write_bytes(b'[{"question": "Wh\x81o?", "context": "x"}]')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, expected = BAD[name]
    output = [] if "--output_dir" in words else ["--output_dir", tmp_path / "out"]
    assert run("--model_name_or_path", tiny_checkpoint, *QUIET, *WINDOWS, "--max_steps", "2", *words, *output) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(said) == 1
    assert expected in said[0]
    assert {path: path.read_bytes() for path in before} == before, "bad input must not change a file"


def test_the_first_command_of_the_page(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = SCRIPT.parents[2]
    [block] = re.findall(r"```bash\n(python .*?)```", (root / "docs" / "qa.md").read_text(), flags=re.DOTALL)
    words = shlex.split(block.replace("\\\n", " "))
    assert words[:2] == ["python", "examples/question-answering/run_qa.py"]
    replaced = {"models/minilm-roberta": str(minilm), "output/qa": str(tmp_path / "out")}
    monkeypatch.chdir(root)
    short = ["--max_steps", "1", "--max_val_samples", "4", "--report_to", "none"]
    assert run(*[replaced.get(word, word) for word in words[2:]], *short) == 0
    assert len(read_json(tmp_path / "out" / "predictions.json")) == 8


@pytest.mark.parametrize("labels", [2, 3])
def test_an_adapter_of_another_task_is_refused_and_is_a_start(
    labels: int, start: list[object], tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_adapter(tmp_path / "other", tiny_checkpoint, seed=1, labels=labels)
    AutoTokenizer.from_pretrained(tiny_checkpoint).save_pretrained(other)
    words = ["--model_name_or_path", other, *QUIET, *WINDOWS, "--train_file", tmp_path / "train.json", "--do_train"]
    assert run(*words, "--version_2_with_negative", "--max_steps", "1", "--output_dir", tmp_path / "out") == 2
    assert re.search("error: .*(--lora_path|Auto class of its task)", capsys.readouterr().err)
    words = [*start, "--lora_path", other, "--max_steps", "1", "--output_dir", tmp_path / "out"]
    assert run(*words) == 0
    assert AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out").config.num_labels == 2
