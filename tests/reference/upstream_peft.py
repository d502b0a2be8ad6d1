"""Trains an adapter with upstream + PEFT from given starting values; runs in the reference environment.

Arguments: the base's folder, the adapter's folder (starting values, in PEFT's form), a file of batches
(``<step>.<input>``), the learning rate, and the file for the results: the loss of every step, the trained values, and
the scores of the first batch at the end. The trained adapter is saved, by PEFT, into ``<results>.adapter``.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

import transformers

CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
LABELS = ("labels", "start_positions", "end_positions")


def main(base: str, adapter: str, batches: str, learning_rate: str, results: str) -> None:
    torch.set_num_threads(1)
    tensors = load_file(batches)
    steps = 1 + max(int(name.partition(".")[0]) for name in tensors)
    inputs = [
        {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{step}.")}
        for step in range(steps)
    ]
    num_labels = int(1 + max(batch["labels"].max() for batch in inputs)) if "labels" in inputs[0] else 2
    task_type = json.loads((Path(adapter) / "adapter_config.json").read_text())["task_type"]
    model = getattr(transformers, CLASSES[task_type]).from_pretrained(
        base, num_labels=num_labels, attn_implementation="eager", dtype=torch.float32
    )
    model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=float(learning_rate))
    model.train()
    losses = []
    for batch in inputs:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    model.eval()
    with torch.no_grad():
        logits = model(**{name: value for name, value in inputs[0].items() if name not in LABELS})[0]
    model.save_pretrained(f"{results}.adapter")
    save_file({"losses": torch.stack(losses), "logits": logits}, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
