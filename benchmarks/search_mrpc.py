"""Does a search find settings at least as good as the README's, through a kill, in two processes, on one base each?

30 trials over all of MRPC with MiniLM by `scripts/search.py` (about an hour on two CPU cores); the settings of the
README's figure (`glue_parity.py`) are tried first. These and the best ones are then trained with three seeds each. Two
processes share the search; one is killed (SIGKILL) after some trials and started again. The result is
`results/search_mrpc.json`. Needs the GLUE data (LORA_SHARED_DATA or ../shared/data) and
models/minilm-roberta::

    .venv/bin/python benchmarks/search_mrpc.py output/search-mrpc
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "search_mrpc.json"
JOURNAL, AT_KILL = "study.journal", "journal-at-kill"
TRIALS, BEFORE_KILL = 30, 3
SEEDS = (0, 1, 2)
SPACE = (
    "learning_rate=1e-4:1e-2:log",
    "lora_r=4,8,16",
    "alpha_over_r=1,2,4",
    "lora_target_modules=query value,all-linear",
    "num_train_epochs=1:3",
    "warmup_ratio=0.0:0.2",
)
README = ["--learning_rate", "1e-3", "--lora_r", "8", "--lora_alpha", "16", "--lora_target_modules", "query", "value"]
README += ["--warmup_ratio", "0.06", "--num_train_epochs", "2"]
GLUE = Path(os.environ.get("LORA_SHARED_DATA", ROOT.parent / "shared" / "data")) / "glue"
FLAGS = ["--model_name_or_path", "models/minilm-roberta", "--task_name", "mrpc", "--glue_dataset", str(GLUE)]
FLAGS += ["--apply_lora", "--max_seq_length", "128", "--num_threads", "1"]  # two processes on two cores
FLAGS += ["--per_device_train_batch_size", "16", "--per_device_eval_batch_size", "64"]


def main() -> int:
    """Search, kill, go on, and write the result; 1 where something that is promised did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the search")
    parser.add_argument("--go_on", action="store_true", help="the kill is done: make the trials that are left")
    parser.add_argument("--only_write", action="store_true", help="write the result of a search that has ended")
    options = parser.parse_args()
    if options.go_on:
        subprocess.run(command(options.folder.resolve()), cwd=ROOT, check=True)
    elif not options.only_write:
        run(options.folder)
    result = summarize(options.folder)
    result["with_several_seeds"] = with_several_seeds(options.folder)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["checks"], indent=2))
    return 0 if all(result["checks"].values()) else 1


def command(folder: Path) -> list[str]:
    """Give the search's command line."""
    words = ["--trials", str(TRIALS), *FLAGS, *README]
    words += [word for entry in SPACE for word in ("--search", entry)]
    words += ["--metric", "accuracy", "--seed", "0", "--output_dir", str(folder)]
    return [sys.executable, str(ROOT / "scripts" / "search.py"), *words]


def run(folder: Path) -> None:
    """Search in two processes, one of which is killed and started again."""
    first, second = (subprocess.Popen(command(folder.resolve()), cwd=ROOT) for _ in range(2))
    while finished(folder / JOURNAL) < BEFORE_KILL:
        time.sleep(0.2)
    first.kill()
    first.wait()
    shutil.copy(folder / JOURNAL, folder / AT_KILL)
    third = subprocess.Popen(command(folder.resolve()), cwd=ROOT)
    if second.wait() or third.wait():
        raise SystemExit("the search has ended with an error; it says above which.")
    subprocess.run(command(folder.resolve()), cwd=ROOT, check=True)  # once more: the report of all


def finished(journal: Path) -> int:
    """Count the trials of a journal that have come to their end."""
    return len(values_of(journal)) if journal.is_file() else 0


