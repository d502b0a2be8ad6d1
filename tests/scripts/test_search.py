"""scripts/search.py: what a trial is, what is shared, what survives, and what is said."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("optuna")

import run_glue
import search
from searching.plan import make_plan
from searching.space import DEFAULT_SPACE, read_space
from searching.store import DEAD, DEAD_TWICE, ERROR, JOURNAL, Store

from .conftest import ROOT, SCRIPTS

RATES = ["--search", "learning_rate=1e-3:1e-1:log", "--search", "lora_r=2,4", "--search", "alpha_over_r=1,2"]

Words = Callable[..., list[str]]


@pytest.fixture
def words(tiny_roberta: Path, tiny_glue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Words:
    """A function that gives a search's command line; every data set's cache is this test's own."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def make(*more: object, folder: Path = tmp_path / "search") -> list[str]:
        fixed = ["--model_name_or_path", tiny_roberta, "--task_name", "mrpc", "--glue_dataset", tiny_glue]
        run = ["--apply_lora", "--num_train_epochs", 2, "--per_device_train_batch_size", 4, "--no_cuda", "--seed", 3]
        return [str(word) for word in (*fixed, *run, "--metric", "loss", "--output_dir", folder, *more)]

    return make


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "search.json").read_text())
    return content


def test_a_trial_is_the_run_of_its_command(words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--learning_rate", "0.01", "--lora_r", "4", "--lora_alpha", "4"]
    targets = ["--search", "lora_target_modules=query value,all-linear"]
    assert search.main(words(*RATES, *targets, *given, "--trials", 3, "--pruner", "none")) == 0
    said, found = capsys.readouterr().out, result(tmp_path / "search")
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE"] * 3
    first = found["trials"][0]["values"]
    assert {**first, "lora_target_modules": ""} == {
        **{"learning_rate": "0.01", "lora_r": "4", "alpha_over_r": "1", "lora_target_modules": ""}
    }
    assert len({json.dumps(trial["values"]) for trial in found["trials"]}) == 3
    for trial in found["trials"]:
        counts = trial["sources"]
        assert (counts["base_files_read"], counts["data_loaded"], counts["data_tokenized"]) == (1, 1, 1)
        assert counts["base_tensors_hashed"] == found["trials"][0]["sources"]["base_tensors_hashed"] > 0
    best = min(found["trials"], key=lambda trial: trial["value"])
    assert found["best"]["number"] == best["number"]
    assert found["best"]["command"] in said
    assert {trial["threads"] for trial in found["trials"]} == {torch.get_num_threads()}
    assert f"--num_threads {torch.get_num_threads()} " in found["best"]["command"]
    command = shlex.split(found["best"]["command"])[2:]
    for trial in (best, found["trials"][2]):
        values, output = trial["values"], tmp_path / f"run-{trial['number']}"
        flags = {"lora_alpha": f"{float(values['alpha_over_r']) * int(values['lora_r']):g}", **values}
        own = [word for name in flags if name != "alpha_over_r" for word in (f"--{name}", *flags[name].split())]
        ran = command if trial is best else [*command, *own]
        assert run_glue.main([*ran, "--output_dir", str(output)]) == 0
        assert json.loads((output / "eval_results.json").read_text())["eval_loss"] == trial["value"]
    kept = sorted(path.name for path in (tmp_path / "search" / "adapters").iterdir())
    assert kept == [f"trial-{best['number']}"]
    assert not list((tmp_path / "search" / "trials").iterdir())
    adapter = tmp_path / "search" / "adapters" / kept[0]
    line = [*words()[2:6], "--do_eval", "--no_cuda", "--output_dir", str(tmp_path / "again")]
    again = run_glue.main(["--model_name_or_path", str(adapter), *line])
    assert again == 0
    evaluated = json.loads((tmp_path / "again" / "eval_results.json").read_text())["eval_loss"]
    assert evaluated == pytest.approx(best["value"], abs=1e-6)
    assert (tmp_path / "search" / "trials.png").stat().st_size > 5000


def test_a_failed_trial_ends_alone_and_seeds_are_added(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = words("--search", "learning_rate=1e30,0.01,0.02", "--lora_r", 2, "--lora_alpha", 4, "--trials", 4)
    line += ["--load_best_model_at_end", "--metric_for_best_model", "loss"]
    assert search.main([*line, "--seeds", "3", "4", "5", "--top", "1"]) == 0
    said, found = capsys.readouterr().out, result(tmp_path / "search")
    states = {trial["values"]["learning_rate"]: trial["state"] for trial in found["trials"]}
    assert states.pop("1e+30", "FAIL") == "FAIL"
    assert "FAIL" not in states.values()
    assert ("failed: " in said) == any(trial["state"] == "FAIL" for trial in found["trials"])
    (several,) = found["seeds"]
    assert several["trial"] == found["best"]["number"]
    assert list(several["by_seed"]) == ["3", "4", "5"]
    assert several["by_seed"]["3"] == found["best"]["value"]
    assert len(set(several["by_seed"].values())) == 3
    assert several["median"] == sorted(several["by_seed"].values())[1]
    before = found["trials"]
    assert search.main([*line, "--seeds", "3", "4", "5", "--top", "1"]) == 0
    assert result(tmp_path / "search")["trials"] == before
    assert search.main([*line, "--lora_r", "4"]) == 2
    assert "holds a search in which lora_r is ['2'], not ['4']" in capsys.readouterr().err


def test_a_killed_search_goes_on_in_two_processes(words: Words, tmp_path: Path) -> None:
    line = words(*RATES, "--trials", 5, "--pruner", "none")
    command = [sys.executable, str(SCRIPTS / "search.py"), *line]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    lines = [killed.stdout.readline() for _ in range(2)]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert [re.match(r"trials (\d) \(\d done\): loss \d", line)[1] for line in lines] == ["0", "1"]  # type: ignore[index]
    before = Store(tmp_path / "search", "trials", "minimize").finished()
    other = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert search.main(line) == 0
    assert other.wait(timeout=120) == 0
    store = Store(tmp_path / "search", "trials", "minimize")
    after = {trial.number: trial for trial in store.trials()}
    for trial in before:
        assert (after[trial.number].value, after[trial.number].params) == (trial.value, trial.params)
    assert len(store.finished()) == 5
    dead = [trial for trial in after.values() if trial.user_attrs.get(ERROR) == DEAD]
    assert len(after) == 5 + len(dead)
    for trial in dead:  # its values were tried again
        assert [each.params for each in after.values()].count(trial.params) == 2
    assert not store.running()


def claim_and_die(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            with Store(folder, "trials", "minimize").claim(3) as claim:
                if claim is not None:
                    claim.trial.suggest_float("x", 0, 1)
                    os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_trial_whose_process_was_killed_is_made_again_once(tmp_path: Path) -> None:
    claim_and_die(tmp_path)
    store = Store(tmp_path, "trials", "minimize")
    (dead,) = store.running()
    with store.claim(3) as claim:
        assert claim is not None
        assert claim.trial.suggest_float("x", 0, 1) == dead.params["x"]
        assert Store(tmp_path, "trials", "minimize").running()[0].number == claim.trial.number
        with store.claim(1) as other:
            assert other is None  # this process is alive, so its trial is taken
        store.study.tell(claim.trial, 0.5)
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":4,"worker')
    store = Store(tmp_path, "trials", "minimize")
    assert [trial.user_attrs.get(ERROR) for trial in store.trials()] == [DEAD, None]
    assert store.study.best_value == 0.5
    store.study.enqueue_trial({"x": 0.25}, user_attrs={"again": 0})
    claim_and_die(tmp_path)
    with store.claim(3) as claim:
        assert claim is not None
        assert claim.trial.suggest_float("x", 0, 1) != 0.25
    assert store.trials()[2].user_attrs[ERROR] == DEAD_TWICE


# The space ------------------------------------------------------------------------------------------------------


def test_the_space_is_read_from_flags_and_files(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("learning_rate: {low: 1e-4, high: 1e-2, log: true}\nlora_r: [4, 8]\nbf16: [true, false]\n")
    space = read_space(["lora_r=8,16", "num_train_epochs=1:3"], str(file), {})
    assert space.describe() == {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "lora_r": ["8", "16"],
        "bf16": ["true", "false"],
        "num_train_epochs": {"low": 1, "high": 3},
    }
    assert read_space([], None, {"apply_lora": []}).describe()["lora_r"] == [str(r) for r in DEFAULT_SPACE["lora_r"]]
    values = {"lora_r": "8", "alpha_over_r": "1.5", "lora_target_modules": "query value"}
    flags = read_space(["lora_r=8", "alpha_over_r=1.5", "lora_target_modules=query value"], None, {}).flags_of(
        values, {}
    )
    assert flags == {"lora_r": ["8"], "lora_target_modules": ["query", "value"], "lora_alpha": ["12"]}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("learning_rat=1:2", "is no flag of run_glue.py"),
        ("seed=1,2", "what the search is about"),
        ("learning_rate=2:1", "low must be below high"),
        ("learning_rate=0:1:log", "above 0 for log"),
        ("lora_r=4,4", "choices that differ"),
        ("lora_r", "NAME=LOW:HIGH"),
    ],
)
def test_what_is_no_space_is_refused(entry: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read_space([entry], None, {})


def test_edges_are_told_where_something_lies_beyond() -> None:
    space = read_space(
        ["learning_rate=1e-4:1e-2:log", "lora_r=4,8,16", "warmup_ratio=0.0:0.2", "lora_init=pissa,olora"], None, {}
    )
    rate, r, warmup, init = space.settings
    assert [rate.edge(value) for value in ("0.0001", "0.00012", "0.001", "0.0099")] == [
        "lower",
        "lower",
        None,
        "upper",
    ]
    assert [r.edge(value) for value in ("4", "8", "16")] == ["lower", None, "upper"]
    assert [warmup.edge(value) for value in ("0.001", "0.1", "0.2")] == [None, None, "upper"]
    assert init.edge("pissa") is None


def test_what_is_given_must_lie_in_the_space(words: Words) -> None:
    with pytest.raises(ValueError, match="--learning_rate 1 lies outside"):
        make_plan(words(*RATES, "--learning_rate", "1"))
    with pytest.raises(ValueError, match="--metric bleu is no metric"):
        make_plan(words(*RATES, "--metric", "bleu"))
    with pytest.raises(ValueError, match="--push_to_hub is nothing for a search"):
        make_plan(words(*RATES, "--push_to_hub"))
    assert make_plan(words(*RATES)).metric == "eval_loss"


def test_ray_finds_the_trials_that_this_process_finds(words: Words, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found = {}
    for backend in ("ray", "optuna"):
        folder = tmp_path / backend
        line = words(*RATES, "--trials", 6, "--backend", backend, "--cpus_per_trial", 1, folder=folder)
        assert search.main(line) == 0
        found[backend] = result(folder)
    chosen = [[(t["state"], t["value"], t["values"]) for t in found[name]["trials"]] for name in found]
    assert chosen[0] == chosen[1]
    assert found["ray"]["best"]["number"] == found["optuna"]["best"]["number"]
    assert len({trial["sources"]["process"] for trial in found["ray"]["trials"]}) == 1
    assert {trial["sources"]["data_tokenized"] for trial in found["ray"]["trials"]} == {1}
