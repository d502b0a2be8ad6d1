"""Does run_qa.py learn SQuAD as well as upstream Transformers + PEFT do, and how good is its threshold on v2?

Both sides train the converted MiniLM, LoRA on all linear layers, on the same questions with the same settings,
starting values and order of the windows; only dropout's random numbers differ. The answers of both are scored by the
official script's rules. In steps that may run on several machines, as ``--folder`` holds all but the model::

    python benchmarks/squad.py start --folder output/squad/v1 --train_file … --validation_file …   # or --version 2
    python benchmarks/squad.py ours --folder output/squad/v1 --seed 0 [--device cuda]
    python benchmarks/squad.py upstream --folder output/squad/v1 --seed 0 --python .venv-reference/bin/python
    python benchmarks/squad.py join --folders output/squad/v1 output/squad/v2

``start`` and ``ours`` need this project's package (``PYTHONPATH=src`` is enough); ``upstream`` starts ``--python``,
which has upstream and PEFT, without ``PYTHONPATH`` unless ``--python_path`` gives one. The result is
``results/squad.json``; the exit code of ``join`` is 1 where the mean F1 is behind upstream's by more than a point.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "examples" / "question-answering" / "run_qa.py"
sys.path[:0] = [str(ROOT / "examples"), str(SCRIPT.parent)]
RESULT = ROOT / "benchmarks" / "results" / "squad.json"
FIGURES = {1: ("exact_match", "f1"), 2: ("exact", "f1", "best_exact", "best_f1")}
SIDES = ("ours", "upstream")


def main() -> int:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    begin = steps.add_parser("start", help="write questions, starting values and orders")
    add_start_flags(begin)
    sides = {side: steps.add_parser(side, help=f"train and answer: {side}") for side in SIDES}
    for side, each in sides.items():
        each.add_argument("--seed", type=int, required=True)
        each.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
        each.add_argument("--python", default=sys.executable, help="the interpreter that the side runs in")
        path = str(ROOT / "src") if side == "ours" else ""
        each.add_argument("--python_path", default=path, help="PYTHONPATH of the side")
    for each in (begin, *sides.values()):
        each.add_argument("--folder", type=Path, required=True)
        each.add_argument("--model", default=os.environ.get("LORA_MINILM", str(ROOT / "models" / "minilm-roberta")))
    end = steps.add_parser("join", help="put the figures of all runs together")
    end.add_argument("--folders", type=Path, nargs="+", required=True)
    end.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    return {"start": start, "ours": ours, "upstream": upstream, "join": join}[options.step](options)


def add_start_flags(begin: argparse.ArgumentParser) -> None:
    """Take the files, and the settings of both sides."""
    begin.add_argument("--train_file", required=True, help="any file that run_qa.py reads")
    begin.add_argument("--validation_file", required=True)
    begin.add_argument("--version", type=int, choices=[1, 2], default=1)
    begin.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    begin.add_argument("--limit", type=int, default=10000, help="training questions, the first of the file")
    begin.add_argument("--validation_limit", type=int, default=None, help="validation questions, likewise")
    for name, kind, value in (("epochs", int, 2), ("batch_size", int, 16), ("learning_rate", float, 1e-3)):
        begin.add_argument(f"--{name}", type=kind, default=value)
    for name, value in (("max_seq_length", 384), ("doc_stride", 128), ("lora_r", 8)):
        begin.add_argument(f"--{name}", type=int, default=value)
    begin.add_argument("--fp32", action="store_true", help="on both sides, instead of bf16")


# What both sides begin with ---------------------------------------------------------------------------------------


def start(options: argparse.Namespace) -> int:
    """Write questions, settings, and for each seed the starting values and the order of the windows."""
    from transformers import set_seed
    from transformers.data.samplers import epoch_order

    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    questions = copy_questions(options.train_file, folder / "train.json", options.limit)
    validation = copy_questions(options.validation_file, folder / "validation.json", options.validation_limit)
    windows = count_windows(questions, options)
    job: dict[str, Any] = {
        "version": options.version,
        "questions": len(questions.ids),
        "validation_questions": len(validation.ids),
        "windows": windows,
        **{name: getattr(options, name) for name in ("epochs", "batch_size", "learning_rate", "lora_r")},
        **{name: getattr(options, name) for name in ("max_seq_length", "doc_stride")},
        "lora_alpha": 2 * options.lora_r,
        "n_best_size": 20,
        "max_answer_length": 30,
        "warmup_steps": math.ceil(0.06 * options.epochs * math.ceil(windows / options.batch_size)),
        "bf16": not options.fp32,  # on both sides: frozen weights stored in bf16 here, autocast upstream
        "orders": {
            seed: [epoch_order(windows, seed, epoch) for epoch in range(options.epochs)] for seed in options.seeds
        },
    }
    for seed in options.seeds:
        set_seed(seed)
        write_start(folder / f"start-{seed}", job, options.model)
    (folder / "job.json").write_text(json.dumps(job))
    print(f"{len(questions.ids)} questions in {windows} windows; {len(validation.ids)} to answer: {folder}")
    return 0


def copy_questions(path: str, copy: Path, limit: int | None) -> Any:
    """Write a file's first questions in the form that both sides read; gives them."""
    from qa_files import Questions, read_questions

    found = read_questions(path)
    names = ("ids", "questions", "contexts", "answers", "starts")
    columns = [getattr(found, name)[:limit] for name in names]
    rows = [
        {"id": name, "question": question, "context": context, "answers": {"text": texts, "answer_start": starts}}
        for name, question, context, texts, starts in zip(*columns, strict=True)
    ]
    copy.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return Questions(found.source, *columns)


