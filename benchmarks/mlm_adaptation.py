"""Does adapting an encoder to unlabelled texts help: hidden words of held-out texts, and a classifier of such texts?

MiniLM comes without a head that scores words, so one is trained first on other texts (news and Wikipedia: sentences of
MRPC, RTE and QNLI), with the encoder frozen: that is "before". Then the texts of SST-2 (film reviews, without their
labels) are learned in two ways with the same steps: by that head alone, and by LoRA and head (`run_mlm.py`). The
perplexity is that of SST-2's validation sentences. Then `run_glue.py` trains classifiers on some labelled sentences,
from the adapted adapter and from the plain encoder, three seeds each. The result is `results/mlm_adaptation.json`.
Needs the shared data (LORA_SHARED_DATA or ../shared/data) and the converted MiniLM::

    .venv/bin/python benchmarks/mlm_adaptation.py [--texts 3000] [--labelled 300] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "language-modeling"))

from common.command_line import parse
from common.reporting.examined import Evaluations
from glue_parity import glue_folder, model_folder, run_quietly
from mlm_arguments import DataTrainingArguments, check_arguments
from mlm_data import load_texts
from mlm_model import make_model, sequence_length
from mlm_scores import compute_metrics
from run_mlm import make_trainer
from transformers.training.environment import describe_environment

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
RESULT = ROOT / "benchmarks" / "results" / "mlm_adaptation.json"
FIGURES = "eval_results.json"
LENGTH = ("--max_seq_length", "64")
MASKED = (
    *LENGTH,
    *("--do_train", "--do_eval", "--per_device_train_batch_size", "32", "--per_device_eval_batch_size", "64"),
    *("--warmup_ratio", "0.06", "--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true"),
)
LORA = ("--apply_lora", "--lora_r", "8", "--lora_alpha", "16", "--lora_target_modules", "all-linear")


def main() -> int:
    """Run everything and write the result; the exit code is 1 unless LoRA lowers the perplexity more than the head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=3_000, help="sentences of SST-2 to adapt to")
    parser.add_argument("--other_texts", type=int, default=3_000, help="of news and Wikipedia for the head")
    parser.add_argument("--labelled", type=int, default=300, help="sentences to train a classifier on")
    parser.add_argument("--epochs", type=int, default=3, help="of adapting")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, help="keep the runs here; those that are there are not done again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(options, folder)
    del options.folder
    result["settings"] = vars(options) | {"model": "all-MiniLM-L6-v2", "masked": MASKED, "lora": LORA}
    result["environment"] = describe_environment(None)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: result[name] for name in ("perplexity", "accuracy")}, indent=2))
    perplexity = result["perplexity"]
    return 0 if perplexity["lora_and_head"] < perplexity["head_alone"] < perplexity["before"] else 1


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train the head, adapt, classify."""
    reviews, held_out = write_texts(options, folder)
    domain = ["--train_file", str(reviews), "--validation_file", str(held_out)]
    epochs = ["--num_train_epochs", str(options.epochs)]
    general = ["--train_file", str(folder / "other.txt"), "--validation_file", str(held_out)]
    start = folder / "start"
    before = head_alone([*general, "--learning_rate", "3e-3", "--num_train_epochs", "2"], model_folder(), start)
    head = head_alone([*domain, *epochs, "--learning_rate", "1e-3"], start, folder / "head")
    both = adapt([*domain, *epochs, "--learning_rate", "1e-3", *LORA], start, folder / "adapted")
    accuracy: dict[str, list[float]] = {"plain": [], "adapted": []}
    for seed in options.seeds:
        accuracy["plain"].append(classify(options, seed, folder / f"plain-{seed}"))
        accuracy["adapted"].append(
            classify(options, seed, folder / f"adapted-{seed}", "--lora_path", str(folder / "adapted"))
        )
    figures = {"before": before, "head_alone": head, "lora_and_head": both}
    return {
        "perplexity": {name: row["eval_perplexity"] for name, row in figures.items()},
        "mask_accuracy": {name: row["eval_mask_accuracy"] for name, row in figures.items()},
        "accuracy": {name: {"seeds": rows, "mean": mean(rows)} for name, rows in accuracy.items()},
    }


def write_texts(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Write what is learned from and evaluated on; give the sentences to adapt to, and those held out."""
    train, validation = (
        pd.read_parquet(glue_folder() / "sst2" / f"{split}-00000-of-00001.parquet")
        for split in ("train", "validation")
    )
    columns = {"mrpc": "sentence1", "rte": "sentence1", "qnli": "sentence"}
    files = {task: next((glue_folder() / task).glob("train-*")) for task in columns}
    other = pd.concat([pd.read_parquet(files[task])[column] for task, column in columns.items()]).drop_duplicates()
    whole = train[train["sentence"].str.split().str.len() >= 10]  # most rows of SST-2 are parts of sentences
    write_lines(folder / "other.txt", other.sample(min(options.other_texts, len(other)), random_state=0))
    write_lines(folder / "reviews.txt", whole["sentence"].sample(options.texts, random_state=0))
    write_lines(folder / "held-out.txt", validation["sentence"])
    for name, rows in (("labelled", train.sample(options.labelled, random_state=1)), ("held-out", validation)):
        named = rows.assign(label=rows["label"].map({0: "negative", 1: "positive"}))
        named[["sentence", "label"]].to_csv(folder / f"{name}.csv", index=False)
    return folder / "reviews.txt", folder / "held-out.txt"


