"""The report of a run: its figures are those of the predictions beside it, and a run never fails because of it."""

from __future__ import annotations

import csv
import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM
from scipy.stats import pearsonr, spearmanr
from script_runs import LORA, quietly, read_json, runner
from seqeval.metrics import classification_report, f1_score
from sklearn import metrics as sklearn_metrics

import run_glue
import run_mlm
import run_ner
import run_qa
import run_swag
from common.reporting.classified import describe_classified
from common.reporting.data_facts import Split, describe_data
from common.reporting.examples import Examples
from common.reporting.figures import plain
from common.reporting.flags import NO_REPORT
from common.reporting.page import make_page
from common.reporting.sections import show_sections

QUIET = [*quietly(4), *LORA, "--do_train", "--max_steps", "2"]
REPORT = ["--do_eval", "--report_predictions"]
NASTY = "<b>good</b> & \"bad\" <script>alert('!')</script>"
SECRET = "hf_SeCrEtSeCrEtSeCrEtSeCrEt"
TEXTS = "the film was good\nthe film was very bad\n\nthe film was not fine not awful\n" * 8
ENDINGS = [
    {"context": f"the film was {word}", "endings": ["the was good", "the was bad", "awful"], "label": row % 3}
    for row, word in enumerate(("good", "bad", "fine", "not") * 3)
]
WORDS = ("good", "bad", "fine", "the film", "awful", NASTY)