def count_windows(questions: Any, options: argparse.Namespace) -> int:
    """Count the windows that run_qa.py makes of the training questions.

    Raises:
        ValueError: If a window holds no answer of a question that has one: the sides would not see the same.
    """
    from qa_data import ANSWERS, CONTEXT, ID, QUESTION, STARTS
    from qa_features import OWNER, Windows, encode_questions
    from transformers import AutoTokenizer

    columns = (questions.ids, questions.questions, questions.contexts, questions.answers, questions.starts)
    batch = dict(zip((ID, QUESTION, CONTEXT, ANSWERS, STARTS), columns, strict=True))
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    windows = Windows(options.max_seq_length, options.doc_stride)
    found = encode_questions(batch, range(len(questions.ids)), tokenizer, windows, labelled=True)
    held = {owner for owner, place in zip(found[OWNER], found["start_positions"], strict=True) if place}
    lost = [name for row, name in enumerate(questions.ids) if questions.answers[row] and row not in held]
    if lost:
        raise ValueError(f"No window holds the answer of {lost[0]} (and {len(lost) - 1} others); leave them out.")
    return len(found[OWNER])


def write_start(folder: Path, job: dict[str, Any], model: str) -> None:
    """Write the adapter and the head that both sides start from."""
    from transformers import AutoModelForQuestionAnswering

    fields = {name: job[name] for name in ("lora_r", "lora_alpha")}
    AutoModelForQuestionAnswering.from_pretrained(
        model, apply_lora=True, lora_target_modules="all-linear", **fields
    ).save_adapter(folder)


# The sides --------------------------------------------------------------------------------------------------------


def ours(options: argparse.Namespace) -> int:
    """Train with run_qa.py as its users do, and score its answers."""
    folder, seed, job = options.folder, options.seed, read(options.folder / "job.json")
    output = folder / f"ours-{seed}"
    command = [
        *(options.python, str(SCRIPT), "--model_name_or_path", options.model),
        *("--train_file", str(folder / "train.json"), "--validation_file", str(folder / "validation.json")),
        *("--apply_lora", "--lora_path", str(folder / f"start-{seed}"), "--lora_target_modules", "all-linear"),
        *("--do_train", "--do_eval", "--per_device_train_batch_size", str(job["batch_size"])),
        *("--per_device_eval_batch_size", "64", "--learning_rate", str(job["learning_rate"])),
        *("--warmup_steps", str(job["warmup_steps"]), "--num_train_epochs", str(job["epochs"])),
        *("--max_seq_length", str(job["max_seq_length"]), "--doc_stride", str(job["doc_stride"])),
        *("--n_best_size", str(job["n_best_size"]), "--max_answer_length", str(job["max_answer_length"])),
        *("--seed", str(seed), "--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true"),
        *("--overwrite_output_dir", "--output_dir", str(output)),
        *(["--version_2_with_negative"] if job["version"] == 2 else []),
        *(["--bf16"] if job["bf16"] else []),
        *(["--no_cuda"] if options.device == "cpu" else []),
    ]
    run_quietly(command, {"PYTHONPATH": options.python_path})
    record = read(output / "run_record.json")
    few = read(output / "eval_nbest_predictions.json")
    best = {name: next((each["text"] for each in rows if each["text"]), "") for name, rows in few.items()}
    odds = read(output / "eval_null_odds.json") if job["version"] == 2 else {}
    figures = {name: record["metrics"][f"eval_{name}"] for name in FIGURES[job["version"]]}
    again = score(folder, best, odds)
    if any(not math.isclose(figures[name], again[name], abs_tol=1e-6) for name in figures):
        raise SystemExit(f"run_qa.py says {figures}, and its answers score {again}")
    about = {"environment": record["environment"], "train_seconds": record["metrics"]["train_runtime"]}
    about |= {"predict_seconds": record["metrics"]["eval_runtime"], "trained_values": record["trainable_values"]}
    return finish(folder, "ours", seed, again, about)


