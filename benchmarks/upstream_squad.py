"""The other side of squad.py: upstream's Trainer and PEFT; runs in an environment that has both, and needs no more.

    python upstream_squad.py FOLDER SEED MODEL DEVICE

Leaves ``best_answers.json``, ``null_odds.json`` and ``about.json`` in ``FOLDER/upstream-SEED``.
"""

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from peft import PeftConfig, PeftModel

from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
    set_seed,
)
from upstream_order import OrderedTrainer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def main(folder: Path, seed: int, model_folder: str, device: str) -> None:
    """Train, answer the validation questions, and write the answers."""
    job = json.loads((folder / "job.json").read_text())
    train, validation = (json.loads((folder / f"{name}.json").read_text()) for name in ("train", "validation"))
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForQuestionAnswering.from_pretrained(model_folder, dtype=torch.float32)
    start = str(folder / f"start-{seed}")
    config = PeftConfig.from_pretrained(start)
    config.task_type = None  # PEFT's own model for questions (0.21) does not hand token_type_ids on
    model = PeftModel.from_pretrained(model, start, config=config, is_trainable=True)
    features = make_features(train, tokenizer, job)
    learned = [{**inputs, **label_of(train[owner], offsets)} for inputs, owner, offsets in features]
    if len(learned) != job["windows"]:
        raise SystemExit(f"there are {len(learned)} windows, and run_qa.py makes {job['windows']} of these questions")
    output = folder / f"upstream-{seed}"
    trainer = OrderedTrainer(
        model,
        arguments_of(job, seed, device, str(output)),
        train_dataset=learned,
        data_collator=DataCollatorWithPadding(tokenizer),
        order=job["orders"][str(seed)],
    )
    result = trainer.train()
    if trainer.order.epoch != job["epochs"]:
        raise SystemExit("this Trainer does not go through its data in the given order")
    begin = time.monotonic()
    windows = make_features(validation, tokenizer, job)
    logits = trainer.predict([inputs for inputs, _, _ in windows]).predictions
    answers, odds = best_answers(validation, windows, logits, job)
    seconds = time.monotonic() - begin
    output.mkdir(parents=True, exist_ok=True)
    about = {"environment": describe(device), "train_seconds": result.metrics["train_runtime"]}
    about |= {"predict_seconds": seconds, "trained_values": sum(p.numel() for p in learned_parameters(model))}
    for name, content in (("best_answers", answers), ("null_odds", odds), ("about", about)):
        (output / f"{name}.json").write_text(json.dumps(content))


def learned_parameters(model):
    """Give what is trained."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def arguments_of(job, seed, device, output):
    """Give the Trainer's settings."""
    return TrainingArguments(
        output,
        per_device_train_batch_size=job["batch_size"],
        per_device_eval_batch_size=64,
        learning_rate=job["learning_rate"],
        warmup_steps=job["warmup_steps"],
        num_train_epochs=job["epochs"],
        seed=seed,
        bf16=job["bf16"],
        use_cpu=device == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def make_features(questions, tokenizer, job):
    """Give the windows of questions: inputs, the question's number, and the characters of the context's tokens."""
    encoded = tokenizer(
        [row["question"].lstrip() for row in questions],
        [row["context"] for row in questions],
        truncation="only_second",
        max_length=job["max_seq_length"],
        stride=job["doc_stride"],
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    found = []
    for window, owner in enumerate(encoded["overflow_to_sample_mapping"]):
        parts = encoded.sequence_ids(window)
        offsets = [
            pair if part == 1 else None for pair, part in zip(encoded["offset_mapping"][window], parts, strict=True)
        ]
        found.append(({name: encoded[name][window] for name in INPUTS if name in encoded}, owner, offsets))
    return found


def label_of(question, offsets):
    """Give the tokens of the first answer, both 0 where the window does not hold all of it."""
    nothing = {"start_positions": 0, "end_positions": 0}
    texts, starts = question["answers"]["text"], question["answers"]["answer_start"]
    if not texts:
        return nothing
    start, stop = starts[0], starts[0] + len(texts[0])
    inside = [place for place, pair in enumerate(offsets) if pair is not None]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < stop:
        return nothing
    touching = [place for place in inside if offsets[place][0] < stop and offsets[place][1] > start]
    return {"start_positions": touching[0], "end_positions": touching[-1]} if touching else nothing


def best_answers(questions, windows, logits, job):
    """Give the best answer of each question, among its windows' best first and last tokens; and the null odds."""
    best = [(-np.inf, "")] * len(questions)
    null = [np.inf] * len(questions)
    for (_, owner, offsets), starts, ends in zip(windows, *logits, strict=True):
        null[owner] = min(null[owner], float(starts[0]) + float(ends[0]))
        for first in np.argsort(-starts[: len(offsets)])[: job["n_best_size"]]:
            for last in np.argsort(-ends[: len(offsets)])[: job["n_best_size"]]:
                if offsets[first] is None or offsets[last] is None:
                    continue
                if not first <= last < first + job["max_answer_length"]:
                    continue
                score = float(starts[first]) + float(ends[last])
                if score > best[owner][0]:
                    best[owner] = (score, questions[owner]["context"][offsets[first][0] : offsets[last][1]])
    names = [row["id"] for row in questions]
    odds = [least - (score if np.isfinite(score) else 0.0) for least, (score, _) in zip(null, best, strict=True)]
    texts = [text for _, text in best]
    return dict(zip(names, texts, strict=True)), dict(zip(names, odds, strict=True))


def describe(device):
    """Say what was computed with."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    versions = {library: version(library) for library in ("torch", "transformers", "peft", "tokenizers")}
    return {"versions": versions, "device": name, "python": platform.python_version()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