@pytest.fixture(autouse=True)
def _with_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs write reports, which all other tests do without."""
    monkeypatch.delenv(NO_REPORT)


class Page(HTMLParser):
    """Reads a page: whether its elements close in order, what is loaded, its headings."""

    VOID = ("meta", "link", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.headings: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "data", "poster")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def write_texts(path: Path, labels: list[Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((f"{WORDS[row % 6]} film {row}", label) for row, label in enumerate(labels))
    return path


def results_of(folder: Path, name: str = "report") -> tuple[dict[str, Any], list[dict[str, Any]], Page]:
    """Read a run's report, the evaluated examples and the page, and state what is so of any."""
    report, page = read_json(folder / f"{name}.json"), Page(folder / f"{name}.html")
    rows = [json.loads(line) for line in (folder / f"{name}_predictions.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == report["examples"]
    assert all(link.startswith(("#", "data:")) for link in page.loads), "nothing outside of the page"
    assert "script" not in page.tags
    assert {"Figures", "Data", "Settings"} <= set(page.headings)
    for name, value in read_json(folder / "eval_results.json").items():
        if name.removeprefix("eval_") in report["metrics"]:
            assert report["metrics"][name.removeprefix("eval_")]["value"] == pytest.approx(value, rel=1e-5), name
    return report, rows, page


def test_six_unbalanced_classes(tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [f"class {min(row % 17 % 9, 5)}" for row in range(60)]
    train = write_texts(tmp_path / "train.csv", labels)
    validation = write_texts(tmp_path / "validation.csv", [*labels[:30], *labels[31:45]])
    model, out = ["--model_name_or_path", tiny_checkpoint, *QUIET], tmp_path / "out"
    words = [*model, "--train_file", train, "--validation_file", validation, *REPORT, "--hub_token", "OpenSesame"]
    assert runner(run_glue)(*words, f"--token={SECRET}", "--max_seq_length", "8", "--output_dir", out) == 0
    report, rows, page = results_of(out)
    right, guess = [row["label"] for row in rows], [row["prediction"] for row in rows]
    names = report["confusion"]["labels"]
    matrix = sklearn_metrics.confusion_matrix(right, guess, labels=names)
    assert report["confusion"]["counts"] == matrix.tolist()
    expected = sklearn_metrics.classification_report(right, guess, labels=names, output_dict=True, zero_division=0)
    for each in report["classes"]:
        found = {name: each[name] for name in ("precision", "recall", "support")} | {"f1-score": each["f1"]["value"]}
        assert found == pytest.approx(expected[each["label"]], abs=1e-5)
    for row in rows:
        assert max(row["probabilities"], key=row["probabilities"].get) == row["prediction"]
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    sure = np.array([max(row["probabilities"].values()) for row in rows])
    assert report["calibration"]["confidence"] == pytest.approx(sure.mean(), abs=1e-5)
    wrong = sorted(
        (row for row in rows if row["label"] != row["prediction"]), key=lambda row: -max(row["probabilities"].values())
    )
    shown = report["mistakes"]["shown"]
    assert [each["texts"] for each in shown] == [row["texts"] for row in wrong[: len(shown)]]
    assert report["data"]["labels"]["train"] == {
        name: labels.count(name) for name in sorted(set(labels), key=lambda name: -labels.count(name))
    }
    assert report["data"]["duplicates"]["across"]["train → validation"] == 44
    assert report["data"]["duplicates"]["contradicting"] > 0
    assert 0 < report["data"]["lengths"]["validation"]["cut"] < 44
    assert {"Confusion", "Classes", "Calibration", "Parts of the data", "Surest mistakes"} <= set(page.headings)
    assert (out / "report.html").read_text().count("&lt;script&gt;alert(") >= 1
    assert f"python {report['command'].split()[1]} --model_name_or_path {tiny_checkpoint}" in report["command"]
    for path in out.glob("r*.*"):
        content = path.read_text(encoding="utf-8")
        assert SECRET not in content, path
        assert "OpenSesame" not in content, path

    before = {path: path.read_bytes() for path in out.glob("report*")}
    more = write_texts(tmp_path / "films.csv", labels[:20])
    again = ["--model_name_or_path", out, "--validation_file", validation, "--more_validation_files", more, *REPORT]
    again += ["--report_to", "none", "--max_seq_length", "8", "--output_dir", out]
    assert runner(run_glue)(*again) == 0
    assert {path: path.read_bytes() for path in before} == before, "an evaluation leaves the training's report"
    evaluated = read_json(out / "report_eval.json")
    assert "curves" not in evaluated
    assert evaluated["examples"] == 64
    parts = {each["name"]: each["figures"]["accuracy"]["value"] for each in evaluated["slices"]["source"]}
    figures = read_json(out / "run_record_eval.json")["metrics"]
    expected = {"validation": figures["eval_accuracy"], "films": figures["eval_accuracy_films"]}
    assert parts == pytest.approx(expected, abs=1e-5)
    assert parts["validation"] == report["metrics"]["accuracy"]["value"]
    assert figures["eval_samples_films"] == 20
    assert "f1 macro, films" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    same = write_texts(tmp_path / "other" / "films.csv", labels[:20])
    for files, says in (
        ([more, same], "'films' must be the name of one alone"),
        ([train], "none of train"),
        (["none.csv"], "no such file"),
    ):
        assert runner(run_glue)(*again, "--more_validation_files", *files) == 2
        assert says in capsys.readouterr().err


def test_a_regression(tiny_checkpoint: Path, tmp_path: Path) -> None:
    train = write_texts(tmp_path / "train.csv", [row % 7 / 2 + 0.25 for row in range(24)])
    words = ["--model_name_or_path", tiny_checkpoint, *QUIET, "--train_file", train, "--validation_file", train]
    assert runner(run_glue)(*words, *REPORT, "--output_dir", tmp_path / "out") == 0
    report, rows, page = results_of(tmp_path / "out")
    right, guess = (np.array([row[name] for row in rows]) for name in ("label", "prediction"))
    found = {name: each["value"] for name, each in report["metrics"].items()}
    assert found["pearson"] == pytest.approx(pearsonr(right, guess)[0], abs=1e-5)
    assert found["spearmanr"] == pytest.approx(spearmanr(right, guess)[0], abs=1e-5)
    assert found["mean_absolute_error"] == pytest.approx(np.abs(right - guess).mean(), abs=1e-5)
    largest = [abs(each["label"] - each["predicted"]) for each in report["largest_errors"]]
    assert largest == pytest.approx(sorted(np.abs(right - guess), reverse=True), abs=1e-5)
    assert {"Predicted and right", "Residuals", "Largest errors"} <= set(page.headings)


def test_several_classes_and_several_sources(tiny_checkpoint: Path, tiny_glue: Path, tmp_path: Path) -> None:
    train = write_texts(tmp_path / "train.csv", ['["a", "b"]', '["b"]', "[]", '["a", "c"]'] * 5)
    model = ["--model_name_or_path", tiny_checkpoint, *QUIET, *REPORT]
    files = ["--train_file", train, "--validation_file", train, "--output_dir", tmp_path / "out"]
    assert runner(run_glue)(*model, *files) == 0
    report, rows, page = results_of(tmp_path / "out")
    right, guess = ([[name in row[side] for name in "abc"] for row in rows] for side in ("label", "prediction"))
    expected = sklearn_metrics.precision_recall_fscore_support(right, guess, zero_division=0)
    assert [each["f1"]["value"] for each in report["classes"]] == pytest.approx(expected[2].tolist(), abs=1e-5)
    assert [each["support"] for each in report["classes"]] == [10, 10, 5]
    assert "Confusion" not in page.headings

    task = ["--task_name", "mnli", "--glue_dataset", tiny_glue, "--output_dir", tmp_path / "mnli"]
    assert runner(run_glue)(*model, *task) == 0
    report = read_json(tmp_path / "mnli" / "report.json")
    assert [each["name"] for each in report["slices"]["source"]] == ["validation_matched", "validation_mismatched"]
    rows = [json.loads(line) for line in (tmp_path / "mnli" / "report_predictions.jsonl").read_text().splitlines()]
    for each in report["slices"]["source"]:
        of_part = [row["label"] == row["prediction"] for row in rows if row["source"] == each["name"]]
        assert each["figures"]["accuracy"]["value"] == pytest.approx(np.mean(of_part), abs=1e-5)


def test_entities(tiny_checkpoint: Path, tmp_path: Path) -> None:
    sentence = "the O\nfilm B-WORK\nwas O\n\nanna B-PER\nbad I-PER\nwas O\nvery B-<b>\ngood O\n\n"
    (tmp_path / "train.txt").write_text(sentence * 4)
    words = ["--model_name_or_path", tiny_checkpoint, *QUIET, *REPORT, "--train_file", tmp_path / "train.txt"]
    words += ["--validation_file", tmp_path / "train.txt", "--max_steps", "12", "--learning_rate", "1e-2"]
    assert runner(run_ner)(*words, "--lora_target_modules", "all-linear", "--output_dir", tmp_path / "out") == 0
    report, rows, page = results_of(tmp_path / "out")
    right, guess = ([row[name] for row in rows] for name in ("label", "prediction"))
    assert report["metrics"]["f1"]["value"] == pytest.approx(f1_score(right, guess), abs=1e-5)
    expected = classification_report(right, guess, output_dict=True, zero_division=0)
    for each in report["classes"]:
        found = {name: each[name] for name in ("precision", "recall", "support")} | {"f1-score": each["f1"]["value"]}
        assert found == pytest.approx(expected[each["label"]], abs=1e-5)
    counts = np.array(report["confusion"]["counts"])
    assert counts[:-1].sum(axis=1).tolist() == [each["support"] for each in report["classes"]]
    assert report["entity_mistakes"]["number"] > 0
    assert report["entity_mistakes"]["number"] == sum(report["entity_mistakes"]["kinds"].values())
    assert {"Confusion", "Classes", "Calibration", "Surest mistakes"} <= set(page.headings)


def question(row: int) -> dict[str, Any]:
    """Ask what a film was; of every third nothing is said."""
    word, silent = ("good", "bad", "fine", "awful")[row % 4], row % 3 == 2
    context = f"{'x ' * (row % 5)}the film {row} was {'not' if silent else word}"
    answers = {"text": [], "answer_start": []} if silent else {"text": [word], "answer_start": [context.index(word)]}
    return {"id": f"q{row}", "question": "what was the film", "context": context, "answers": answers}


def test_answers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps([question(row) for row in range(12)]))
    words = ["--model_name_or_path", tiny_checkpoint, *QUIET, *REPORT, "--version_2_with_negative"]
    words += ["--max_seq_length", "16", "--doc_stride", "2", "--train_file", tmp_path / "train.json"]
    assert runner(run_qa)(*words, "--validation_file", tmp_path / "train.json", "--output_dir", tmp_path / "out") == 0
    report, rows, page = results_of(tmp_path / "out")
    assert {"f1", "exact", "HasAns_f1", "NoAns_exact"} <= set(report["metrics"]), "these equal eval_results.json"
    answered = np.array([bool(row["label"]) for row in rows])
    exact = np.array([row["exact_match"] for row in rows])
    assert report["metrics"]["HasAns_exact"]["value"] == pytest.approx(100 * exact[answered].mean(), abs=1e-4)
    given = json.loads((tmp_path / "out" / "eval_predictions.json").read_text())
    assert {row["id"]: row["prediction"] for row in rows} == given
    parts = {each["name"]: each for each in report["slices"]["answer"]}
    assert parts["has none"]["examples"] == (~answered).sum()
    assert {"Worst answers", "Calibration"} <= set(page.headings)


def test_endings_and_hidden_words(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(ENDINGS))
    (tmp_path / "train.txt").write_text(TEXTS)
    model = ["--model_name_or_path", tiny_checkpoint, *QUIET, *REPORT]
    for script, file in ((run_swag, "train.json"), (run_mlm, "train.txt")):
        out = tmp_path / script.__name__
        files = ["--train_file", tmp_path / file, "--validation_file", tmp_path / file, "--output_dir", out]
        assert runner(script)(*model, *files, "--max_seq_length", "16") == 0
        report, rows, _ = results_of(out)
        if script is run_swag:
            right = [row["label"] == row["prediction"] for row in rows]
            assert report["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right), abs=1e-5)
        else:
            found = sum(row["found"] for row in rows) / sum(row["hidden"] for row in rows)
            assert report["metrics"]["mask_accuracy"]["value"] == pytest.approx(found, abs=1e-5)


def test_many_classes_and_long_texts_make_no_large_page() -> None:
    generator = np.random.default_rng(5)
    logits, names = generator.normal(size=(3000, 400)), [f"class {number}" for number in range(400)]
    labels, long = generator.integers(0, 400, 3000), ["<&>" * 30_000] * 3000
    examples = Examples({"text": long}, np.full(3000, 128), np.ones(3000, bool), ["a"] * 3000)
    found = describe_classified(logits, labels, "single_label_classification", names, ("accuracy",), examples)
    cells = found["confusion"]["cells"]
    matrix = sklearn_metrics.confusion_matrix(labels, logits.argmax(axis=1), labels=range(400))
    assert (matrix[cells[:, 0], cells[:, 1]] == cells[:, 2]).all()
    assert cells[:, 2].sum() == 3000
    page = show(found)
    assert "The most frequent confusions of 400 classes" in page
    assert len(page) < 1_000_000


@pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium")
def test_a_narrow_window_shows_the_whole_page_and_runs_nothing(tmp_path: Path) -> None:
    labels = np.arange(60) % 12
    names = [f"{NASTY} {number} of the classes with a long name" for number in range(12)]
    examples = Examples({"text": [NASTY * 9] * 60}, labels + 3, np.zeros(60, bool), [NASTY] * 30 + ["b"] * 30)
    logits = np.eye(12)[labels[::-1]] * 3
    found = describe_classified(logits, labels, "single_label_classification", names, ("accuracy",), examples)
    measure = "<script>document.title = `${innerWidth} ${document.documentElement.scrollWidth}`</script></body>"
    (tmp_path / "page.html").write_text(show(found).replace("</body>", measure))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--window-size=500,900"]
    command = [CHROMIUM, *flags, "--dump-dom", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    inner, needed = done.stdout.partition("<title>")[2].partition("</title>")[0].split()
    assert int(needed) <= int(inner) <= 500
    assert done.stdout.count("<script>") == 1


# What goes wrong, and what is odd -----------------------------------------------------------------------------------


def test_a_run_does_not_fail_because_of_its_report(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, model, out = write_texts(tmp_path / "train.csv", ["x", "y"] * 6), tmp_path / "model", tmp_path / "out"
    words = ["--model_name_or_path", tiny_checkpoint, *QUIET, "--train_file", train, "--no_report_html"]
    assert runner(run_glue)(*words, "--output_dir", model) == 0
    assert not list(model.glob("report*")), "switched off"
    (out / "report.json").mkdir(parents=True)
    (out / "report.json" / "mine").write_text("what no file can take the place of")
    again = ["--model_name_or_path", model, "--validation_file", train, "--do_eval"]
    assert runner(run_glue)(*again, "--report_to", "none", "--output_dir", out) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "report.json" in line]
    assert line.startswith(f"The report could not be made ('{out / 'report.json'}' could not be written (")
    assert line.endswith("The run is complete without it.")
    assert (out / "run_record.json").is_file()
    assert not list(out.glob(".*")), "nothing unfinished is left"


def show(figures: dict[str, Any]) -> str:
    return make_page("odd", "", show_sections(plain(figures)))


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
@pytest.mark.parametrize("kind", ["none", "one", "all alike", "no numbers"])
def test_odd_data(problem: str, kind: str) -> None:
    number = {"none": 0, "one": 1}.get(kind, 9)
    outputs = 1 if problem == "regression" else 3
    logits = np.full((number, outputs), np.nan if kind == "no numbers" else 0.25)
    logits[:, 0] += 1
    labels = {"regression": np.full(number, 2.0), "multi_label_classification": np.zeros((number, 3))}
    right = labels.get(problem, np.zeros(number, dtype=int))
    examples = Examples({"text": [""] * number}, np.full(number, 4), np.zeros(number, bool), ["a"] * number)
    names = [] if problem == "regression" else ["x", "y", "z"]
    if kind == "no numbers" and problem == "regression":
        with pytest.raises(ValueError, match="finite"):  # which the run says in one line
            describe_classified(logits, right, problem, names, (), examples)
        return
    found = describe_classified(logits, right, problem, names, ("accuracy",), examples)
    assert found["examples"] == number
    assert ("metrics" in found) == (number > 0)
    found["data"] = describe_data({"a": Split([[""] * number])}, None)
    assert "NaN" not in json.dumps(plain(found))
    if number:
        assert "<svg" in show(found) or kind == "no numbers"