def upstream(options: argparse.Namespace) -> int:
    """Train with upstream's Trainer and PEFT, and score its answers."""
    folder, seed = options.folder, options.seed
    script = str(ROOT / "benchmarks" / "upstream_squad.py")
    words = [options.python, script, str(folder), str(seed), options.model, options.device]
    run_quietly(words, {"PYTHONPATH": options.python_path})
    output = folder / f"upstream-{seed}"
    figures = score(folder, read(output / "best_answers.json"), read(output / "null_odds.json"))
    return finish(folder, "upstream", seed, figures, read(output / "about.json"))


def score(folder: Path, best: dict[str, str], odds: dict[str, float]) -> dict[str, float]:
    """Score the best answers of the validation questions by the official script's rules.

    Args:
        folder: Has the questions.
        best: The best answer by the question's id, "no answer" left aside.
        odds: By how much "no answer" scores more, on v2.
    """
    import numpy as np

    from qa_scores import Gold, best_threshold, summarize

    rows, version = read(folder / "validation.json"), read(folder / "job.json")["version"]
    texts = [best[row["id"]] for row in rows]
    gold = Gold([row["answers"]["text"] for row in rows])
    exact, f1 = gold.score(texts)
    if version == 1:
        return summarize(exact, f1, gold.answered, with_null=False)
    null = np.array([odds[row["id"]] for row in rows])
    given = ["" if silent else text for text, silent in zip(texts, null > 0, strict=True)]
    figures = summarize(*gold.score(given), gold.answered, with_null=True)
    for name, values in (("exact", exact), ("f1", f1)):
        found = best_threshold(values, null, texts, gold.answered)
        figures |= {f"best_{name}": found.score, f"best_{name}_thresh": found.threshold}
    return figures


def finish(folder: Path, side: str, seed: int, figures: dict[str, float], about: dict[str, Any]) -> int:
    """Write one run's result."""
    result = {"side": side, "seed": seed, "figures": figures, **about, "at": time.strftime("%Y-%m-%d %H:%M")}
    (folder / f"{side}-{seed}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({"side": side, "seed": seed, **figures}))
    return 0


def run_quietly(command: list[str], variables: dict[str, str]) -> None:
    """Run a command; show what it printed only where it failed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def read(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


# The result -------------------------------------------------------------------------------------------------------


def join(options: argparse.Namespace) -> int:
    """Put the figures of all runs together."""
    results = [of_folder(folder) for folder in options.folders]
    record = {
        "question": "exact match and F1 of run_qa.py against upstream's Trainer + PEFT, same settings and start",
        "results": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=2) + "\n")
    for result in results:
        print(json.dumps({"version": result["settings"]["version"], **result["means"]}))
    return 0 if all(result["means"]["difference"]["f1"] >= -1 for result in results) else 1


def of_folder(folder: Path) -> dict[str, Any]:
    """Give settings, means and runs of one comparison."""
    job = read(folder / "job.json")
    runs = [read(path) for side in SIDES for path in sorted(folder.glob(f"{side}-*.json"))]
    names = FIGURES[job["version"]]
    means: dict[str, Any] = {}
    for side in SIDES:
        own = [run for run in runs if run["side"] == side]
        means[side] = {name: round(sum(run["figures"][name] for run in own) / len(own), 2) for name in names}
        means[side]["runs"] = len(own)
    means["difference"] = {name: round(means["ours"][name] - means["upstream"][name], 2) for name in names}
    settings = {name: value for name, value in job.items() if name != "orders"}
    return {"settings": settings, "means": means, "runs": runs}


if __name__ == "__main__":
    sys.exit(main())
