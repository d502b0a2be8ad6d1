"""Trains our models in real PEFT's wrapping with our Trainer: save, checkpoint, resume, best model.

Arguments: a base's folder, a folder to write into, a kind of PEFT's LoRA.
"""

import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

import transformers
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

KINDS = {
    "plain": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "all-linear": {"target_modules": "all-linear"},
    "dense": {"target_modules": ["dense"]},
}


def build(base: str, folder: Path, kind: str, *, start_rate: float = 1e-2) -> Trainer:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    deberta = model.config.model_type == "deberta-v2"
    settings = {
        "target_modules": ["query_proj", "value_proj"] if deberta else ["query", "value"],
        "modules_to_save": ["classifier", "pooler"] if deberta else ["classifier"],
        **KINDS[kind],
    }
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, task_type="SEQ_CLS", **settings))
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(5, 60, (24, 9), generator=generator)
    data = [{"input_ids": row, "labels": int(row.sum()) % 2} for row in rows]
    args = TrainingArguments(
        str(folder),
        max_steps=6,
        save_steps=2,
        evaluation_strategy="steps",
        eval_steps=2,
        learning_rate=start_rate,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        report_to="none",
        disable_tqdm=True,
        no_cuda=True,
        label_names=["labels"],
    )
    return Trainer(wrapped, args, train_dataset=data, eval_dataset=data)


def trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def main(base: str, folder: str, kind: str) -> None:
    assert "+lora" in transformers.__version__, "this must run on our package"
    trainer = build(base, Path(folder, "out"), kind)
    before = trained(trainer.model)
    trainer.train()
    after = trained(trainer.model)
    assert all(
        not torch.equal(before[name], after[name]) for name in after if "lora_A" in name or "classifier" in name
    )
    checkpoints = sorted(Path(folder, "out").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert all((path / "adapter_model.safetensors").is_file() for path in checkpoints)

    # The best model is what the Trainer ends with, and what save_model writes.
    best = load_file(Path(trainer.state.best_model_checkpoint, "adapter_model.safetensors"))
    trainer.save_model(str(Path(folder, "saved")))
    saved = load_file(Path(folder, "saved", "adapter_model.safetensors"))
    assert saved.keys() == best.keys()
    assert all(torch.equal(saved[name], best[name]) for name in best)
    again = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    again = PeftModel.from_pretrained(again, str(Path(folder, "saved"))).eval()
    ids = torch.randint(5, 60, (4, 9))
    trainer.model.eval()
    assert torch.equal(again(input_ids=ids).logits, trainer.model(input_ids=ids).logits)

    # A resumed run ends as the one that was not interrupted, bit by bit.
    resumed = build(base, Path(folder, "resumed"), kind)
    resumed.train(resume_from_checkpoint=str(checkpoints[0]))
    assert all(torch.equal(value, after[name]) for name, value in trained(resumed.model).items())

    # A whole model that an earlier run left in the folder does not stay beside the adapter, where it would be loaded.
    whole = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    whole.save_pretrained(Path(folder, "again"))
    trainer.save_model(str(Path(folder, "again")))
    assert not Path(folder, "again", "config.json").exists()
    assert Path(folder, "again", "adapter_model.safetensors").is_file()


if __name__ == "__main__":
    main(*sys.argv[1:])
