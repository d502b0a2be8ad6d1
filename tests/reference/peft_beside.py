"""Wraps our model with real PEFT, trains it, saves it and loads it again; PEFT lies on the path, upstream does not.

Arguments: a base's folder, a folder to write into.
"""

import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model

import transformers
from transformers import AutoModelForSequenceClassification


def main(base: str, folder: str) -> None:
    assert "+lora" in transformers.__version__, "this must run on our package"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    targets = ["query_proj", "value_proj"] if model.config.model_type == "deberta-v2" else ["query", "value"]
    head = ["classifier", "pooler"] if model.config.model_type == "deberta-v2" else ["classifier"]
    wrapped = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, modules_to_save=head, task_type="SEQ_CLS")
    )
    ids, labels = torch.randint(5, 60, (8, 9)), torch.arange(8) % 2
    optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(15):
        loss = wrapped(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0], losses
    wrapped.eval()
    expected = wrapped(input_ids=ids).logits
    wrapped.save_pretrained(folder)
    again = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    again = PeftModel.from_pretrained(again, folder).eval()
    assert torch.equal(again(input_ids=ids).logits, expected)
    ours = AutoModelForSequenceClassification.from_pretrained(folder, base_model_name_or_path=base)
    assert (ours(input_ids=ids).logits - expected).abs().max() <= 1e-5


if __name__ == "__main__":
    main(*sys.argv[1:])
