"""The other side of glue_parity.py: upstream's Trainer and PEFT; runs in the reference environment."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
    set_seed,
)
from upstream_order import OrderedTrainer
from upstream_splits import load_splits


def main(path: str) -> None:
    """Train and evaluate one job."""
    job = json.loads(Path(path).read_text())
    set_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=2, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, job["start"], is_trainable=True)
    train, validation = load_splits(job, tokenizer)
    arguments = TrainingArguments(
        job["output"],
        per_device_train_batch_size=job["batch_size"],
        per_device_eval_batch_size=64,
        learning_rate=job["learning_rate"],
        warmup_steps=job["warmup_steps"],
        num_train_epochs=job["epochs"],
        seed=job["seed"],
        bf16=job["bf16"],
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = OrderedTrainer(
        model,
        arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
        order=job["order"],
    )
    trainer.train()
    metrics = trainer.evaluate()
    Path(job["output"]).mkdir(parents=True, exist_ok=True)
    (Path(job["output"]) / "result.json").write_text(json.dumps({"accuracy": metrics["eval_accuracy"]}))


if __name__ == "__main__":
    main(sys.argv[1])
