"""The table of finished runs: real runs read back, and what may and may not be put together."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import glue_table
import run_glue
from glue_runs import Run, find_runs, read_run, summarize

LORA = {"apply_lora": True, "lora_r": 8, "lora_alpha": 16.0}
PUBLISHED_ROWS = {  # the whole rows, as the paper prints them
    "roberta-base": "87.5±.3 95.1±.2 89.7±.7 63.4±1.2 93.3±.3 90.8±.1 86.6±.7 91.5±.2 87.2",
    "roberta-large": "90.6±.2 96.2±.5 90.9±1.2 68.2±1.9 94.9±.3 91.6±.1 87.4±2.5 92.6±.2 89.0",
    "deberta-v2-xxlarge": "91.9±.2 96.9±.2 92.6±.6 72.4±1.1 96.0±.1 92.9±.1 94.9±.4 93.0±.2 91.3",
}


def write_run(
    folder: Path,
    task: str = "rte",
    metrics: dict[str, float] | None = None,
    history: list[float] | None = None,
    seed: int = 0,
    model: str = "roberta-base",
    data: dict[str, Any] | None = None,
    **training: Any,
) -> Path:
    """Write the files that a finished run leaves."""
    key = f"eval_{glue_table.TASKS[task].main_metric}"
    metrics = metrics if metrics is not None else {key: 0.5}
    record = {
        "task": task,
        "metrics": metrics,
        "model_arguments": {"model_name_or_path": model, **LORA},
        "data_arguments": {"max_seq_length": 128, **(data or {})},
        "training_arguments": {"seed": seed, **training},
    }
    folder.mkdir(parents=True)
    (folder / "run_record.json").write_text(json.dumps(record))
    rows = [{"epoch": float(epoch), key: value} for epoch, value in enumerate(history or (), start=1)]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": rows, "global_batch_size": 16}))
    return folder


def read(folder: Path) -> Run:
    run = read_run(folder)
    assert run is not None
    return run


# Scores ---------------------------------------------------------------------------------------------------------


def test_the_best_epoch_counts(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "run", history=[0.6, 0.8, 0.7], metrics={"eval_accuracy": 0.7, "epoch": 3.0}))
    assert (run.score, run.best_epoch) == (pytest.approx(80), 2.0)


def test_mnli_is_both_sets_by_their_examples(tmp_path: Path) -> None:
    metrics = {"eval_accuracy": 0.9, "eval_accuracy_mm": 0.6, "eval_samples": 100, "eval_samples_mm": 300}
    folder = write_run(tmp_path / "run", "mnli", metrics, [0.8, 0.9], load_best_model_at_end=True)
    run = read(folder)
    assert run.score == pytest.approx(67.5)
    assert run.best_epoch == 2.0


@pytest.mark.parametrize(
    ("task", "key"), [("cola", "matthews_correlation"), ("stsb", "pearson"), ("mrpc", "accuracy")]
)
def test_the_papers_metric_counts(task: str, key: str, tmp_path: Path) -> None:
    metrics = {f"eval_{key}": 0.25, "eval_f1": 0.9, "eval_spearmanr": 0.8, "eval_loss": 3.0}
    assert read(write_run(tmp_path / "run", task, metrics)).score == pytest.approx(25)


def test_a_prediction_afterwards_does_not_hide_the_training(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", metrics={}, history=[0.5], seed=42, model=str(tmp_path / "run"))
    (folder / "all_results.json").write_text(json.dumps({"eval_accuracy": 0.5, "epoch": 1.0}))
    (folder / "training_args.json").write_text(json.dumps({"seed": 3, "learning_rate": 1e-3}))
    metadata = {"base_model_name_or_path": "models/roberta-base", "lora_r": 4, "lora_alpha": 8.0}
    (folder / "lora_metadata.json").write_text(json.dumps(metadata))
    run = read(folder)
    assert (run.seed, run.model, run.method) == (3, "roberta-base", "LoRA r 4 alpha 8")
    assert dict(run.settings)["learning_rate"] == 1e-3


def test_a_saved_part_says_what_was_trained(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", model=str(tmp_path / "run"))
    methods = {"apply_adapter": True, "adapter_type": "pfeiffer", "adapter_size": 16, "apply_bitfit": True}
    metadata = {"base_model_name_or_path": "owner/base", "lora_r": None, "lora_alpha": None, "methods": methods}
    (folder / "trained_model.json").write_text(json.dumps(metadata))
    run = read(folder)
    assert (run.model, run.method) == ("base", "Pfeiffer adapter 16 + BitFit")


def test_what_is_no_finished_run_is_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path / "unfinished", metrics={"train_loss": 1.0})
    own = write_run(tmp_path / "own-files")
    (own / "run_record.json").write_text(json.dumps({"task": "train.csv", "metrics": {"eval_accuracy": 1.0}}))
    (tmp_path / "empty").mkdir()
    assert find_runs([tmp_path]) == []
    done = write_run(tmp_path / "deep" / "er" / "done")
    assert [run.folder for run in find_runs([tmp_path, tmp_path / "deep"])] == [done]


# Putting runs together ------------------------------------------------------------------------------------------


def test_median_and_spread() -> None:
    runs = [
        Run(Path(), "rte", "m", "LoRA", seed, score, None, (), False, 0.0)
        for seed, score in ((2, 80.0), (0, 90.0), (1, 84.0))
    ]
    summary = summarize(runs)
    assert summary.median == 84.0
    assert summary.spread == pytest.approx(statistics.stdev([80, 90, 84]))
    assert [run.seed for run in summary.runs] == [0, 1, 2]
    assert summarize(runs[:1]).spread is None
    with pytest.raises(ValueError, match="no finished runs"):
        summarize([])


def test_only_seeds_of_one_setting_are_put_together(tmp_path: Path) -> None:
    for seed, value in ((0, 0.5), (1, 0.7)):
        write_run(tmp_path / f"chosen-{seed}", metrics={"eval_accuracy": value}, seed=seed, learning_rate=4e-4)
    write_run(tmp_path / "other-rate", metrics={"eval_accuracy": 0.9}, seed=2, learning_rate=1e-3)
    write_run(tmp_path / "other-alpha", seed=3, learning_rate=4e-4)
    record = tmp_path / "other-alpha" / "run_record.json"
    record.write_text(record.read_text().replace("16.0", "8.0"))
    write_run(tmp_path / "no-column", "wnli")
    rows, notes = glue_table.collect(find_runs([tmp_path]))
    assert [(row.method, row.figures["rte"].median) for row in rows] == [
        ("LoRA r 8 alpha 16", pytest.approx(60)),
        ("LoRA r 8 alpha 8", pytest.approx(50)),
    ]
    assert len(notes) == 2
    assert "other-rate" in " ".join(notes)
    assert "WNLI" in " ".join(notes)


def test_of_two_runs_with_one_seed_the_newer_counts(tmp_path: Path) -> None:
    for name, value, age in (("newer", 0.8, 100), ("older", 0.6, 0)):
        folder = write_run(tmp_path / name, metrics={"eval_accuracy": value})
        os.utime(folder / "run_record.json", (1e9 + age, 1e9 + age))
    rows, notes = glue_table.collect(find_runs([tmp_path]))
    assert rows[0].figures["rte"].median == pytest.approx(80)
    assert len(notes) == 1
    assert "older" in notes[0]


# The table ------------------------------------------------------------------------------------------------------


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("model", PUBLISHED_ROWS)
def test_the_published_row_stands_below_ours(model: str, tmp_path: Path) -> None:
    for task in glue_table.COLUMNS:
        write_run(tmp_path / task, task, {f"eval_{glue_table.TASKS[task].main_metric}": 0.5}, model=f"someone/{model}")
    rows, _ = glue_table.collect(find_runs([tmp_path]))
    lines = glue_table.to_markdown(rows).splitlines()
    assert cells(lines[0]) == ["", "MNLI", "SST-2", "MRPC", "CoLA", "QNLI", "QQP", "RTE", "STS-B", "mean"]
    assert cells(lines[2]) == [f"{model}, LoRA r 8 alpha 16", *["50.0 (1)"] * 8, "50.0"]
    published = [cell.replace(" ± 0.", "±.").replace(" ± ", "±") for cell in cells(lines[3])[1:]]
    assert published == PUBLISHED_ROWS[model].split()


def test_no_mean_of_a_part_and_a_part_of_the_data_is_marked(tmp_path: Path) -> None:
    write_run(tmp_path / "rte", data={"max_val_samples": 5})
    rows, _ = glue_table.collect(find_runs([tmp_path]))
    text = glue_table.to_markdown(rows)
    row = cells(text.splitlines()[2])
    assert row[7] == "50.0 (1)†"
    assert row[-1] == ""
    assert "not comparable" in text


def test_the_paper_has_no_row_for_another_method(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "rte")
    record = json.loads((folder / "run_record.json").read_text())
    record["model_arguments"] |= {
        "apply_lora": False,
        "apply_adapter": True,
        "adapter_type": "houlsby",
        "adapter_size": 8,
    }
    (folder / "run_record.json").write_text(json.dumps(record))
    rows, _ = glue_table.collect(find_runs([tmp_path]))
    assert rows[0].method == "Houlsby adapter 8"
    assert rows[0].published is None


def test_markdown_and_picture_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", "cola", model="tiny")
    table, picture = tmp_path / "new" / "table.md", tmp_path / "new" / "table.png"
    assert glue_table.main([str(tmp_path / "runs"), "--output", str(table), "--picture", str(picture)]) == 0
    assert table.read_text() == capsys.readouterr().out
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert {(31, 119, 180)} <= {colour for _, colour in colours}, "our points are blue"


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["nowhere"], "nowhere is no folder"), (["."], "no finished GLUE run"), (["runs", "--picture", "t.xyz"], "xyz")],
)
def test_bad_input_is_one_line(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "runs":
        write_run(tmp_path / "runs" / "a")
    assert glue_table.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("glue_table.py: error: ")
    assert said.count("\n") == 1
    assert expected in said


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "run_record.json").write_text("{")
    with pytest.raises(ValueError, match=r"run_record\.json is damaged"):
        read_run(folder)


# Real runs ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_runs_become_the_table(
    tiny_glue: Path, tiny_roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    words = ["--model_name_or_path", tiny_roberta, "--glue_dataset", tiny_glue, "--do_train", "--do_eval"]
    words += ["--apply_lora", "--lora_r", 2, "--lora_alpha", 4, "--learning_rate", 0.1, "--num_train_epochs", 3]
    words += ["--evaluation_strategy", "epoch", "--report_to", "none", "--disable_tqdm", "true"]
    for task, seed in (("cola", 0), ("cola", 1), ("mnli", 0)):
        here = ["--task_name", task, "--seed", seed, "--output_dir", tmp_path / "out" / f"{task}-{seed}"]
        assert run_glue.main([str(word) for word in [*words, *here]]) == 0
    rows, notes = glue_table.collect(find_runs([tmp_path / "out"]))
    assert notes == []
    (row,) = rows
    assert (row.model, row.method) == ("roberta-tiny", "LoRA r 2 alpha 4")
    best = []
    for seed in (0, 1):
        history = json.loads((tmp_path / "out" / f"cola-{seed}" / "trainer_state.json").read_text())["log_history"]
        best.append(100 * max(entry.get("eval_matthews_correlation", -1) for entry in history))
    assert row.figures["cola"].median == pytest.approx(statistics.median(best))
    assert row.figures["cola"].spread == pytest.approx(statistics.stdev(best))
    results = json.loads((tmp_path / "out" / "mnli-0" / "eval_results.json").read_text())
    correct = 7 * results["eval_accuracy"] + 7 * results["eval_accuracy_mm"]  # seven examples in each set
    assert row.figures["mnli"].median == pytest.approx(100 * correct / 14)