def values_of(journal: Path) -> dict[int, float | None]:
    """Give the value of each complete or pruned trial in a journal, by its number."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.load_study(study_name="trials", storage=optuna.storages.JournalStorage(backend))
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return {trial.number: trial.value for trial in study.get_trials(states=states)}


def summarize(folder: Path) -> dict[str, Any]:
    """Put the result together from the search's own record."""
    found = json.loads((folder / "search.json").read_text())
    at_kill = values_of(folder / AT_KILL)
    by_number = {trial["number"]: trial for trial in found["trials"]}
    ended = [trial for trial in found["trials"] if trial["state"] in ("COMPLETE", "PRUNED")]
    readme, best = found["trials"][0], found["best"]
    last_of: dict[int, dict[str, int]] = {}
    for trial in ended:
        last_of[trial["sources"]["process"]] = trial["sources"]
    once = ("base_files_read", "data_loaded", "data_tokenized")
    return {
        "question": "30 trials over MRPC with MiniLM: as good as the README's settings, killed and continued, shared",
        "checks": {
            "30 trials came to their end": len(ended) >= TRIALS,
            "the best is at least as good as the README's settings": best["value"] >= readme["value"],
            "no finished trial was lost by the kill": all(by_number[n]["value"] == v for n, v in at_kill.items()),
            "the killed trial was made again": any("again" in trial for trial in found["trials"]),
            "several processes": len(last_of) > 1,
            "each read the base, and tokenized, once": all(
                counts[name] == 1 for counts in last_of.values() for name in once
            ),
        },
        "readme_settings": {**scores(readme), **readme["values"]},
        "best": {**scores(best), **best["values"]},
        "trials": len(ended),
        "pruned": sum(trial["state"] == "PRUNED" for trial in ended),
        "finished_when_killed": sorted(at_kill),
        "processes": list(last_of.values()),
        "seconds_per_trial": [trial["seconds"] for trial in ended],
        "flags": {name: words for name, words in found["flags"].items() if name != "glue_dataset"},
        **{name: found[name] for name in ("importance", "edges", "space", "search_seed", "environment")},
    }


def with_several_seeds(folder: Path) -> dict[str, Any]:
    """Train the README's settings and the best ones, with several seeds."""
    found = json.loads((folder / "search.json").read_text())
    best = shlex.split(found["best"]["command"])[2:]  # without python and the script
    flags = {"readme_settings": [*FLAGS, *README], "best": best}
    runs = [(name, seed) for seed in SEEDS for name in flags]
    with ThreadPoolExecutor(max_workers=2) as pool:
        reached = list(pool.map(lambda run: train(folder / f"{run[0]}-{run[1]}", flags[run[0]], run[1]), runs))
    accuracy = {name: [value for run, value in zip(runs, reached, strict=True) if run[0] == name] for name in flags}
    means = {name: round(mean(values), 4) for name, values in accuracy.items()}
    return {
        "accuracy": accuracy,
        "means": means,
        "seeds": SEEDS,
        "best_flags": shlex.join(without_paths(flags["best"])),
    }


def without_paths(words: list[str]) -> list[str]:
    """Leave the flags out that name places of this machine."""
    places = {"--glue_dataset", "--output_dir"}
    return [word for before, word in zip(["", *words], words, strict=False) if not places & {before, word}]


def train(output: Path, flags: list[str], seed: int) -> float:
    """Train with run_glue.py; gives the accuracy after the last epoch."""
    script = str(ROOT / "examples" / "text-classification" / "run_glue.py")
    more = ["--do_train", "--do_eval", "--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true"]
    words = [*flags, *more, "--seed", str(seed), "--output_dir", str(output.resolve()), "--overwrite_output_dir"]
    subprocess.run([sys.executable, script, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return float(json.loads((output / "eval_results.json").read_text())["eval_accuracy"])


def scores(trial: dict[str, Any]) -> dict[str, float]:
    """Give what a trial's model reaches on the validation set."""
    return {name: trial["metrics"][name] for name in ("eval_accuracy", "eval_f1", "eval_loss")}


if __name__ == "__main__":
    sys.exit(main())