def write_lines(path: Path, texts: Sequence[str]) -> None:
    """Write a text a line."""
    path.write_text("".join(" ".join(str(text).split()) + "\n" for text in texts), encoding="utf-8")


def head_alone(words: Sequence[str], start: Path, output: Path) -> dict[str, float]:
    """Train as run_mlm.py does, but with the encoder frozen, for which there is no flag; save the whole model."""
    if (output / FIGURES).is_file():
        return read_figures(output)
    words = ["--model_name_or_path", str(start), *MASKED, *words, "--output_dir", str(output)]
    arguments = parse(words, DataTrainingArguments, check_arguments, None)
    model, tokenizer = make_model(arguments)
    model.base_model.requires_grad_(False)
    length = sequence_length(arguments.data.max_seq_length, model, tokenizer)
    data = load_texts(arguments.data, arguments.training, tokenizer, length)
    trainer = make_trainer(arguments, data, model, tokenizer, length, Evaluations(compute_metrics))
    trainer.train()
    trainer.save_model()
    trainer.save_metrics("eval", trainer.evaluate())
    return read_figures(output)


def adapt(words: Sequence[str], start: Path, output: Path) -> dict[str, float]:
    """Train with run_mlm.py; give the figures after the last epoch."""
    if (output / FIGURES).is_file():
        return read_figures(output)
    script = str(EXAMPLES / "language-modeling" / "run_mlm.py")
    run_quietly(
        [sys.executable, script, "--model_name_or_path", str(start), *MASKED, *words, "--output_dir", str(output)]
    )
    return read_figures(output)


def classify(options: argparse.Namespace, seed: int, output: Path, *more: str) -> float:
    """Train a classifier with run_glue.py; give its accuracy after the last epoch."""
    if (output / FIGURES).is_file():
        return read_figures(output)["eval_accuracy"]
    folder = output.parent
    run_quietly(
        [
            sys.executable,
            str(EXAMPLES / "text-classification" / "run_glue.py"),
            *("--model_name_or_path", str(model_folder()), *LORA, *LENGTH, *more),
            *("--train_file", str(folder / "labelled.csv")),
            *("--validation_file", str(folder / "held-out.csv")),
            *("--do_train", "--do_eval", "--per_device_train_batch_size", "16", "--per_device_eval_batch_size", "64"),
            *("--learning_rate", "1e-3", "--warmup_ratio", "0.06", "--num_train_epochs", "5", "--seed", str(seed)),
            *("--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true"),
            *("--output_dir", str(output)),
        ]
    )
    return read_figures(output)["eval_accuracy"]


def read_figures(folder: Path) -> dict[str, float]:
    """Read what a run evaluated."""
    figures: dict[str, float] = json.loads((folder / FIGURES).read_text())
    return figures


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
