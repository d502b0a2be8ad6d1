"""The other side of whole_runs.py: a run with upstream's Trainer and PEFT; runs in the reference environment.

It does what upstream's example does for a GLUE task, from start to end: tokenises with `datasets`, pads each batch to
its longest, trains, evaluates, saves adapter, metrics and state.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from sklearn.metrics import f1_score

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)
from upstream_splits import load_splits


def compute_metrics(prediction):
    """Give accuracy and F1."""
    found = np.argmax(prediction.predictions, axis=-1)
    return {"accuracy": float((found == prediction.label_ids).mean()), "f1": f1_score(prediction.label_ids, found)}


def main(path: str) -> None:
    """Do one run."""
    job = json.loads(Path(path).read_text())
    torch.set_num_threads(job["threads"])
    set_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=2, dtype=torch.float32)
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=job["lora_r"],
        lora_alpha=job["lora_alpha"],
        target_modules=["query", "value"],
    )
    model = get_peft_model(model, lora)
    train, validation = load_splits(job, tokenizer)
    arguments = TrainingArguments(
        job["output"],
        per_device_train_batch_size=job["batch_size"],
        per_device_eval_batch_size=64,
        learning_rate=job["learning_rate"],
        num_train_epochs=job["epochs"],
        seed=job["seed"],
        bf16=job["bf16"],
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    result = trainer.train()
    trainer.save_model()
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    trainer.save_metrics("eval", trainer.evaluate())


if __name__ == "__main__":
    main(sys.argv[1])
