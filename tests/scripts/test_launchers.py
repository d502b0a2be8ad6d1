"""The launchers: their values against the original's and the paper's, their errors, and each of them really run."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import run_glue
from glue_arguments import DataTrainingArguments, ModelArguments
from launch_batch import split_batch
from transformers import TrainingArguments

from .conftest import ROOT, SCRIPTS, Launch, command_of

TASKS = ("mnli", "sst2", "mrpc", "cola", "qnli", "qqp", "rte", "stsb")
MODELS = ("roberta_base", "roberta_large", "deberta_v2_xxlarge")
OTHERS = (
    "adapter_houlsby_roberta_large_mnli",
    "adapter_pfeiffer_roberta_large_mnli",
    "mnli.cutoff",
    "mnli.rdrop",
)
NAMES = (*(f"{model}_{task}" for model in MODELS for task in TASKS), *OTHERS)
FROM_MNLI = tuple(f"{model}_{task}" for model in MODELS for task in ("mrpc", "rte", "stsb"))


@pytest.fixture(scope="session")
def original(shared_data: Path) -> dict[str, dict[str, Any]]:
    path = shared_data / "microsoft-lora" / "launchers.json"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    content: dict[str, dict[str, Any]] = json.loads(path.read_text())
    return content


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """A folder with files that bear the published names."""
    folder = tmp_path / "adapters"
    folder.mkdir()
    for model in MODELS:
        (folder / f"{model}_lora_mnli.bin").touch()
    return folder


def plan(launch: Launch, name: str, *words: object, cwd: Path, **variables: object) -> dict[str, str | bool]:
    """Give the flags that a launcher would run with."""
    ran = launch(name, *words, cwd=cwd, DRY_RUN=1, **variables)
    assert ran.returncode == 0, ran.stderr
    assert not (cwd / "output").exists(), "a dry run writes nothing"
    return command_of(ran.stdout)[1]


# Values ---------------------------------------------------------------------------------------------------------


def test_the_launchers_are_the_originals(original: dict[str, dict[str, Any]]) -> None:
    assert set(NAMES) == set(original)
    found = {path.name.removesuffix(".sh") for path in SCRIPTS.glob("*.sh") if 'launch "$@"' in path.read_text()}
    assert found == set(original)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_the_originals(
    name: str, original: dict[str, dict[str, Any]], launch: Launch, adapters: Path, tmp_path: Path
) -> None:
    expected = dict(original[name])
    gpus = expected.pop("num_gpus")
    flags = plan(launch, name, cwd=tmp_path, NUM_GPUS=gpus, LORA_ADAPTERS=adapters)
    if "lora_path" in expected:  # the original's names are of files that nobody wrote or published
        model = name.rpartition("_")[0]
        assert flags.pop("lora_path") == str(adapters / f"{model}_lora_mnli.bin")
        del expected["lora_path"]
    if name.startswith("mnli."):
        assert flags.pop("consistency") == name.removeprefix("mnli.")
    assert flags.pop("gradient_accumulation_steps") == "1"
    own = {"do_train", "do_eval", "load_best_model_at_end", "metric_for_best_model", "save_total_limit", "output_dir"}
    assert {key: value for key, value in flags.items() if key not in own} == expected
    assert flags["output_dir"] == str(tmp_path / "output" / name)


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_list_the_values(name: str, launch: Launch, adapters: Path, tmp_path: Path) -> None:
    lines = (ROOT / "docs" / "launchers.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{name}` |")]
    batch, rate, epochs, warmup, decay, length, size, paper = (cell.strip() for cell in line.split("|")[2:-1])
    flags = plan(launch, name, cwd=tmp_path, NUM_GPUS=1, LORA_ADAPTERS=adapters)
    per_device, times = flags["per_device_train_batch_size"], flags["gradient_accumulation_steps"]
    assert int(batch) == int(per_device) * int(times)
    assert (rate, epochs, length) == (flags["learning_rate"], flags["num_train_epochs"], flags["max_seq_length"])
    assert warmup == flags.get("warmup_ratio", f"{flags.get('warmup_steps')} steps")
    assert decay == flags.get("weight_decay", "")
    lora = f"{flags.get('lora_r')} / {flags.get('lora_alpha')}"
    assert size == (f"{flags['adapter_type']} {flags['adapter_size']}" if "apply_adapter" in flags else lora)
    words = "" if paper == "same" else paper.strip("`")
    assert f"PAPER=({words})" in (SCRIPTS / f"{name}.sh").read_text()


# The paper's appendix, in the order of TASKS; what a row does not have is the launcher's own.
PAPER: dict[str, dict[str, str]] = {
    "roberta_base": {
        "per_device_train_batch_size": "16 16 16 32 32 16 32 16",
        "num_train_epochs": "30 60 30 80 25 25 80 40",
        "learning_rate": "5e-4 5e-4 4e-4 4e-4 4e-4 5e-4 5e-4 4e-4",
        "warmup_ratio": "0.06 " * 8,
        "lora_r": "8 " * 8,
        "lora_alpha": "8 " * 8,
        "max_seq_length": "512 " * 8,
    },
    "roberta_large": {
        "per_device_train_batch_size": "4 4 4 4 4 4 8 8",
        "num_train_epochs": "10 10 20 20 10 20 20 30",
        "learning_rate": "3e-4 4e-4 3e-4 2e-4 2e-4 3e-4 4e-4 2e-4",
        "warmup_ratio": "0.06 " * 8,
        "lora_r": "8 " * 8,
        "lora_alpha": "16 " * 8,
        "max_seq_length": "128 128 512 128 512 512 512 512",
    },
    "deberta_v2_xxlarge": {
        "per_device_train_batch_size": "8 8 32 4 6 8 4 4",
        "num_train_epochs": "5 16 30 10 8 11 11 10",
        "learning_rate": "1e-4 6e-5 2e-4 1e-4 1e-4 1e-4 2e-4 2e-4",
        "warmup_ratio": "0.1 " * 8,
        "weight_decay": "0 0.01 0.01 0 0.01 0.01 0.01 0.1",
        "cls_dropout": "0.15 0 0 0.1 0.1 0.2 0.2 0.2",
        "lora_r": "8 " * 8,
        "lora_alpha": "8 " * 8,
        "max_seq_length": "256 128 128 64 512 320 320 128",
    },
}


@pytest.mark.parametrize("model", MODELS)
def test_the_paper_profile_is_the_papers_table(model: str, launch: Launch, adapters: Path, tmp_path: Path) -> None:
    for index, task in enumerate(TASKS):
        name = f"{model}_{task}"
        gpus = 2 if name == "roberta_base_cola" else 8
        variables = {"cwd": tmp_path, "NUM_GPUS": gpus, "LORA_ADAPTERS": adapters}
        flags = plan(launch, name, "--profile", "paper", **variables)
        expected = {flag: values.split()[index] for flag, values in PAPER[model].items()}
        assert {flag: flags.get(flag) for flag in expected} == expected, name
        assert "warmup_steps" not in flags
        script = plan(launch, name, **variables)
        for profile, other in (("script", "paper"), ("paper", "script")):
            said = launch(name, "--profile", profile, DRY_RUN=1, **variables).stdout
            told = {line.split(";")[0] for line in said.splitlines() if f"with --profile {other}" in line}
            for flag in {**flags, **script}:
                differs = flags.get(flag) != script.get(flag)
                assert differs == any(f"--{flag} " in f"{line} " for line in told), f"{name}: --{flag}"


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_paper_does_not_have_is_refused(name: str, launch: Launch, tmp_path: Path) -> None:
    ran = launch(name, "--profile", "paper", cwd=tmp_path, DRY_RUN=1)
    assert ran.returncode == 2
    assert ran.stderr == f"{name}.sh: error: the paper's table does not have this run; use --profile script.\n"


# Batches and devices --------------------------------------------------------------------------------------------


@given(total=st.integers(1, 300), devices=st.integers(1, 9), usual=st.integers(1, 64))
def test_any_split_gives_the_whole_batch(total: int, devices: int, usual: int) -> None:
    if total % devices:
        with pytest.raises(ValueError, match="does not divide among"):
            split_batch(total, devices, usual)
        return
    batch = split_batch(total, devices, usual)
    assert batch.per_device * batch.devices * batch.accumulation == total
    assert batch.per_device <= usual


@given(total=st.integers(1, 100), devices=st.integers(1, 8), part=st.integers(1, 64), by_size=st.booleans())
def test_what_is_asked_for_is_given_or_refused(total: int, devices: int, part: int, by_size: bool) -> None:
    fixed = {"per_device": part} if by_size else {"accumulation": part}
    if total % (devices * part):
        with pytest.raises(ValueError, match=r"does not (divide|give)"):
            split_batch(total, devices, 8, **fixed)
        return
    batch = split_batch(total, devices, 8, **fixed)
    assert batch.total == total
    assert (batch.per_device if by_size else batch.accumulation) == part


@pytest.mark.parametrize(
    ("gpus", "per_device", "accumulation"), [(0, 16, 8), (1, 16, 8), (2, 16, 4), (4, 16, 2), (8, 16, 1)]
)
def test_devices_do_not_change_the_global_batch(
    gpus: int, per_device: int, accumulation: int, launch: Launch, tmp_path: Path
) -> None:
    ran = launch("roberta_base_mnli", cwd=tmp_path, NUM_GPUS=gpus, DRY_RUN=1)
    start, flags = command_of(ran.stdout)
    assert flags["per_device_train_batch_size"] == str(per_device)
    assert flags["gradient_accumulation_steps"] == str(accumulation)
    parts = f"{per_device} per device x {max(gpus, 1)} x {accumulation} accumulated"
    assert f"128 examples a step: {parts}" in ran.stdout
    assert ("no_cuda" in flags) is (gpus == 0)
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(gpus)]
    assert start == [sys.executable, *(several if gpus > 1 else [])]


def test_an_odd_share_is_split_evenly(launch: Launch, tmp_path: Path) -> None:
    flags = plan(launch, "deberta_v2_xxlarge_qnli", cwd=tmp_path, NUM_GPUS=6)  # 48 examples, 6 at once in the original
    assert (flags["per_device_train_batch_size"], flags["gradient_accumulation_steps"]) == ("4", "2")


def test_a_cpu_gets_bf16_for_fp16(launch: Launch, tmp_path: Path) -> None:
    flags = plan(launch, "deberta_v2_xxlarge_mnli", cwd=tmp_path, NUM_GPUS=0)
    assert flags["bf16"] is True
    assert "fp16" not in flags


# The user's flags -----------------------------------------------------------------------------------------------


def test_the_users_flags_win(launch: Launch, tmp_path: Path) -> None:
    words = ["--learning_rate=1", "--warmup-steps", "7", "--eval_strategy", "steps", "--bf16", "--output_dir", "here"]
    words += ["--global_batch_size", "32", "--per_device_train_batch_size", "2", "--logging_steps", "3"]
    flags = plan(launch, "deberta_v2_xxlarge_mnli", *words, cwd=tmp_path, NUM_GPUS=4, GLUE_DATASET="g", MODEL="m")
    expected = {
        "learning_rate": "1",
        "warmup_steps": "7",
        "evaluation_strategy": "steps",
        "bf16": True,
        "output_dir": str(tmp_path / "here"),
        "per_device_train_batch_size": "2",
        "gradient_accumulation_steps": "4",
        "logging_steps": "3",
        "glue_dataset": "g",
        "model_name_or_path": "m",
    }
    assert {key: flags[key] for key in expected} == expected
    assert not {"fp16", "warmup_ratio", "global_batch_size", "profile"} & set(flags)


def test_parts_that_change_the_global_batch_are_pointed_out(launch: Launch, tmp_path: Path) -> None:
    words = ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "3"]
    ran = launch("roberta_base_mnli", *words, cwd=tmp_path, NUM_GPUS=2, DRY_RUN=1)
    assert "the global batch is 12, as your flags say, not this launcher's 128" in ran.stdout


def test_without_evaluation_there_is_no_best(launch: Launch, tmp_path: Path) -> None:
    flags = plan(launch, "roberta_base_mnli", "--evaluation_strategy", "no", cwd=tmp_path)
    assert "load_best_model_at_end" not in flags


BAD: dict[str, tuple[str, list[str], dict[str, str], str]] = {
    "three GPUs": ("roberta_base_mnli", [], {"NUM_GPUS": "3"}, "Set NUM_GPUS to one of 1, 2, 4, 8"),
    "no number": ("roberta_base_mnli", [], {"NUM_GPUS": "two"}, "NUM_GPUS is 'two'"),
    "part too large": ("roberta_base_mnli", ["--per_device_train_batch_size", "48"], {}, "Choose a divisor of 128"),
    "no batch": ("roberta_base_mnli", ["--global_batch_size", "0"], {}, "--global_batch_size is '0'"),
    "no profile": ("roberta_base_mnli", ["--profile", "blog"], {}, "choose from script, paper"),
    "loose word": ("roberta_base_mnli", ["paper"], {}, "'paper' belongs to no flag"),
    "no task": ("roberta_base_mnli", ["--task_name", "snli"], {}, "'snli' is no GLUE task"),
    "seeds twice": ("roberta_base_mnli", [], {"SEEDS": "1 1"}, "different whole numbers"),
    "seeds and seed": ("roberta_base_mnli", ["--seed", "1"], {"SEEDS": "1 2"}, "choose one"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, launch: Launch, tmp_path: Path) -> None:
    name, words, variables, expected = BAD[case]
    ran = launch(name, *words, cwd=tmp_path, DRY_RUN=1, **variables)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith(f"{name}.sh: error: ")
    assert ran.stderr.count("\n") == 1
    assert expected in ran.stderr


def test_more_gpus_than_there_are_is_an_error(launch: Launch, tmp_path: Path) -> None:
    ran = launch("roberta_base_mnli", cwd=tmp_path, NUM_GPUS=64)
    assert ran.returncode == 2
    assert "NUM_GPUS is 64, but this machine shows" in ran.stderr


def test_help_says_what_there_is(launch: Launch, tmp_path: Path) -> None:
    ran = launch("roberta_base_mnli", "--help", cwd=tmp_path)
    assert ran.returncode == 0
    for word in ("--profile", "--global_batch_size", "NUM_GPUS", "SEEDS", "LORA_ADAPTERS", "DRY_RUN"):
        assert word in ran.stdout


# Where to start from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FROM_MNLI)
def test_a_missing_adapter_is_named_with_what_to_do(name: str, launch: Launch, tmp_path: Path) -> None:
    model = name.rpartition("_")[0]
    ran = launch(name, cwd=tmp_path, DRY_RUN=1)
    assert ran.returncode == 2
    assert f"{model}_mnli.sh writes {tmp_path}/output/{model}_mnli" in ran.stderr
    assert f"{model}_lora_mnli.bin" in ran.stderr
    assert str(tmp_path) in ran.stderr
    assert str(ROOT) in ran.stderr


@pytest.mark.parametrize("name", FROM_MNLI)
def test_a_run_starts_from_the_model_itself_where_asked_to(name: str, launch: Launch, tmp_path: Path) -> None:
    ran = launch(name, "--start_from", "none", cwd=tmp_path, DRY_RUN=1)
    assert ran.returncode == 0, ran.stderr
    assert "from the model itself" in ran.stdout
    assert not {"lora_path", "start_from"} & set(command_of(ran.stdout)[1])


def test_the_published_adapter_is_found_in_the_current_folder(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "roberta_base_lora_mnli.bin"
    path.touch()
    assert plan(launch, "roberta_base_rte", cwd=tmp_path)["lora_path"] == str(path)


def test_an_adapter_of_the_users_wins(launch: Launch, adapters: Path, tmp_path: Path) -> None:
    flags = plan(launch, "roberta_base_rte", "--lora_path", "mine", cwd=tmp_path, LORA_ADAPTERS=adapters)
    assert flags["lora_path"] == "mine"


def write_run(folder: Path, seed: int, accuracy: float) -> None:
    """Write what a finished MNLI run leaves."""
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").touch()
    metrics = {"eval_accuracy": accuracy, "eval_accuracy_mm": accuracy, "eval_samples": 1, "eval_samples_mm": 1}
    record = {
        "task": "mnli",
        "metrics": metrics,
        "model_arguments": {"model_name_or_path": "roberta-base", "apply_lora": True, "lora_r": 8, "lora_alpha": 16},
        "data_arguments": {"max_seq_length": 128},
        "training_arguments": {"seed": seed},
    }
    (folder / "run_record.json").write_text(json.dumps(record))


def test_the_mnli_launchers_adapter_comes_first_and_of_its_seeds_the_best(
    launch: Launch, adapters: Path, tmp_path: Path
) -> None:
    home = tmp_path / "elsewhere"
    for seed, accuracy in ((0, 0.7), (1, 0.9), (2, 0.8)):
        write_run(home / "roberta_base_mnli" / f"seed-{seed}", seed, accuracy)
    variables = {"cwd": tmp_path, "OUTPUT_DIR": home, "LORA_ADAPTERS": adapters}
    flags = plan(launch, "roberta_base_mrpc", **variables)
    assert flags["lora_path"] == str(home / "roberta_base_mnli" / "seed-1")
    (home / "roberta_base_mnli" / "adapter_model.safetensors").touch()
    assert plan(launch, "roberta_base_mrpc", **variables)["lora_path"] == str(home / "roberta_base_mnli")


# Which Python ---------------------------------------------------------------------------------------------------


def test_an_active_environment_with_this_project_is_used(launch: Launch, tmp_path: Path) -> None:
    if Path(sys.prefix) == Path(sys.base_prefix):
        pytest.skip("needs to run in a virtual environment")
    path = f"{sys.prefix}/bin:/usr/bin:/bin"
    ran = launch("roberta_base_mnli", cwd=tmp_path, DRY_RUN=1, LORA_PYTHON="", VIRTUAL_ENV=sys.prefix, PATH=path)
    assert ran.returncode == 0, ran.stderr
    assert command_of(ran.stdout)[0] == [f"{sys.prefix}/bin/python"]


def fake_environment(folder: Path, version: str) -> Path:
    """Make a folder that looks like an environment into which some `transformers` was installed."""
    packages = folder / "packages"
    (packages / "transformers-0.dist-info").mkdir(parents=True)
    (packages / "transformers-0.dist-info" / "METADATA").write_text(f"Name: transformers\nVersion: {version}\n")
    (packages / "transformers").mkdir()
    (packages / "transformers" / "__init__.py").touch()
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder


def test_an_environment_whose_package_was_replaced_says_so(launch: Launch, tmp_path: Path) -> None:
    environment = fake_environment(tmp_path / "venv", "5.23.0")
    (environment / ".installed").write_text("whatever was installed")
    ran = launch("roberta_base_sst2", cwd=tmp_path, DRY_RUN=1, LORA_PYTHON="", VIRTUAL_ENV="", LORA_VENV=environment)
    assert ran.returncode == 2
    assert "another transformers stands in place of this project's" in ran.stderr
    assert "setfit" in ran.stderr
    assert f"{environment}/bin/python -m pip install --no-deps -e {ROOT}" in ran.stderr


def test_the_script_says_so_too(launch: Launch, tmp_path: Path) -> None:
    environment = fake_environment(tmp_path / "venv", "5.23.0")
    ran = launch("roberta_base_sst2", cwd=tmp_path, LORA_PYTHON=environment / "bin" / "python")
    assert ran.returncode == 2
    assert "run_glue.py: error: another transformers 5.23.0 stands in place of this project's" in ran.stderr
    assert "pip install --no-deps -e" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_active_environment_of_another_package_is_passed_over_aloud(launch: Launch, tmp_path: Path) -> None:
    other, own = fake_environment(tmp_path / "other", "5.23.0"), fake_environment(tmp_path / "own", "4.4.2+lora.9")
    what = subprocess.run(
        ["bash", "-c", f'echo "demo $(cksum <"{ROOT}/setup.py")"'], capture_output=True, text=True, check=True
    )
    (own / ".installed").write_text(what.stdout.strip())
    path = f"{other}/bin:{os.environ['PATH']}"
    variables = {"LORA_PYTHON": "", "VIRTUAL_ENV": other, "LORA_VENV": own, "PATH": path}
    ran = launch("roberta_base_sst2", cwd=tmp_path, DRY_RUN=1, **variables)
    assert ran.returncode == 0, ran.stderr
    assert f"the active environment ({other}) has another transformers or none; running in {own}" in ran.stderr
    assert command_of(ran.stdout)[0][0].startswith(sys.prefix) or command_of(ran.stdout)[0][0].startswith(str(own))


# Every launcher, really run -------------------------------------------------------------------------------------

QUICK = ["--max_steps", "3", "--eval_steps", "3", "--max_seq_length", "32", "--report_to", "none"]
QUICK += ["--global_batch_size", "4", "--per_device_train_batch_size", "2", "--disable_tqdm", "true"]
KNOWN = {
    item.name for cls in (ModelArguments, DataTrainingArguments, TrainingArguments) for item in dataclasses.fields(cls)
}


def tiny_model(name: str, roberta: Path, deberta: Path) -> Path:
    return roberta if "roberta" in name else deberta


@pytest.fixture(scope="module")
def finished(
    launch: Launch, tiny_glue: Path, tiny_roberta: Path, tiny_deberta: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A function that runs a launcher's command at most once, in a folder that all share, as a user's would be.

    The command runs in this process, which has imported everything; the tests below start processes.
    """
    home = tmp_path_factory.mktemp("launched")
    done: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in done:
            model = tiny_model(name, tiny_roberta, tiny_deberta)
            planned = launch(name, *QUICK, cwd=home, DRY_RUN=1, MODEL=model, GLUE_DATASET=tiny_glue)
            assert planned.returncode == 0, planned.stderr
            (line,) = (line for line in planned.stdout.splitlines() if line.startswith("  command"))
            words = shlex.split(line.removeprefix("  command"))
            code = run_glue.main(words[2:])  # after Python and the script
            torch.use_deterministic_algorithms(False)
            assert code == 0
            done[name] = home / "output" / name
        return done[name]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_launcher_runs(
    name: str,
    finished: Any,
    launch: Launch,
    adapters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    flags = plan(launch, name, cwd=tmp_path, LORA_ADAPTERS=adapters)
    unknown = sorted(set(flags) - KNOWN)
    if unknown:  # the command was checked; this skip goes as soon as run_glue.py knows the flags
        pytest.skip(f"run_glue.py does not know --{', --'.join(unknown)}, so only the command was checked")
    if name in FROM_MNLI:
        finished(f"{name.rpartition('_')[0]}_mnli")
    output = finished(name)

    record = json.loads((output / "run_record.json").read_text())
    assert record["global_batch_size"] == 4
    assert record["training_arguments"]["gradient_accumulation_steps"] == 2
    assert math.isfinite(record["metrics"]["train_loss"])
    assert any(key.startswith("eval_") for key in record["metrics"])
    other = {word[2:] for word in QUICK if word.startswith("--")} | {"gradient_accumulation_steps", "output_dir"}
    for flag in set(flags) - other - {"model_name_or_path", "lora_path"}:
        groups = (record[f"{kind}_arguments"] for kind in ("model", "data", "training"))
        recorded = next(group[flag] for group in groups if flag in group)
        assert spelled_alike(recorded, flags[flag]), f"--{flag} {flags[flag]} became {recorded}"
    if name in FROM_MNLI:
        mnli = output.parent / f"{name.rpartition('_')[0]}_mnli"
        assert record["model_arguments"]["lora_path"] == str(mnli)
        assert f"Started from '{mnli}'" in capsys.readouterr().err


def spelled_alike(recorded: object, word: str | bool) -> bool:
    if isinstance(recorded, bool | None) or isinstance(word, bool):
        return recorded is word
    return float(word) == recorded if isinstance(recorded, int | float) else recorded == word


@pytest.mark.slow
def test_several_seeds_give_median_and_spread(
    launch: Launch, tiny_glue: Path, tiny_roberta: Path, tmp_path: Path
) -> None:
    variables = {"MODEL": tiny_roberta, "GLUE_DATASET": tiny_glue, "SEEDS": "0 3"}
    ran = launch(
        "roberta_base_stsb",
        *QUICK,
        "--lora_path",
        first_adapter(launch, tmp_path, variables),
        cwd=tmp_path,
        **variables,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    folder = tmp_path / "output" / "roberta_base_stsb"
    scores = []
    for seed in (0, 3):
        record = json.loads((folder / f"seed-{seed}" / "run_record.json").read_text())
        assert record["seed"] == seed
        history = json.loads((folder / f"seed-{seed}" / "trainer_state.json").read_text())["log_history"]
        scores.append(100 * max(row["eval_pearson"] for row in history if "eval_pearson" in row))
    summary = json.loads((folder / "seeds.json").read_text())
    assert [summary["seeds"][seed]["score"] for seed in ("0", "3")] == pytest.approx(scores)
    assert summary["median"] == pytest.approx(statistics.median(scores))
    assert summary["spread"] == pytest.approx(statistics.stdev(scores))
    assert f"median      {summary['median']:6.2f} ± {summary['spread']:.2f}" in ran.stdout


def first_adapter(launch: Launch, tmp_path: Path, variables: dict[str, Any]) -> Path:
    ran = launch("roberta_base_mnli", *QUICK, cwd=tmp_path, **{**variables, "SEEDS": ""})
    assert ran.returncode == 0, ran.stderr[-3000:]
    shutil.rmtree(tmp_path / "output" / "roberta_base_mnli" / "runs", ignore_errors=True)
    return tmp_path / "output" / "roberta_base_mnli"


@pytest.mark.slow
def test_two_processes_train_together(launch: Launch, tiny_glue: Path, tiny_roberta: Path, tmp_path: Path) -> None:
    words = [*QUICK, "--no_cuda"]
    ran = launch("roberta_base_cola", *words, cwd=tmp_path, MODEL=tiny_roberta, GLUE_DATASET=tiny_glue, NUM_GPUS=2)
    assert ran.returncode == 0, ran.stderr[-3000:]
    record = json.loads((tmp_path / "output" / "roberta_base_cola" / "run_record.json").read_text())
    assert record["global_batch_size"] == 4
    assert record["training_arguments"]["gradient_accumulation_steps"] == 1


@pytest.mark.slow
def test_a_run_that_fails_is_a_launcher_that_fails(launch: Launch, tiny_roberta: Path, tmp_path: Path) -> None:
    ran = launch("roberta_base_cola", "--learning_rat", "1", cwd=tmp_path, MODEL=tiny_roberta, SEEDS="0 1")
    assert ran.returncode == 2
    assert "did you mean --learning_rate?" in ran.stderr
    assert f"The run {tmp_path}/output/roberta_base_cola/seed-0 ended with exit code 2." in ran.stderr
    assert "seed-1" not in ran.stderr
