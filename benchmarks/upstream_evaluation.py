"""The other side of evaluation.py: a dev set evaluated by upstream's Trainer with PEFT, once for each line of input.

    python upstream_evaluation.py FOLDER THREADS

``FOLDER`` has ``adapter``, ``rows.json`` and ``job.json``. A line is ``plain`` or ``merged``.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)


def accuracy(prediction):
    """Give the accuracy."""
    return {"accuracy": float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}


def make_trainer(folder, job, merged):
    """Load base and adapter, merged or not."""
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=2, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(folder / "adapter"))
    model = model.merge_and_unload() if merged else model
    arguments = TrainingArguments(
        str(folder / "upstream"),
        per_device_eval_batch_size=job["batch_size"],
        bf16_full_eval=job["bf16"],
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    collator = DataCollatorWithPadding(tokenizer)
    trainer = Trainer(model, arguments, data_collator=collator, compute_metrics=accuracy)
    trainer.remove_callback(PrinterCallback)  # it would print the figures among the answers
    return trainer


def main(folder, threads):
    """Evaluate whenever asked."""
    torch.set_num_threads(threads)
    job, rows = (json.loads((folder / f"{name}.json").read_text()) for name in ("job", "rows"))
    trainers = {kind: make_trainer(folder, job, kind == "merged") for kind in ("plain", "merged")}
    print(json.dumps({name: version(name) for name in ("transformers", "peft", "torch")}), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        found = trainers[line.strip()].evaluate(rows)
        answer = {"seconds": time.perf_counter() - begin, "accuracy": found["eval_accuracy"]}
        print(json.dumps({**answer, "loss": found["eval_loss"]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
